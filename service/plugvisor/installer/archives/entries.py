"""An entry of an archive, and how much an archive may hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

MOST_ENTRIES = 10_000
LARGEST_PACKAGE_BYTES = 1 << 30
"""Of the contents of all files together."""
MOST_EXPANSION = 100
"""How many times larger than the archive the contents may be."""
ALWAYS_ALLOWED_BYTES = 1 << 20
"""Contents up to this size may be expanded more: a short text that repeats itself is no bomb."""
PIECE_BYTES = 256 * 1024


class Kind(Enum):
    """What an entry is; anything else is refused."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry, as its header describes it; its name is not checked yet."""

    name: str
    kind: Kind
    size_bytes: int = 0
    """Of a file's content; the reader sees to it that exactly so much comes."""
    is_executable: bool = False
    target: str = ""
    """Of a link."""


Piece = bytes | memoryview
Pieces = Iterator[Piece]
"""The content of a file, at most `PIECE_BYTES` at a time. It must be read to its end before the next entry."""
Reader = Iterator[tuple[Entry, Pieces]]


def find_size_limit(archive_bytes: int) -> int:
    """How large the contents of an archive of that size may be."""
    return min(LARGEST_PACKAGE_BYTES, max(ALWAYS_ALLOWED_BYTES, MOST_EXPANSION * archive_bytes))
