"""Packages as they arrive: files in the state folder, which nobody else can read."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import logging
import os
import secrets
import shutil
from typing import TYPE_CHECKING

from plugvisor.errors import BodyTooLarge, ChecksumMismatch, StorageFull, TooManyOperations

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Self

logger = logging.getLogger(__name__)

MOST_UPLOADS = 4
"""At the same time."""
MOST_PACKAGES = 8
"""That arrive, or have arrived and are not unpacked yet: they take space beside the store."""
BATCH_BYTES = 256 * 1024
"""Less is kept in memory until more arrives."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Package:
    """A package on this machine's disk, which is removed when nobody has it open any more (its file has no name)."""

    def __init__(
        self, descriptor: int, sha256: str, source: str, on_close: Callable[[], object] = lambda: None
    ) -> None:
        self._on_close = on_close
        self.descriptor = descriptor
        """It can only be read."""
        self.sha256 = sha256
        self.source = source
        """The name of the package's file, as the client has given it."""

    def close(self) -> None:
        """Have it removed; it may be called again."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
            self._on_close()


class Upload:
    """A package that is arriving. Everything that blocks is done in a thread.

    Args:
        writer: a descriptor of its file, and `reader` another.
        on_end: called when nothing more will arrive.
        on_removed: called when its file is removed.
    """

    def __init__(
        self,
        writer: int,
        reader: int,
        most_bytes: int,
        on_end: Callable[[], object],
        on_removed: Callable[[], object],
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._most_bytes = most_bytes
        self._on_end = on_end
        self._on_removed = on_removed
        self._hash = hashlib.sha256()
        self._batch: list[bytes] = []
        self._batched = 0
        self._writing: asyncio.Future[None] | None = None
        self._is_open = True
        self.size_bytes = 0

    async def write(self, data: bytes) -> None:
        """Take more of it; raises `StorageFull`, `BodyTooLarge`."""
        self.size_bytes += len(data)
        if self.size_bytes > self._most_bytes:
            raise BodyTooLarge(
                f"a package may have {self._most_bytes // 1_000_000} MB, and this one is larger; "
                "PLUGVISOR_PACKAGE_MB sets that"
            )
        self._batch.append(data)
        self._batched += len(data)
        if self._batched >= BATCH_BYTES:
            await self._flush()

    async def finish(self, source: str, sha256: str | None) -> Package:
        """All of it has arrived; raises `ChecksumMismatch`, `StorageFull`."""
        await self._flush()
        found = self._hash.hexdigest()
        if sha256 is not None and sha256.lower() != found:
            raise ChecksumMismatch(
                f"the SHA-256 of the package that has arrived is {found}, not {sha256.lower()[:64]}; upload it again"
            )
        reader, self._reader = self._reader, -1
        self._end()
        return Package(reader, found, source, self._on_removed)

    async def __aenter__(self) -> Self:
        """Nothing is to be done."""
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Remove what has arrived, unless it was finished."""
        if self._writing is not None and not self._writing.done():
            self._writing.add_done_callback(lambda _: self._end())  # the thread still has the file
        else:
            self._end()

    async def _flush(self) -> None:
        batch, self._batch, self._batched = self._batch, [], 0
        if batch:
            self._writing = asyncio.ensure_future(asyncio.to_thread(self._write, batch))
            self._writing.add_done_callback(_forget_error)
            await asyncio.shield(self._writing)

    def _write(self, batch: list[bytes]) -> None:
        data = memoryview(b"".join(batch))
        self._hash.update(data)
        try:
            while data:
                data = data[os.write(self._writer, data) :]
        except OSError as error:
            raise _explain(error) from error

    def _end(self) -> None:
        if self._is_open:
            self._is_open = False
            self._batch = []
            os.close(self._writer)
            if self._reader >= 0:
                os.close(self._reader)
                self._on_removed()
            self._on_end()


class Uploads:
    """Takes packages, at most `MOST_UPLOADS` at once."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._folder = folder
        self._arriving = 0
        self._packages = 0

    async def open(self) -> None:
        """Make the folder, and remove what an earlier run has left; nothing is raised."""
        try:
            await asyncio.to_thread(self._make_folder)
        except OSError as error:
            logger.warning("packages cannot be received: %s", error.strerror)

    async def begin(self) -> Upload:
        """Begin to take a package; raises `TooManyOperations`, `StorageFull`."""
        if self._arriving >= MOST_UPLOADS:
            raise TooManyOperations(
                f"{self._arriving} packages are being uploaded already; try again when one has arrived"
            )
        if self._packages >= MOST_PACKAGES:
            raise TooManyOperations(f"{self._packages} packages wait to be unpacked; try again when one has been")
        self._arriving += 1
        self._packages += 1
        opening = asyncio.ensure_future(asyncio.to_thread(self._open_file))
        try:
            writer, reader = await asyncio.shield(opening)
        except OSError as error:
            self._end()
            self._remove()
            raise _explain(error) from error
        except BaseException:  # the client has gone, and the thread goes on
            opening.add_done_callback(self._drop)
            raise
        return Upload(writer, reader, self.most_bytes, self._end, self._remove)

    def _end(self) -> None:
        self._arriving -= 1

    def _remove(self) -> None:
        self._packages -= 1

    def _drop(self, opening: asyncio.Future[tuple[int, int]]) -> None:
        self._end()
        self._remove()
        if not opening.cancelled() and opening.exception() is None:
            for descriptor in opening.result():
                os.close(descriptor)

    def _make_folder(self) -> None:
        if self._folder.is_dir() and not self._folder.is_symlink():
            for entry in os.scandir(self._folder):
                with contextlib.suppress(OSError):
                    shutil.rmtree(entry) if entry.is_dir(follow_symlinks=False) else os.unlink(entry)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(0o700)

    def _open_file(self) -> tuple[int, int]:
        """Open a new file twice, to write and to read; from then on it has no name."""
        path = self._folder / secrets.token_hex(8)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            writer = os.open(path, flags, 0o600)
        except FileNotFoundError:  # somebody has removed the folder
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            writer = os.open(path, flags, 0o600)
        try:
            return writer, os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except BaseException:
            os.close(writer)
            raise
        finally:
            os.unlink(path)


def _explain(error: OSError) -> StorageFull:
    if error.errno in _FULL:
        return StorageFull("there is no room for the package on the disk of the state folder; nothing was changed")
    logger.error("a package cannot be stored: %s", error)
    return StorageFull(f"the package cannot be stored in the state folder: {error.strerror}; nothing was changed")


def _forget_error(writing: asyncio.Future[None]) -> None:
    """Retrieve the error of a write that is no longer awaited, which asyncio would log."""
    if not writing.cancelled():
        writing.exception()
