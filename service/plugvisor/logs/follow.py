"""Following a log as it grows, across rotations. The files themselves are the buffer."""

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
"""A reader further behind the end than this must begin again."""
MOST_BEGUN_BYTES = 1024 * 1024
"""`begin` returns at most this, even if more lines were requested."""
MOST_READ_BYTES = 128 * 1024
MOST_READ_LINES = 2000
"""The most that one `read` returns."""
_COMPARED_BYTES = 64
_MOST_PARTIAL_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Position:
    """A byte of a log, up to which it was read. It stays valid across rotations and restarts of the service."""

    inode: int
    offset: int
    checksum: int
    """Of the bytes before it: a new file can get the inode of a removed one."""

    @classmethod
    def of(cls, file: LogFile, offset: int) -> Position:
        """Return the position of a byte of a file."""
        return cls(file.inode, offset, zlib.crc32(_read_before(file, offset)))

    @classmethod
    def parse(cls, text: str) -> Position | None:
        """Parse what `str` returned; None if the text is anything else."""
        if not re.fullmatch("[0-9]{1,20}-[0-9]{1,18}-[0-9a-f]{8}", text):
            return None
        inode, offset, checksum = text.split("-")
        return cls(int(inode), int(offset), int(checksum, 16))

    def __str__(self) -> str:
        return f"{self.inode}-{self.offset}-{self.checksum:08x}"


@dataclass(frozen=True)
class NewLines:
    """The lines completed since the previous read."""

    entries: list[LogEntry]
    has_more: bool
    """Whether more can be read immediately."""


class Follower:
    """Follows one log for one reader. Every method blocks on the disk, and can be called from any thread."""

    def __init__(self, log: LogFiles) -> None:
        self.position: Position | None = None
        """After the last complete line; None until there is a file."""
        self._log = log
        self._lock = threading.Lock()
        self._file: LogFile | None = None
        self._offset = 0
        self._before = b""
        """The last bytes that were read: if they are no longer there, the file was truncated."""
        self._partial = _PartialLine()

    def begin(self, lines: int) -> Tail:
        """Go to the end of the last complete line; return the lines before it."""
        with self._lock, self._log.open_all() as files:
            self._close_file()
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
            self._switch_to(files[number], offset)
            self.position = Position.of(files[number], offset)
            return Tail([parse_line(decode_line(line)) for line in reversed(found)], count_lines(files[0]))

    def resume(self, position: Position) -> bool:
        """Go to a position; return False if it no longer exists or is too far behind the end."""
        with self._lock, self._log.open_all() as files:
            for number, file in enumerate(files):
                behind = file.size - position.offset + sum(newer.size for newer in files[:number])
                if file.inode == position.inode and position.offset <= file.size and behind <= MOST_BEHIND_BYTES:
                    self._close_file()
                    if position == Position.of(file, position.offset):
                        self._switch_to(file, position.offset)
                        self.position = position
                        return True
        return False

    def read(self) -> NewLines | None:
        """Return the lines completed since the previous call; None if the reader is too far behind."""
        with self._lock:
            if self._file is None and not self._open_first():
                return NewLines([], has_more=False)
            while True:
                assert self._file is not None
                # checked before reading: supervisord closes a file before it renames it, so a rotated file is complete
                is_current = self._log.find_inode() == self._file.inode
                data = self._file.read(self._offset - len(self._before), len(self._before) + MOST_READ_BYTES)
                if not data.startswith(self._before):
                    return NewLines(self._start_over(), has_more=True)
                if len(data) > len(self._before):
                    is_full = len(data) == len(self._before) + MOST_READ_BYTES
                    if is_full and self._count_behind() > MOST_BEHIND_BYTES:
                        return None
                    return self._consume(data[len(self._before) :], has_more=is_full or not is_current)
                if is_current or not self._open_newer_file():
                    return NewLines([], has_more=False)

    def close(self) -> None:
        """Close the file, after any call in progress."""
        with self._lock:
            self._close_file()

    def _open_first(self) -> bool:
        file = self._log.open_file()
        if file is None:
            return False
        self._switch_to(file, 0)
        file.close()
        return True

    def _switch_to(self, file: LogFile, offset: int) -> None:
        self._file = file.duplicate()
        self._offset = offset
        self._before = _read_before(file, offset)

    def _close_file(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
        self._file = None
        self._partial = _PartialLine()

    def _start_over(self) -> list[LogEntry]:
        """The file was truncated: what is in it now is new."""
        left = [self._partial.take()] if self._partial.length else []
        self._partial = _PartialLine()
        self._offset = 0
        self._before = b""
        return [parse_line(decode_line(line)) for line in left]

    def _open_newer_file(self) -> bool:
        """Continue with the next newer file, as this one was rotated and is read completely."""
        assert self._file is not None
        with self._log.open_all() as files:
            inodes = [file.inode for file in files]
            if self._file.inode in inodes:
                newer = files[: inodes.index(self._file.inode)]
            else:  # removed, by further rotations or by hand
                newer = [file for file in files if file.modified >= self._file.modified_now]
            if not newer:
                return False
            self._file.close()
            self._switch_to(newer[-1], 0)  # a line can continue there
            return True

    def _consume(self, block: bytes, *, has_more: bool) -> NewLines:
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
            self._partial = _PartialLine()
        self._partial.append(parts[-1])
        self._offset += len(block)
        self._before = (self._before + block)[-_COMPARED_BYTES:]
        if lines:
            self.position = Position.of(self._file, self._offset - len(parts[-1]))
        return NewLines([parse_line(decode_line(line)) for line in lines], has_more)

    def _count_behind(self) -> int:
        assert self._file is not None
        with self._log.open_all() as files:
            inodes = [file.inode for file in files]
            newer = files[: inodes.index(self._file.inode)] if self._file.inode in inodes else files
            return self._file.size_now - self._offset + sum(file.size for file in newer)


class _PartialLine:
    """A line without its end; only the part that will be shown is kept."""

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
    """Return the file and offset after the last line break; an incomplete line is reported when it is complete."""
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
