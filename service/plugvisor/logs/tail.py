"""Reading the end of a log backwards. The cost depends on the query, not on the length of the log."""

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
"""Longer lines are cut, with a note of how much."""
MOST_ANSWERED_BYTES = 8 * 1024 * 1024
"""The most that is returned, even if more lines were requested."""
MOST_SCANNED_BYTES = 64 * 1024 * 1024
MOST_SCANNED_LINES = 1_000_000
"""Lines older than this are not searched, even if too few were found."""
MOST_COUNTED_BYTES = 16 * 1024 * 1024
"""In a larger file only the lines of its last bytes are counted."""
_BLOCK_BYTES = 64 * 1024
_PAUSE_SECONDS = 0.0005
_LINES_BEFORE_PAUSES = 20_000


@dataclass(frozen=True)
class Query:
    """Which lines to find: the newest that meet every condition."""

    lines: int = DEFAULT_LINES
    level: str | None = None
    """Exactly this one of `LEVELS`."""
    search: str = ""
    """Text in the line, in any case."""
    start: float = -math.inf
    end: float = math.inf
    """In seconds since 1970, both inclusive. A line without a time has that of the last line before it."""


@dataclass(frozen=True)
class Tail:
    """The lines that were found, oldest first."""

    entries: list[LogEntry]
    total_lines: int
    """In the current file, or in its last `MOST_COUNTED_BYTES`."""


def read_tail(files: Sequence[LogFile], query: Query) -> Tail:
    """Find the newest lines; `files` are ordered newest first."""
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
    """Decode a line; invalid UTF-8 is replaced."""
    return line.removesuffix(b"\r").decode("utf-8", "replace")


def cut_line(line: bytes, length: int) -> bytes:
    """Cut a line of `length` bytes to what is shown; `line` has at least its first `LONGEST_LINE_BYTES`."""
    if length <= LONGEST_LINE_BYTES:
        return line
    return line[:LONGEST_LINE_BYTES] + b" \xe2\x80\xa6 [cut: %d more bytes]" % (length - LONGEST_LINE_BYTES)


def count_lines(file: LogFile) -> int:
    """Count the lines of a file, or of its last `MOST_COUNTED_BYTES`."""
    count = 0
    position = max(0, file.size - MOST_COUNTED_BYTES)
    last = b"\n"
    while position < file.size and (block := file.read(position, min(_BLOCK_BYTES, file.size - position))):
        count += block.count(b"\n")
        position += len(block)
        last = block[-1:]
    return count + (last != b"\n")


def _find(files: Sequence[LogFile], query: Query) -> Iterator[bytes]:
    return (line for line in read_backwards(files) if _matches(line, query))


def _find_timed(files: Sequence[LogFile], query: Query) -> Iterator[bytes]:
    """Find lines in a period. Lines without a time are held back until the line before them, which comes later here."""
    held_back: list[bytes] = []
    size = 0
    for line in read_backwards(files):
        moment = find_moment(line[:128].decode("utf-8", "replace"))
        is_wanted = _matches(line, query)
        if moment is None:
            # at most as many as a response can contain
            if is_wanted and len(held_back) < query.lines and size < MOST_ANSWERED_BYTES:
                held_back.append(line)
                size += len(line)
            continue
        if query.start <= moment <= query.end:
            yield from held_back
            if is_wanted:
                yield line
        held_back.clear()
        size = 0


def _matches(line: bytes, query: Query) -> bool:
    if query.search and not _contains(line, query.search):
        return False
    if query.level is None:
        return True
    # parsing takes ten times as long as this check
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
    """Yield every line, newest first, without its line break, and cut if it is long.

    The files are read as one log, because supervisord rotates in the middle of a line. At most
    `MOST_SCANNED_BYTES` and `MOST_SCANNED_LINES` are read; a line that begins before that is left out.

    Args:
        files: ordered newest first.
        end: the offset to begin at in the first file; by default its end.
    """
    budget = MOST_SCANNED_BYTES
    count = 0
    partial = _PartialLine()
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
                partial.prepend(first)
                is_first = False
                continue
            partial.prepend(others.pop())
            if partial.length or not is_first:  # a final line break does not begin another line
                yield partial.take()
            is_first = False
            partial = _PartialLine()
            count += len(others) + 1
            for line in reversed(others):
                yield cut_line(line, len(line))
            partial.prepend(first)
            if count > MOST_SCANNED_LINES:
                return
            if count > _LINES_BEFORE_PAUSES:
                time.sleep(_PAUSE_SECONDS)  # release the interpreter during a long search
        if budget <= 0 and (position > 0 or number + 1 < len(files)):
            if partial.length > LONGEST_LINE_BYTES and not count:
                yield b"[cut: the beginning of a long line] " + partial.take()  # nothing else was found
            return
    if not is_first:
        yield partial.take()


class _PartialLine:
    """A line, read backwards, whose beginning has not been reached."""

    def __init__(self) -> None:
        self.length = 0
        self._head = b""

    def prepend(self, part: bytes) -> None:
        self.length += len(part)
        self._head = (part[:LONGEST_LINE_BYTES] + self._head)[:LONGEST_LINE_BYTES]

    def take(self) -> bytes:
        return cut_line(self._head, self.length)
