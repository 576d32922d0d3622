"""The digest and the archive of a plugin's folder."""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from plugvisor.engines.swarm.carriers.walk import refuse, walk
from plugvisor.layout import ENVIRONMENT, is_version
from plugvisor.models.manifest import ManifestError

if TYPE_CHECKING:
    from pathlib import Path

    from plugvisor.engines.swarm.carriers.walk import Entry

_TIME = 315532800
"""1980-01-01, as in a package."""
_SETTLED_NANOSECONDS = 100_000_000
"""A file that was changed less than this before it was read may change again with the same time."""
_MOST_REMEMBERED = 4096
_PIECE_BYTES = 256 * 1024

_Key = tuple[int, ...]
_files: dict[str, dict[str, tuple[_Key, str]]] = {}
"""By folder and path: the state in which a file was read, and its digest."""
_versions: dict[str, tuple[_Key, FolderDigest]] = {}


@dataclass(frozen=True)
class FolderDigest:
    """Recognises what a folder holds."""

    sha256: str
    """Of the names, modes and contents of all that its archive contains."""
    size_bytes: int
    """Of all files together."""


def find_digest(directory: Path) -> FolderDigest:
    """The digest of a folder; files that have not changed since the last call are not read again. Blocks.

    Raises:
        ManifestError: something in it cannot travel.
    """
    key = _find_version_key(str(directory))
    if key is not None and (known := _versions.get(str(directory))) is not None and known[0] == key:
        return known[1]
    before = _files.get(str(directory), {})
    after: dict[str, tuple[_Key, str]] = {}
    digest = _Digest()
    try:
        for entry in walk(directory):
            content = ""
            if entry.is_file:
                remembered = before.get(entry.path)
                if remembered is not None and remembered[0] == _make_key(entry.status):
                    content = remembered[1]
                    after[entry.path] = remembered
                else:
                    content = _read_file(entry, after)
            digest.add(entry, content)
    except OSError as error:
        raise _describe(error) from error
    found = digest.finish()
    _remember(str(directory), key, found, after)
    return found


def write_archive(directory: Path, output: IO[bytes]) -> FolderDigest:
    """Write a folder as a tar, which is the same for folders of one digest. Blocks.

    Returns:
        the digest of what was written: the folder may have changed since it was last read.

    Raises:
        ManifestError: something in it cannot travel, or changes while it is read.
        OSError: of `output`.
    """
    with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT) as archive:
        return add_folder(archive, directory)


def add_folder(archive: tarfile.TarFile, directory: Path, prefix: str = "") -> FolderDigest:
    """Add a folder to a tar, as `write_archive` does.

    Args:
        prefix: a path that is put before each name.
    """
    digest = _Digest()
    entries = walk(directory)
    while True:
        try:
            entry = next(entries, None)
            if entry is None:
                return digest.finish()
            descriptor = entry.open() if entry.is_file else None
        except OSError as error:
            raise _describe(error) from error
        _add(archive, entry, descriptor, prefix, digest)


def _add(archive: tarfile.TarFile, entry: Entry, descriptor: int | None, prefix: str, digest: _Digest) -> None:
    info = tarfile.TarInfo("/".join(filter(None, (prefix, entry.path))) or ".")
    info.mtime = _TIME
    info.mode = entry.mode
    content = ""
    if entry.is_folder:
        info.type = tarfile.DIRTYPE
    elif descriptor is None:
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, entry.target, 0o777
    if descriptor is None:
        archive.addfile(info)
    else:
        with open(descriptor, "rb", buffering=0) as file:
            info.size = entry.status.st_size
            hashing = _HashingReader(file, info.size, entry.path)
            archive.addfile(info, hashing)
            content = hashing.sha256.hexdigest()
    digest.add(entry, content)


class _HashingReader:
    """Reads a file of a size that is known, and its digest."""

    def __init__(self, file: IO[bytes], size_bytes: int, path: str) -> None:
        self._file = file
        self._left = size_bytes
        self._path = path
        self.sha256 = hashlib.sha256()

    def read(self, size_bytes: int = _PIECE_BYTES, /) -> bytes:
        """Read exactly this many bytes, if so many are left; raises `ManifestError`."""
        wanted = min(size_bytes, self._left)
        pieces = []
        while wanted:
            try:
                piece = self._file.read(wanted)
            except OSError as error:
                raise _describe(error) from error
            if not piece:
                raise refuse(self._path, "has changed while it was read")
            pieces.append(piece)
            wanted -= len(piece)
            self._left -= len(piece)
            self.sha256.update(piece)
        return b"".join(pieces)


class _Digest:
    """The digest of entries that are added in their order."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._size_bytes = 0

    def add(self, entry: Entry, content: str) -> None:
        """Add an entry; `content` is a file's digest."""
        kind = "folder" if entry.is_folder else "file" if entry.is_file else "link"
        mode = 0o777 if kind == "link" else entry.mode
        for text in (kind, f"{mode:o}", entry.path, content, entry.target):
            self._sha256.update(os.fsencode(text) + b"\0")
        if entry.is_file:
            self._size_bytes += entry.status.st_size

    def finish(self) -> FolderDigest:
        """The digest."""
        return FolderDigest(self._sha256.hexdigest(), self._size_bytes)


def _read_file(entry: Entry, remembered: dict[str, tuple[_Key, str]]) -> str:
    """The digest of a file, which is remembered if it would show that the file changes."""
    with open(entry.open(), "rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        started = time.time_ns()
        hashing = _HashingReader(file, entry.status.st_size, entry.path)
        while hashing.read():
            pass
    content = hashing.sha256.hexdigest()
    if _make_key(status) == _make_key(entry.status) and started - status.st_ctime_ns > _SETTLED_NANOSECONDS:
        remembered[entry.path] = (_make_key(status), content)
    return content


def _make_key(status: os.stat_result) -> _Key:
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _find_version_key(directory: str) -> _Key | None:
    """By what a version that is whole, and so read-only, is recognised; None for any other folder.

    A manifest that is replaced in it changes the folder's times.
    """
    if not is_version(directory):
        return None
    try:
        status = os.stat(directory)
        if status.st_mode & stat.S_IWUSR:
            return None
        environment = os.path.join(directory, ENVIRONMENT)
        return _make_key(status) + (_make_key(os.stat(environment)) if os.path.isdir(environment) else ())
    except OSError:
        return None


def _remember(directory: str, key: _Key | None, digest: FolderDigest, files: dict[str, tuple[_Key, str]]) -> None:
    for memory in (_files, _versions):
        if len(memory) > _MOST_REMEMBERED:
            memory.clear()
    if key is None:
        _files[directory] = files
        _versions.pop(directory, None)
    else:
        _versions[directory] = (key, digest)
        _files.pop(directory, None)


def _describe(error: OSError) -> ManifestError:
    return ManifestError(f"its folder cannot be read: {error.strerror}")
