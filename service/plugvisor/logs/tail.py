"""The end of a log, read backwards: what it costs depends on what is asked for, not on how long the log is."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plugvisor.logs.lines import SPELLINGS, find_moment, parse_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from plugvisor.logs.files import LogFile
    from plugvisor.models.log import LogEntry

DEFAULT_LINES = 100
MOST_LINES = 10_000
LONGEST_LINE_BYTES = 16 * 1024
"""Longer lines are cut, and say so."""
MOST_ANSWERED_BYTES = 8 * 1024 * 1024
"""An answer holds fewer lines than were asked for where they would be more than this."""
MOST_SCANNED_BYTES = 64 * 1024 * 1024
MOST_SCANNED_LINES = 1_000_000
"""What is older than so many bytes or lines is not looked at, however few lines were found."""
MOST_COUNTED_BYTES = 16 * 1024 * 1024
"""Of a longer file the lines in its newest bytes are counted."""
_BLOCK_BYTES = 64 * 1024
_BREATH_SECONDS = 0.0005
_LINES_BEFORE_BREATHS = 20_000


@dataclass(frozen=True)
class Query:
    """Which lines are wanted: the newest that fulfil every condition."""

    lines: int = DEFAULT_LINES
    level: str | None = None
    """Exactly this one of `LEVELS`."""
    search: str = ""
    """A part of the line, capitals or not."""
    start: float = -math.inf
    end: float = math.inf
    """Seconds since 1970, both included. A line without a time of its own has that of the last one before it."""


@dataclass(frozen=True)
class Tail:
    """What was found, the oldest first."""

    entries: list[LogEntry]
    total_lines: int
    """In the current file, or in its newest `MOST_COUNTED_BYTES`."""


def read_tail(files: Sequence[LogFile], query: Query) -> Tail:
    """Find the newest lines; `files` are the newest first."""
    is_timed = query.start > -math.inf or query.end < math.inf
    found = _find_timed(files, query) if is_timed else _find(files, query)
    lines = []
    size = 0
    for line in found:
        size += len(line)
        if size > MOST_ANSWERED_BYTES:
            break
        lines.append(line)
        if len(lines) == query.lines:
            break
    entries = [parse_line(decode_line(line)) for line in reversed(lines)]
    return Tail(entries, count_lines(files[0]) if files else 0)


def decode_line(line: bytes) -> str:
    """A line's text, whatever its bytes are."""
    return line.removesuffix(b"\r").decode("utf-8", "replace")


def cut_line(line: bytes, length: int) -> bytes:
    """A line of so many bytes as it is shown, out of at least its first `LONGEST_LINE_BYTES`."""
    if length <= LONGEST_LINE_BYTES:
        return line
    return line[:LONGEST_LINE_BYTES] + b" \xe2\x80\xa6 [cut: %d more bytes]" % (length - LONGEST_LINE_BYTES)


def count_lines(file: LogFile) -> int:
    """The lines of a file, or of its newest `MOST_COUNTED_BYTES`."""
    count = 0
    position = max(0, file.size - MOST_COUNTED_BYTES)
    last = b"\n"
    while position < file.size and (block := file.read(position, min(_BLOCK_BYTES, file.size - position))):
        count += block.count(b"\n")
        position += len(block)
        last = block[-1:]
    return count + (last != b"\n")


def _find(files: Sequence[LogFile], query: Query) -> Iterator[bytes]:
    return (line for line in read_backwards(files) if _fulfils(line, query))


def _find_timed(files: Sequence[LogFile], query: Query) -> Iterator[bytes]:
    """Lines of a time: those without one wait for the one before them, which comes later here."""
    waiting: list[bytes] = []
    size = 0
    for line in read_backwards(files):
        moment = find_moment(line[:128].decode("utf-8", "replace"))
        is_wanted = _fulfils(line, query)
        if moment is None:
            # no more of them than an answer can hold
            if is_wanted and len(waiting) < query.lines and size < MOST_ANSWERED_BYTES:
                waiting.append(line)
                size += len(line)
            continue
        if query.start <= moment <= query.end:
            yield from waiting
            if is_wanted:
                yield line
        waiting.clear()
        size = 0


def _fulfils(line: bytes, query: Query) -> bool:
    if query.search and not _contains(line, query.search):
        return False
    if query.level is None:
        return True
    # parsing takes ten times as long as this look
    capitals = line.upper()
    if not any(word in capitals for word in _WORDS[query.level]):
        return False
    return parse_line(decode_line(line)).level == query.level


def _contains(line: bytes, search: str) -> bool:
    if search.isascii():
        return search.lower().encode() in line.lower()
    return search.lower() in decode_line(line).lower()


_WORDS = {
    level: [word.encode() for word, meant in SPELLINGS.items() if meant == level] for level in set(SPELLINGS.values())
}


def read_backwards(files: Sequence[LogFile], end: int | None = None) -> Iterator[bytes]:
    """Every line, the newest first, without its line break and cut if it is long.

    The files are one log: supervisord rotates in the middle of a line. What is there at most is
    `MOST_SCANNED_BYTES` and `MOST_SCANNED_LINES`; a line that begins before that is not.

    Args:
        files: the newest first.
        end: where to begin in the first of them; its end, if this is not given.
    """
    budget = MOST_SCANNED_BYTES
    count = 0
    begun = _Begun()
    is_first = True
    for number, file in enumerate(files):
        position = end if number == 0 and end is not None else file.size
        while position > 0 and budget > 0:
            size = min(_BLOCK_BYTES, position, budget)
            position -= size
            budget -= size
            block = file.read(position, size)  # shorter if the file was truncated just now
            if not block:
                continue
            first, *others = block.split(b"\n")
            if not others:
                begun.prepend(first)
                is_first = False
                continue
            begun.prepend(others.pop())
            if begun.length or not is_first:  # a line break ends the log as it should
                yield begun.take()
            is_first = False
            begun = _Begun()
            count += len(others) + 1
            for line in reversed(others):
                yield cut_line(line, len(line))
            begun.prepend(first)
            if count > MOST_SCANNED_LINES:
                return
            if count > _LINES_BEFORE_BREATHS:
                time.sleep(_BREATH_SECONDS)  # a long search must not keep the interpreter from answering others
        if budget <= 0 and (position > 0 or number + 1 < len(files)):
            if begun.length > LONGEST_LINE_BYTES and not count:
                yield b"[cut: the beginning of a long line] " + begun.take()  # there is nothing else to show
            return
    if not is_first:
        yield begun.take()


class _Begun:
    """A line whose beginning has not been reached yet."""

    def __init__(self) -> None:
        self.length = 0
        self._head = b""

    def prepend(self, part: bytes) -> None:
        self.length += len(part)
        self._head = (part[:LONGEST_LINE_BYTES] + self._head)[:LONGEST_LINE_BYTES]

    def take(self) -> bytes:
        return cut_line(self._head, self.length)
