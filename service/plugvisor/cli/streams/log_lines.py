"""The lines of logs, as `plugvisor logs` prints them."""

from __future__ import annotations

import heapq
import json
import re
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from plugvisor.cli.output import make_printable, paint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    Entry = Mapping[str, Any]

RESET = "\x1b[0m"
_COLORS = re.compile(r"(\x1b\[[0-9;:]{0,64}m)")
"""The sequences that set colours and styles (ECMA-48, "select graphic rendition"), and nothing else."""
_ID_COLORS = ("cyan", "magenta", "blue", "green", "yellow")
"""Not red, which is for errors."""
_LEVEL_COLORS = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red", "FATAL": "red"}
_LONGEST_LEVEL = len("CRITICAL")


class LineFormat:
    """Turns the lines of some plugins into text.

    Args:
        plugin_ids: of the plugins; if there are several, each line begins with its plugin's.
        colored: whether to keep the colours of plugins, and to add some.
        as_json: whether each line is a JSON object.
    """

    def __init__(self, plugin_ids: Sequence[str], *, colored: bool, as_json: bool) -> None:
        self._colored = colored and not as_json
        self._as_json = as_json
        self._prefixes = dict.fromkeys(plugin_ids, "")
        if len(plugin_ids) > 1:
            width = max(map(len, plugin_ids))
            for number, plugin_id in enumerate(plugin_ids):
                prefix = f"{make_printable(plugin_id):<{width}} | "
                color = _ID_COLORS[number % len(_ID_COLORS)]
                self._prefixes[plugin_id] = paint(prefix, color) if self._colored else prefix

    def show(self, plugin_id: str, entry: Entry) -> str:
        """A line of a plugin's log, without a line break."""
        if self._as_json:
            return json.dumps({"plugin_id": plugin_id, **entry})
        head = [_show_time(entry["timestamp"])] if entry["timestamp"] else []
        if entry["level"]:
            level = make_printable(entry["level"]).ljust(_LONGEST_LEVEL)
            color = _LEVEL_COLORS.get(entry["level"])
            head.append(paint(level, color) if color and self._colored else level)
        if entry["file"]:
            head.append(make_printable(":".join(map(str, filter(None, (entry["file"], entry["line"]))))))
        return self._prefixes[plugin_id] + "  ".join([*head, show_message(entry["message"], colored=self._colored)])


def show_message(text: str, *, colored: bool) -> str:
    """A line that a plugin has printed, with or without its colours, and with every other control sequence escaped."""
    pieces = _COLORS.split(text)
    pieces[::2] = ["\t".join(map(make_printable, piece.split("\t"))) for piece in pieces[::2]]
    if not colored:
        return "".join(pieces[::2])
    return "".join(pieces) + (RESET if len(pieces) > 1 else "")


def merge(logs: Mapping[str, Sequence[Entry]]) -> Iterator[tuple[str, Entry]]:
    """The lines of several logs, each with its plugin's id, by time. Within a log the order stays as it is."""
    return ((plugin_id, entry) for _, plugin_id, entry in heapq.merge(*map(_with_times, logs, logs.values()), key=_key))


def _key(line: tuple[float, str, Entry]) -> float:
    return line[0]


def _with_times(plugin_id: str, entries: Iterable[Entry]) -> Iterator[tuple[float, str, Entry]]:
    latest = float("-inf")
    for entry, moment in with_moments(entries):
        latest = max(latest, moment)
        yield latest, plugin_id, entry


def with_moments(entries: Iterable[Entry]) -> Iterator[tuple[Entry, float]]:
    """Lines with their times in seconds since 1970: one without a time has that of the last line that has one."""
    moment = float("-inf")
    for entry in entries:
        if entry["timestamp"]:
            with suppress(ValueError, OverflowError, OSError):  # of the year 1, in another time zone
                moment = datetime.fromisoformat(entry["timestamp"]).timestamp()
        yield entry, moment


def _show_time(text: str) -> str:
    """In this machine's local time, with milliseconds if it has a fraction."""
    try:
        moment = datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError, OSError):
        return make_printable(text)
    return f"{moment:%F %T}" + (f".{moment.microsecond // 1000:03d}" if moment.microsecond else "")
