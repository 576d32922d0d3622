"""The entries that both readers yield, and the limits of a package."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

MOST_ENTRIES = 10_000
LARGEST_PACKAGE_BYTES = 1 << 30
"""All files together."""
MOST_EXPANSION = 100
"""The largest ratio of the contents to the archive."""
ALWAYS_ALLOWED_BYTES = 1 << 20
"""Contents up to this size may have a larger ratio: short, repetitive text is no bomb."""
PIECE_BYTES = 256 * 1024


class Kind(Enum):
    """The type of an entry; all others are rejected."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry as described by its header; its name is not checked yet."""

    name: str
    kind: Kind
    size_bytes: int = 0
    """Of a file's content. The reader yields exactly this many bytes, or raises."""
    is_executable: bool = False
    target: str = ""
    """Of a link, not checked yet."""


Piece = bytes | memoryview
Pieces = Iterator[Piece]
"""The content of a file, at most `PIECE_BYTES` at a time. Read it to its end before the next entry."""
Reader = Iterator[tuple[Entry, Pieces]]


def find_size_limit(archive_bytes: int) -> int:
    """Return how large the contents of an archive of this size may be."""
    return min(LARGEST_PACKAGE_BYTES, max(ALWAYS_ALLOWED_BYTES, MOST_EXPANSION * archive_bytes))
