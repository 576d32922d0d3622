"""A log as it grows: every line from a position on, across rotations. The files themselves are the buffer."""

from __future__ import annotations

import re
import threading
import zlib
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from plugvisor.logs.lines import parse_line
from plugvisor.logs.tail import (
    LONGEST_LINE_BYTES,
    Tail,
    count_lines,
    cut_line,
    decode_line,
    read_backwards,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugvisor.logs.files import LogFile, LogFiles
    from plugvisor.models.log import LogEntry

MOST_BEHIND_BYTES = 8 * 1024 * 1024
"""Who is further behind the end than this has to begin anew."""
MOST_BEGUN_BYTES = 1024 * 1024
"""`begin` returns fewer lines than were asked for where they would be more than this."""
MOST_READ_BYTES = 128 * 1024
MOST_READ_LINES = 2000
"""What one `read` returns at most."""
_COMPARED_BYTES = 64
_MOST_PARTIAL_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Position:
    """A byte of a log: all before it is known. It outlives rotations, and this process."""

    inode: int
    offset: int
    checksum: int
    """Of the bytes before it: another file may be given the number of one that was removed."""

    @classmethod
    def of(cls, file: LogFile, offset: int) -> Position:
        """That byte of a file."""
        return cls(file.inode, offset, zlib.crc32(_read_before(file, offset)))

    @classmethod
    def parse(cls, text: str) -> Position | None:
        """Read what `str` has written; None where it is anything else."""
        if not re.fullmatch("[0-9]{1,20}-[0-9]{1,18}-[0-9a-f]{8}", text):
            return None
        inode, offset, checksum = text.split("-")
        return cls(int(inode), int(offset), int(checksum, 16))

    def __str__(self) -> str:
        return f"{self.inode}-{self.offset}-{self.checksum:08x}"


@dataclass(frozen=True)
class News:
    """What has come since the last time."""

    entries: list[LogEntry]
    has_more: bool
    """More can be read at once."""


class Follower:
    """Follows one log for one reader. Every method may wait for the disk; they may be called from any thread."""

    def __init__(self, log: LogFiles) -> None:
        self.position: Position | None = None
        """After the last complete line; None as long as there is no file."""
        self._log = log
        self._lock = threading.Lock()
        self._file: LogFile | None = None
        self._offset = 0
        self._before = b""
        """The last bytes that were read: if they are there no more, the file was truncated."""
        self._partial = _Partial()

    def begin(self, lines: int) -> Tail:
        """Go to the end of the last complete line; returns the lines before it."""
        with self._lock, self._log.open_all() as files:
            self._leave()
            self.position = None
            if not files:
                return Tail([], 0)
            number, offset = _find_end(files)
            found = []
            size = 0
            for line in islice(read_backwards(files[number:], offset), lines):
                size += len(line)
                if size > MOST_BEGUN_BYTES:
                    break
                found.append(line)
            self._enter(files[number], offset)
            self.position = Position.of(files[number], offset)
            return Tail([parse_line(decode_line(line)) for line in reversed(found)], count_lines(files[0]))

    def resume(self, position: Position) -> bool:
        """Go to a position; false where it is there no more, or too far behind the end."""
        with self._lock, self._log.open_all() as files:
            for number, file in enumerate(files):
                behind = file.size - position.offset + sum(newer.size for newer in files[:number])
                if file.inode == position.inode and position.offset <= file.size and behind <= MOST_BEHIND_BYTES:
                    self._leave()
                    if position == Position.of(file, position.offset):
                        self._enter(file, position.offset)
                        self.position = position
                        return True
        return False

    def read(self) -> News | None:
        """Whatever lines have been completed since; None where the reader is too far behind and has to begin anew."""
        with self._lock:
            if self._file is None and not self._open_first():
                return News([], has_more=False)
            while True:
                assert self._file is not None
                # looked at before it is read: it was closed before it was renamed, so what is read then is all
                is_current = self._log.find_inode() == self._file.inode
                data = self._file.read(self._offset - len(self._before), len(self._before) + MOST_READ_BYTES)
                if not data.startswith(self._before):
                    return News(self._start_over(), has_more=True)
                if len(data) > len(self._before):
                    is_full = len(data) == len(self._before) + MOST_READ_BYTES
                    if is_full and self._count_behind() > MOST_BEHIND_BYTES:
                        return None
                    return self._take(data[len(self._before) :], has_more=is_full or not is_current)
                if is_current or not self._go_on():
                    return News([], has_more=False)

    def close(self) -> None:
        """Close the file; waits for a call under way."""
        with self._lock:
            self._leave()

    def _open_first(self) -> bool:
        file = self._log.open_file()
        if file is None:
            return False
        self._enter(file, 0)
        file.close()
        return True

    def _enter(self, file: LogFile, offset: int) -> None:
        self._file = file.duplicate()
        self._offset = offset
        self._before = _read_before(file, offset)

    def _leave(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
        self._file = None
        self._partial = _Partial()

    def _start_over(self) -> list[LogEntry]:
        """The file was truncated: what is in it now is new."""
        left = [self._partial.take()] if self._partial.length else []
        self._partial = _Partial()
        self._offset = 0
        self._before = b""
        return [parse_line(decode_line(line)) for line in left]

    def _go_on(self) -> bool:
        """This file is read and rotated away: go to the next newer one."""
        assert self._file is not None
        with self._log.open_all() as files:
            inodes = [file.inode for file in files]
            if self._file.inode in inodes:
                newer = files[: inodes.index(self._file.inode)]
            else:  # removed, by a rotation too many or by a person
                newer = [file for file in files if file.modified >= self._file.modified_now]
            if not newer:
                return False
            self._file.close()
            self._enter(newer[-1], 0)  # a line may go on there
            return True

    def _take(self, block: bytes, *, has_more: bool) -> News:
        assert self._file is not None
        parts = block.split(b"\n", MOST_READ_LINES)
        if len(parts) > MOST_READ_LINES:
            block = block[: len(block) - len(parts[-1])]
            parts[-1] = b""
            has_more = True
        lines = []
        for part in parts[:-1]:
            self._partial.append(part)
            lines.append(self._partial.take())
            self._partial = _Partial()
        self._partial.append(parts[-1])
        self._offset += len(block)
        self._before = (self._before + block)[-_COMPARED_BYTES:]
        if lines:
            self.position = Position.of(self._file, self._offset - len(parts[-1]))
        return News([parse_line(decode_line(line)) for line in lines], has_more)

    def _count_behind(self) -> int:
        assert self._file is not None
        with self._log.open_all() as files:
            inodes = [file.inode for file in files]
            newer = files[: inodes.index(self._file.inode)] if self._file.inode in inodes else files
            return self._file.size_now - self._offset + sum(file.size for file in newer)


class _Partial:
    """A line whose end has not come yet; of a long one no more is kept than is shown."""

    def __init__(self) -> None:
        self.length = 0
        self._head = b""

    def append(self, part: bytes) -> None:
        self.length += len(part)
        self._head += part[: LONGEST_LINE_BYTES - len(self._head)]

    def take(self) -> bytes:
        return cut_line(self._head, self.length)


def _read_before(file: LogFile, offset: int) -> bytes:
    size = min(_COMPARED_BYTES, offset)
    return file.read(offset - size, size)


def _find_end(files: Sequence[LogFile]) -> tuple[int, int]:
    """The file and the offset after the last line break: a line that goes on is told when it is complete."""
    budget = _MOST_PARTIAL_BYTES
    for number, file in enumerate(files):
        position = file.size
        while position > 0 and budget > 0:
            size = min(64 * 1024, position, budget)
            position -= size
            budget -= size
            found = file.read(position, size).rfind(b"\n")
            if found >= 0:
                return number, position + found + 1
    return (len(files) - 1, 0) if budget > 0 else (0, files[0].size)
