"""Packages as they arrive: files in the state folder, which nobody else can read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

MOST_UPLOADS = 4
"""At the same time."""


class Package:
    """A package on this machine's disk, which is removed when nobody has it open any more (its file has no name)."""

    def __init__(self, descriptor: int, sha256: str, source: str) -> None:
        self.descriptor = descriptor
        self.sha256 = sha256
        self.source = source
        """The name of the package's file, as the client has given it."""

    def close(self) -> None:
        """Have it removed."""
        raise NotImplementedError


class Upload:
    """A package that is arriving. Everything that blocks is done in a thread."""

    async def write(self, data: bytes) -> None:
        """Take more of it; raises `StorageFull`, `BodyTooLarge`."""
        raise NotImplementedError

    async def finish(self, source: str, sha256: str | None) -> Package:
        """All of it has arrived; raises `ChecksumMismatch`, `StorageFull`."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        """Nothing is to be done."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove what has arrived, unless it was finished."""
        raise NotImplementedError


class Uploads:
    """Takes packages, at most `MOST_UPLOADS` at once."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._folder = folder

    async def open(self) -> None:
        """Make the folder, and remove what an earlier run has left; nothing is raised."""
        raise NotImplementedError

    async def begin(self) -> Upload:
        """Begin to take a package; raises `TooManyOperations`, `StorageFull`."""
        raise NotImplementedError
