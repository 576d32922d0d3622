"""Log files that are renamed, deleted or replaced: supervisord continues in a new file.

supervisor 4.3.0, as it comes, keeps its descriptor until SIGUSR2: what it writes after a rename goes to the renamed
file, and after a removal to nowhere.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from typing import Any

from supervisor.loggers import FileHandler, Handler, RotatingFileHandler

CHECK_SECONDS = 1.0
"""How often a log's path is compared with the open file, if something is written to it."""
MOST_BACKUPS = 100
"""As many as a manifest can have kept."""
FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
"""How a log is opened: without O_NONBLOCK, opening a FIFO would block until it has a reader."""

_folders: dict[str, tuple[int, int]] = {}
"""Mode and group of each log folder, as they were last seen."""


def follow_log_files() -> None:
    """Replace supervisor's methods by those below; calling it again does no harm."""
    FileHandler.emit = emit
    FileHandler.reopen = reopen
    RotatingFileHandler.doRollover = roll_over


_roll_over = RotatingFileHandler.doRollover


def emit(handler: Any, record: Any) -> None:
    """Write to the file that the log's path names."""
    if (now := time.monotonic()) >= getattr(handler, "check_at", 0.0):
        handler.check_at = now + CHECK_SECONDS
        try:
            if _is_replaced(handler):
                _switch_to(handler, open_log(handler.baseFilename))
        except Exception:  # noqa: BLE001 - a caller that logs expects no error
            handler.handleError()
    Handler.emit(handler, record)


def reopen(handler: Any) -> None:
    """Open the log's path again, for SIGUSR2 and `supervisorctl clear`; if that fails, keep the file that is open."""
    try:
        if handler.closed or _is_regular(handler.stream.fileno()):
            _switch_to(handler, open_log(handler.baseFilename, follows_links=True))
    except Exception:  # noqa: BLE001 - supervisord would end
        handler.handleError()


def roll_over(handler: Any) -> None:
    """`RotatingFileHandler.doRollover`; writes to the new file go to its end, even if it is truncated.

    If a folder is in the way, it stays there, and the log is emptied when it has its maximum size.
    """
    before = handler.stream
    is_full = 0 < handler.maxBytes <= before.tell()
    if is_full and _is_obstructed(handler):
        if os.fstat(before.fileno()).st_nlink == 0 or not _is_replaced(handler):
            os.ftruncate(before.fileno(), 0)
            before.seek(0)
        return
    _roll_over(handler)
    if handler.stream is not before:
        descriptor = handler.stream.fileno()
        fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_APPEND)


def begin_log(path: str | None, backups: int) -> tuple[int, int] | None:
    """Remove the rotated files of a plugin's log that are left of a time when more were kept.

    Returns:
        where the log ends now: the inode of its file, and bytes; None if there is none.

    Raises:
        OSError: it is gone.
    """
    if not path:
        return None
    with contextlib.suppress(OSError):  # there are no more
        for number in range(backups + 1, MOST_BACKUPS + 1):
            os.unlink(f"{path}.{number}")
    status = os.stat(path)
    return status.st_ino, status.st_size


def _is_obstructed(handler: Any) -> bool:
    """Whether a folder has the name of the log or of one of its backups."""
    numbers = range(1, handler.backupCount + 1)
    return any(map(os.path.isdir, (handler.baseFilename, *(f"{handler.baseFilename}.{number}" for number in numbers))))


def open_log(path: str, *, follows_links: bool = False) -> int:
    """Open a log file for appending; create it, and its folder if that is gone. This never blocks.

    Without a request no link is followed: a user who can replace a log must not choose which file is written to.

    Raises:
        OSError: it cannot be opened, or is not a regular file.
    """
    make_folder(os.path.dirname(path))
    descriptor = os.open(path, FLAGS if follows_links else FLAGS | os.O_NOFOLLOW, 0o666)
    if not _is_regular(descriptor):
        os.close(descriptor)
        raise OSError("it is no regular file")
    return descriptor


def make_folder(path: str) -> None:
    """Make a log folder that is gone, with the mode and the group that it had; raises `OSError`."""
    if path not in _folders or os.path.lexists(path):
        return
    mode, group = _folders[path]
    os.mkdir(path, 0o700)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchown(descriptor, -1, group)
        os.fchmod(descriptor, mode)
    except OSError:
        os.rmdir(path)
        raise
    finally:
        os.close(descriptor)


def _switch_to(handler: Any, descriptor: int) -> None:
    before, handler.stream = handler.stream, os.fdopen(descriptor, "ab")
    handler.closed = False
    if not before.closed and before.fileno() > 2:  # supervisor never closes standard output
        with contextlib.suppress(OSError):  # on a full disk the rest of its buffer is lost
            before.close()


def _is_regular(descriptor: int) -> bool:
    return stat.S_ISREG(os.fstat(descriptor).st_mode)


def _is_replaced(handler: Any) -> bool:
    """Whether the log's path names another file than the open one, or none; False if a device or a pipe is open."""
    if handler.stream.closed:
        return False
    opened = os.fstat(handler.stream.fileno())
    if not stat.S_ISREG(opened.st_mode):
        return False  # such as /dev/stdout
    folder = os.path.dirname(handler.baseFilename)
    try:
        status = os.stat(folder)
        _folders[folder] = stat.S_IMODE(status.st_mode), status.st_gid
        found = os.stat(handler.baseFilename)
    except OSError:
        return True
    return (found.st_dev, found.st_ino) != (opened.st_dev, opened.st_ino)
