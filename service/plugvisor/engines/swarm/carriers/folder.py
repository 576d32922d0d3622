"""What a plugin's folder holds: its digest, and its archive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class FolderDigest:
    """Recognises what a folder holds."""

    sha256: str
    """Of its archive, which is the same whenever and wherever it is made."""
    size_bytes: int
    """Of the archive before compression."""


def find_digest(directory: Path) -> FolderDigest:
    """The digest of a folder; files that have not changed since the last call are not read again. Blocks.

    Raises:
        ManifestError: something in it cannot travel.
    """
    raise NotImplementedError
