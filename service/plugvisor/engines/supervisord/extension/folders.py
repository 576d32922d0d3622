"""Opens a folder so that no other user can replace it meanwhile."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_MOST_LINKS = 40
_SEARCH = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def open_folder(path: Path, *, create: bool = True) -> int:
    """Open a folder, step by step from the root; what is missing is created, unless `create` is false.

    Links are followed if this user or root has made them. No folder on the way may be one in which another user can
    replace what is in it: writable by everyone without the sticky bit, or another user's in a folder that is writable
    by everyone. For root no folder on the way may be another user's.

    Returns:
        its descriptor; of a folder that this user may not read, one that can only be inspected.

    Raises:
        OSError: its `strerror` says which part of the path is unsafe.
    """
    names = list(reversed(path.parts[1:]))
    links = 0
    descriptor = os.open("/", _SEARCH)
    try:
        while names:
            name = names.pop()
            status = _find_safe(name, descriptor, is_last=not names, create=create)
            if stat.S_ISLNK(status.st_mode):
                links += 1
                _check_count(links)
                target = os.readlink(name, dir_fd=descriptor)
                names += reversed([part for part in target.split("/") if part not in ("", ".")])
                name = "/" if target.startswith("/") else "."
            descriptor = _enter(name, descriptor, is_last=not names)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _find_safe(name: str, folder: int, *, is_last: bool, create: bool) -> os.stat_result:
    """Look at what a folder holds, or create it there, if nobody else can replace it."""
    parent = os.fstat(folder)
    is_open = bool(parent.st_mode & 0o002)
    if is_open and not parent.st_mode & stat.S_ISVTX:
        raise PermissionError(errno.EPERM, f"everyone can replace {name!r} in its folder")
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        if not create:
            raise
        os.mkdir(name, 0o700 if is_last else 0o755, dir_fd=folder)
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    is_foreign = status.st_uid not in (0, os.geteuid())
    if is_foreign and stat.S_ISLNK(status.st_mode):
        raise PermissionError(errno.EPERM, f"{name!r} is a link of another user's")
    if is_foreign and not is_last and (is_open or os.geteuid() == 0):
        raise PermissionError(errno.EPERM, f"{name!r} belongs to another user, who can replace what is in it")
    return status


def _check_count(links: int) -> None:
    if links > _MOST_LINKS:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _enter(name: str, folder: int, *, is_last: bool) -> int:
    """Open a folder in another one, and close that."""
    try:
        entered = os.open(name, _READ if is_last else _SEARCH, dir_fd=folder)
    except PermissionError:
        entered = os.open(name, _SEARCH, dir_fd=folder)
    os.close(folder)
    return entered


def check_can_write(folder: int) -> None:
    """Create a file and remove it again; a full disk is no failure. Raises `OSError`."""
    name = f".{os.getpid()}.tmp"
    try:
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder))
        os.unlink(name, dir_fd=folder)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(error.errno, f"no file can be created there: {error.strerror}") from error
