"""All logs on standard output as well, each line after its log's name.

    heartbeat | 2026-11-22 15:02:55 你好 from Plugvisor, beat 9
    _server | 2026-11-22 15:02:57 INFO POST /plugin/heartbeat/stop 200

The log files are the record; this is what a container's engine collects. If the reader stops reading, supervisord
does not wait: lines beyond a limit are dropped, and their number is reported.

Control characters are written as `\\x1b` there: a plugin that prints a carriage return, an escape sequence or another
line break could otherwise forge lines of the service's. The log files have every byte as it is.

With `log_format=json` each line is a JSON object, as `json_lines` has them: the service's are passed on as they are.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path
from typing import Any

from supervisor import events, loggers
from supervisor.medusa import asyncore_25 as asyncore

from plugvisor.engines.supervisord.extension.stream import guarded
from plugvisor.json_lines import dump_line, format_moment, parse_own_line

LARGEST_BACKLOG_BYTES = 1024 * 1024
LONGEST_LINE_BYTES = 8 * 1024
"""A longer line is cut: what a program prints without ever ending a line must not pile up."""

LONGEST_OWN_LINE_BYTES = 128 * 1024
"""Of the service's, if it is JSON, which is none when it is cut; the service limits what is in it."""

_SERVER, _SUPERVISORD = "_server", "_supervisord"
_LEVELS = {"CRIT": "CRITICAL", "ERRO": "ERROR", "WARN": "WARNING", "INFO": "INFO"}
"""supervisord's levels by the names that Python has; all others are DEBUG."""
_CONTROL_CHARACTER = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")
"""C0 without tab and line feed, DEL, C1, U+2028 and U+2029, in UTF-8; bytes that are not UTF-8 stay."""
_HARMLESS = bytes(byte for byte in range(256) if not _CONTROL_CHARACTER.match(bytes([byte])))
_NOTICE = "%d lines were left out here: standard output was not read"


class StdoutLog(asyncore.file_dispatcher):  # type: ignore[misc] # supervisor has no type hints
    """Writes what supervisord and its programs log. An error there, such as a closed pipe, ends it."""

    def __init__(self, supervisord: Any, log_format: str = "text") -> None:
        super().__init__(_open_stdout())  # which takes it over, and makes it non-blocking
        self._is_json = log_format == "json"
        self._moment = ""  # at which the present lines were read
        self.logger = supervisord.options.logger
        self._backlog = bytearray()
        self._unfinished: dict[str, bytes] = {}
        self._lost = 0
        self._is_open = True
        if supervisord.options.silent:  # else it writes there itself
            handler = _Records(self) if self._is_json else loggers.Handler(_Lines(self))
            handler.setFormat("%(asctime)s %(levelname)s %(message)s\n")
            handler.setLevel(supervisord.options.loglevel)
            self.logger.handlers.append(handler)
        events.subscribe(events.ProcessLogStdoutEvent, self._on_output)
        for end in (events.ProcessStateStoppedEvent, events.ProcessStateExitedEvent, events.ProcessStateBackoffEvent):
            events.subscribe(end, self._on_end)

    def add(self, name: str, data: bytes) -> None:
        """Write the lines that `data` ends, and keep the rest until it is a line."""
        if not self._is_open:
            return
        whole, line_break, rest = (self._unfinished.pop(name, b"") + data).rpartition(b"\n")
        whole += line_break
        longest = LONGEST_OWN_LINE_BYTES if self._is_json and name == _SERVER else LONGEST_LINE_BYTES
        if len(rest) > longest:
            whole += rest + b"\n"
        elif rest:
            self._unfinished[name] = rest
        whole = whole.replace(b"\r\n", b"\n") if self._is_json else escape_control_characters(whole)
        self._moment = format_moment(time.time()) if self._is_json else ""
        for line in whole.split(b"\n")[:-1]:
            for start in range(0, max(len(line), 1), longest):
                self._add_line(name, line[start : start + longest])
        self._send()

    def add_record(self, record: Any) -> None:
        """Write one of supervisord's own records as JSON."""
        if self._is_open:
            values = record.asdict()
            self._add_text(_dump(_SUPERVISORD, values["message"], _LEVELS.get(values["levelname"], "DEBUG")))
            self._send()

    def _add_line(self, name: str, line: bytes) -> None:
        if self._lost and len(self._backlog) >= LARGEST_BACKLOG_BYTES // 2:
            self._lost += 1  # there may be very many, so that even to format them would take long
        elif self._is_json:
            self._add_text(_dump_line(name, line, self._moment))
        else:
            self._add_text(b"%s | %s\n" % (name.encode(), line))

    def _add_text(self, text: bytes) -> None:
        if self._lost and len(self._backlog) < LARGEST_BACKLOG_BYTES // 2:
            self._tell_lost()
        if self._lost or len(self._backlog) + len(text) > LARGEST_BACKLOG_BYTES:
            self._lost += 1
        else:
            self._backlog += text

    def _tell_lost(self) -> None:
        notice, self._lost = _NOTICE % self._lost, 0
        if self._is_json:
            self._add_text(_dump(_SUPERVISORD, notice, "WARNING"))
        else:
            self._add_line(_SUPERVISORD, notice.encode())

    def _send(self) -> None:
        while self._backlog:
            try:
                sent = os.write(self._fileno, self._backlog)
            except BlockingIOError:
                return
            except OSError:
                self.close()
                return
            del self._backlog[:sent]
            if self._lost and not self._backlog:
                self._tell_lost()

    @guarded
    def _on_output(self, event: Any) -> None:
        self.add(_name_of(event.process.config), event.data)

    @guarded
    def _on_end(self, event: Any) -> None:
        name = _name_of(event.process.config)
        if name in self._unfinished:
            self.add(name, b"\n")

    def readable(self) -> bool:
        """Never: nothing is read from standard output."""
        return False

    def writable(self) -> bool:
        """Whether something waits to be written."""
        return bool(self._backlog)

    @guarded
    def handle_write(self) -> None:
        """Write what waits."""
        self._send()

    def handle_error(self) -> None:
        """Something failed in supervisord's loop: better no output than that again."""
        self.close()

    def close(self) -> None:
        """Write nothing more."""
        if self._is_open:
            self._is_open = False
            self._backlog.clear()
            self._unfinished.clear()
            self.del_channel()
            self.socket.close()


