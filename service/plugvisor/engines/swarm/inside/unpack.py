"""Unpacks the archive of a plugin's folder, which was made by a manager of the swarm."""

from __future__ import annotations

import contextlib
import os
import shutil
import tarfile
import zlib
from typing import IO

MANIFEST = "plugin.toml"
_PIECE_BYTES = 256 * 1024


class UnpackError(Exception):
    """An archive is damaged, or it cannot be unpacked here."""


def unpack_folder(archive: IO[bytes], directory: str, *, replace: bool, prefix: str = "") -> None:
    """Unpack a `.tar` or `.tar.gz` into a folder of that path, which is there when all of it is.

    Nothing outside the folder is written, whatever is in the archive: its names are relative without `..`, and links
    are made last, so that none is ever followed.

    Args:
        replace: whether a plugin's folder that is there is removed; nothing else ever is.
        prefix: what every name in the archive begins with.

    Raises:
        UnpackError
    """
    parent = os.path.dirname(directory)
    staged = os.path.join(parent, f".plugvisor-{os.urandom(8).hex()}")
    try:
        os.makedirs(parent, mode=0o755, exist_ok=True)
        os.mkdir(staged, 0o755)
        try:
            _unpack(archive, staged, prefix)
            if replace:
                _remove_plugin(directory)
            _put(staged, directory)
        except BaseException:
            remove_folder(staged)
            raise
    except OSError as error:
        raise UnpackError(f"its folder cannot be unpacked: {error.strerror or 'the archive is damaged'}") from error
    except (tarfile.TarError, EOFError, zlib.error, ValueError) as error:
        raise UnpackError("its folder cannot be unpacked: the archive is damaged") from error


def remove_folder(path: str) -> None:
    """Remove a folder as far as that is possible; its folders may be read-only."""
    for folder, _, _ in os.walk(path):
        with contextlib.suppress(OSError):
            os.chmod(folder, 0o700)
    shutil.rmtree(path, ignore_errors=True)


def _unpack(archive: IO[bytes], folder: str, prefix: str) -> None:
    folders = {folder: 0o755}
    links = []
    with tarfile.open(fileobj=archive, mode="r|*") as entries:
        for entry in entries:
            path = os.path.join(folder, *_split(entry.name, prefix))
            if path != folder and os.path.dirname(path) not in folders:
                raise tarfile.TarError("not in a folder of the archive")
            mode = entry.mode & 0o755
            if entry.isdir():
                folders[path] = mode
                if path != folder:
                    os.mkdir(path, 0o700)
            elif entry.issym():
                links.append((path, entry.linkname))
            elif entry.isreg() and (content := entries.extractfile(entry)) is not None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
                with open(os.open(path, flags, 0o600), "wb", buffering=0) as file:
                    shutil.copyfileobj(content, file, _PIECE_BYTES)
                    os.fchmod(file.fileno(), mode)
            else:
                raise tarfile.TarError("neither a file nor a folder nor a link")
    for path, target in links:
        os.symlink(target, path)
    for path, mode in reversed(folders.items()):
        os.chmod(path, mode)


def _split(name: str, prefix: str) -> list[str]:
    parts = [] if name == "." else name.removesuffix("/").split("/")
    if prefix and (not parts or parts.pop(0) != prefix):
        raise tarfile.TarError("a name does not begin with that of the folder")
    if any(part in ("", ".", "..") for part in parts):
        raise tarfile.TarError("a name leads out of the folder, or has two spellings")
    return parts


def _remove_plugin(directory: str) -> None:
    if os.path.lexists(os.path.join(directory, MANIFEST)):
        remove_folder(directory)


def _put(staged: str, directory: str) -> None:
    """Rename, over an empty folder at most."""
    mode = os.stat(staged).st_mode & 0o7777
    os.chmod(staged, mode | 0o200)  # a folder that is renamed must be writable
    os.rename(staged, directory)
    os.chmod(directory, mode)
