"""Removing, closing and storing whole folders. No link is followed, and no path is looked up twice."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def open_folder(name: str, parent: int) -> Iterator[int]:
    """A descriptor of a folder in a folder; raises `OSError`, also if it is a link."""
    descriptor = os.open(name, FOLDER, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def make_name() -> str:
    """A name that nothing has."""
    return os.urandom(8).hex()


def is_folder(name: str, parent: int) -> bool:
    """Whether there is a folder of that name, which is no link."""
    try:
        return stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode)
    except FileNotFoundError:
        return False


def exists(name: str, parent: int) -> bool:
    """Whether there is anything of that name."""
    try:
        os.lstat(name, dir_fd=parent)
    except FileNotFoundError:
        return False
    return True


def move(name: str, parent: int, to: str, target: int) -> None:
    """Rename a file, or a folder, which for that must be writable."""
    mode = os.lstat(name, dir_fd=parent).st_mode
    if stat.S_ISDIR(mode) and mode & 0o700 != 0o700:
        os.chmod(name, stat.S_IMODE(mode) | 0o700, dir_fd=parent)
    os.rename(name, to, src_dir_fd=parent, dst_dir_fd=target)


def remove_tree(name: str, parent: int) -> None:
    """Remove a file, or a folder with all that is in it, however deep.

    A folder's folders are moved up beside it, one after the other: neither paths nor this function's stack grow.

    Raises:
        OSError: something of it cannot be removed.
    """
    left = [name]
    while left:
        name = left.pop()
        if not is_folder(name, parent):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=parent)
            continue
        with contextlib.suppress(PermissionError):  # of another user's, which may be empty
            os.chmod(name, 0o700, dir_fd=parent)
        with open_folder(name, parent) as folder:
            folders = []
            for entry in os.listdir(folder):
                if is_folder(entry, folder):
                    folders.append(entry)
                else:
                    os.unlink(entry, dir_fd=folder)
            for entry in folders:  # after the files: on a full disk a name may have no room before
                left.append(make_name())
                move(entry, folder, left[-1], parent)
        os.rmdir(name, dir_fd=parent)


def make_read_only(folder: int, except_for: str) -> None:
    """Take away every right to write in a folder of this user, except for one folder in it."""
    for path, folders, files, descriptor in os.fwalk(".", dir_fd=folder, follow_symlinks=False):
        if path == "." and except_for in folders:
            folders.remove(except_for)
        for name in (*folders, *files):
            mode = os.lstat(name, dir_fd=descriptor).st_mode
            if not stat.S_ISLNK(mode) and mode & 0o222:
                os.chmod(name, stat.S_IMODE(mode) & 0o555, dir_fd=descriptor)
    os.fchmod(folder, 0o555)


def store(folder: int) -> None:
    """Wait until everything in a folder's file system is on the disk.

    One call for all: fsync(2) of each of ten thousand files takes longer than unpacking them.
    """
    syncfs = None
    with contextlib.suppress(ImportError, AttributeError):
        import ctypes  # noqa: PLC0415 - a megabyte, for this alone

        syncfs = ctypes.CDLL(None, use_errno=True).syncfs
    if syncfs is None:
        os.sync()  # not Linux
    elif syncfs(folder) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
