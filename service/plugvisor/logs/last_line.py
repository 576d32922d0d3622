"""Finding the line with which a process that has ended says why."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from plugvisor.logs.lines import parse_line
from plugvisor.logs.marks import NO_LOG, Mark
from plugvisor.logs.tail import LONGEST_LINE_BYTES, decode_line, read_backwards

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from plugvisor.logs.files import LogFile, LogFiles

MOST_LINES = 100
MOST_BYTES = 64 * 1024
"""Lines before the last ones are not searched."""
LONGEST = 300
"""Characters of the line."""

_TRACEBACK = re.compile(r"(?P<margin>[ |+]{0,100})(?:Exception Group )?Traceback \(most recent call last\):\s*$")
_ERROR = re.compile(r"\b(?:ERROR|CRITICAL|FATAL)\b|(?i:error):|\bpanic")
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]{0,64}[ -/]{0,16}[@-~]|\][^\x07\x1b]{0,1024}(?:\x07|\x1b\\)|[@-Z\\^_])")
_REPLICA = re.compile(r"\[(?P<slot>[0-9]{1,6})@[\w.-]{1,64}\] ", re.ASCII)


def read_last_line(log: LogFiles, begin: Mark | None, started: float = 0.0, slot: int = 0) -> tuple[str, Mark]:
    """Return the line with which the last process says why it has ended, and where the log ends.

    The line is that of an exception, or else one about an error, or else the last one; empty if there is none.

    Args:
        begin: where the log ended before the process began. If that is not known, or is not in the log any more, only
            the last line is considered: those before it may be of an earlier process.
        started: when the process was started, in seconds since 1970; what was written before is not its own.
        slot: the replica, if several print their lines into this log; 0: all of it.
    """
    files = [file for number in (0, 1) if (file := log.open_file(number)) is not None]
    try:
        if not files:
            return "", NO_LOG
        end = Mark(files[0].inode, files[0].size)
        count = _count_since(files, begin)
        if count is None:
            if files[0].modified < started:
                return "", end
            lines = _take_last(files, MOST_BYTES, 1)
        else:
            lines = _take_last(files, min(count, MOST_BYTES), MOST_LINES)
        return find_last_line(_select(lines, slot)), end
    finally:
        for file in files:
            file.close()


def _count_since(files: Sequence[LogFile], begin: Mark | None) -> int | None:
    """How many bytes were written since; None if that is not known."""
    newer = 0
    for file in files:
        if begin is not None and file.inode == begin.inode and file.size >= begin.position:
            return newer + file.size - begin.position
        newer += file.size
    return newer if begin == NO_LOG else None


def _take_last(files: Sequence[LogFile], most_bytes: int, most_lines: int) -> list[str]:
    """The last lines that are not blank, oldest first."""
    taken: list[str] = []
    size = 0
    for line in read_backwards(files):
        size += len(line) + 1
        if size > most_bytes + 1 or len(taken) == most_lines:  # the last line may have no line break
            break
        if line.strip():
            taken.append(decode_line(line))
        if len(line) > LONGEST_LINE_BYTES:  # it was cut
            break
    return taken[::-1]


def _select(lines: Iterable[str], slot: int) -> list[str]:
    """The lines of a replica, without what they begin with to say which it is."""
    selected = []
    for line in lines:
        replica = _REPLICA.match(line)
        if replica is None or not slot:
            selected.append(line)
        elif int(replica["slot"]) == slot:
            selected.append(line[replica.end() :])
    return selected


def find_last_line(lines: Sequence[str]) -> str:
    """Find the line that says why: of the last traceback, or else about an error, or else the last one.

    The time and the level that it begins with are left out.
    """
    plain = [text for line in lines if (text := _ESCAPE.sub("", line)).strip()]
    if (line := _find_exception(plain)) is not None:
        return make_printable(line)
    for line in reversed(plain):
        if _ERROR.search(line):
            return make_printable(parse_line(line).message or line)
    return make_printable(parse_line(plain[-1]).message or plain[-1]) if plain else ""


def _find_exception(lines: Sequence[str]) -> str | None:
    """The line `SomeError: text` with which the last traceback ends; None if there is none."""
    for number in range(len(lines) - 1, -1, -1):
        if header := _TRACEBACK.match(lines[number]):
            margin = len(header["margin"])
            rest = (line[margin:] for line in lines[number + 1 :])
            return next((line for line in rest if line and not line.startswith(" ")), None)
    return None


def make_printable(line: str) -> str:
    """Replace control characters, and shorten a long text."""
    text = "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in line[: 2 * LONGEST].strip())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