class _Lines:
    """supervisord's own log, as a stream for its logger."""

    def __init__(self, log: StdoutLog) -> None:
        self._log = log

    def write(self, data: bytes) -> None:
        self._log.add(_SUPERVISORD, data)

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """The log itself stays open."""


class _Records(loggers.Handler):  # type: ignore[misc] # supervisor has no type hints
    """supervisord's own log, record by record."""

    def __init__(self, log: StdoutLog) -> None:
        super().__init__(_Lines(log))
        self._log = log

    def emit(self, record: Any) -> None:
        try:
            self._log.add_record(record)
        except Exception:  # noqa: BLE001 - a caller that logs expects no error
            self.handleError()


def _dump_line(name: str, line: bytes, moment: str) -> bytes:
    """A line of a log as JSON; a byte that is not UTF-8 is written as `\\xff`."""
    if name == _SERVER and (fields := parse_own_line(line)) is not None:
        return f"{dump_line(fields)}\n".encode()
    text = line.decode("utf-8", "backslashreplace")
    if name == _SERVER:  # what Python or a library prints, past the service's log
        return _dump(_SERVER, text, "ERROR")
    return f"{dump_line({'time': moment, 'plugin': name, 'line': text})}\n".encode()


def _dump(name: str, message: str, level: str) -> bytes:
    fields = {"time": format_moment(time.time()), "level": level, "logger": name, "message": message}
    return f"{dump_line(fields)}\n".encode()


def escape_control_characters(lines: bytes) -> bytes:
    """Lines without control characters: `\\x1b` for ESC, `\\x9b` for U+009B, `\\u2028` for U+2028."""
    if b"\r" in lines:
        lines = lines.replace(b"\r\n", b"\n")
    if lines.translate(None, _HARMLESS) or b"\xc2" in lines or b"\xe2\x80" in lines:
        return _CONTROL_CHARACTER.sub(_escape, lines)
    return lines


def _escape(found: re.Match[bytes]) -> bytes:
    code = ord(found[0].decode())
    return b"\\x%02x" % code if code < 0x100 else b"\\u%04x" % code


def _name_of(config: Any) -> str:
    """A log's name is that of its file, in which no plugin's begins with an underscore."""
    return Path(config.stdout_logfile).stem if isinstance(config.stdout_logfile, str) else str(config.name)


def _open_stdout() -> int:
    """Standard output, non-blocking; opened again if possible, so that it stays blocking for other processes."""
    with contextlib.suppress(OSError):  # a socket cannot be opened again
        return os.open("/dev/fd/1", os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    return os.dup(1)
