"""The folder of the store: who can use it, and who uses it now."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

FILE_NAME = "plugvisor.db"
LOCK_NAME = "plugvisor.lock"
_LOCK_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe of that name would be waited for


class UnsafeFolder(Exception):
    """Another user could change what is remembered."""


class FolderInUse(Exception):
    """Another Plugvisor has locked the folder."""


class BrokenDatabase(Exception):
    """The file is not a database, or no longer one."""


def make_folder(folder: Path) -> None:
    """Make the folder of the store if it is missing; raises `OSError`."""
    if folder.is_dir():
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)  # else the loss of power could take the folder away, and all that is in it
    finally:
        os.close(descriptor)


def check_folder(folder: Path, owners: Collection[int] = ()) -> int:
    """Check that no other user can write in the folder.

    Args:
        owners: user ids whose folder it may be, beside this process's user and root.

    Returns:
        the permissions for the files in it: those of the folder's group are the files' as well.

    Raises:
        OSError
        UnsafeFolder
    """
    status = folder.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise UnsafeFolder("the state folder is no folder")
    if status.st_uid not in (0, os.geteuid(), *owners):
        raise UnsafeFolder("the state folder belongs to another user")
    # root shares its folder with the service's group on purpose
    if status.st_mode & (0o002 if status.st_uid == 0 else 0o022):
        raise UnsafeFolder("others can write in the state folder")
    return 0o660 if status.st_mode & 0o020 else 0o600


def check_writable(folder: Path) -> None:
    """Check that this process can write in the folder; raises `OSError`. SQLite does not say what is wrong."""
    if not os.access(folder, os.W_OK | os.X_OK):
        code = errno.EROFS if os.statvfs(folder).f_flag & os.ST_RDONLY else errno.EACCES
        raise OSError(code, os.strerror(code))


def lock_folder(folder: Path, mode: int) -> int:
    """Lock the folder for this process, however that ends; returns the descriptor that has the lock.

    Raises:
        OSError
        FolderInUse
    """
    path = folder / LOCK_NAME
    try:
        descriptor = os.open(path, _LOCK_FLAGS)  # also on a read-only file system
    except FileNotFoundError:
        descriptor = os.open(path, _LOCK_FLAGS | os.O_CREAT, mode)
        os.fchmod(descriptor, mode)  # whatever the umask is
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise FolderInUse("another Plugvisor uses this state folder") from None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def has_database(path: Path) -> bool:
    """Whether there is a database, however it may look inside.

    Raises:
        OSError
        UnsafeFolder: there is a link.
        BrokenDatabase: there is something else, or a file that has been emptied.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    if stat.S_ISLNK(status.st_mode):
        raise UnsafeFolder("the database is a link")
    if not stat.S_ISREG(status.st_mode):
        raise BrokenDatabase("it is no file")
    if status.st_size > 0:
        return True
    with suppress(FileNotFoundError):
        if os.stat(f"{path}-wal").st_size > 0:
            raise BrokenDatabase("it was emptied")
    return False
