"""Restores the run folder if it is emptied or removed, for example by a cleaner of temporary files.

The service writes the programs' files again; all other files of the run folder are supervisord's to restore, which may
be root. The folder is locked as well: systemd-tmpfiles leaves alone what is locked (tmpfiles.d(5)).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from supervisor.states import SupervisorStates

from plugvisor.engines.supervisord.extension.folders import open_folder
from plugvisor.engines.supervisord.extension.stream import guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from plugvisor.engines.supervisord.extension.stream import StateStream

CHECK_SECONDS = 1.0
_KEPT = ("users.conf", "admin_code", "webhook_secret", "address")
_LARGEST_KEPT_BYTES = 64 * 1024


class _KeptFile(NamedTuple):
    stamp: tuple[int, int]
    data: bytes
    mode: int
    gid: int


class FolderKeeper:
    """Keeps a run folder as it must be.

    Args:
        service_gid: if supervisord is root, the group of the service, which shares the folder.
    """

    def __init__(self, supervisord: Any, run_dir: str, stream: StateStream, service_gid: int | None) -> None:
        self.logger = supervisord.options.logger
        self._options = supervisord.options
        self._run_dir = run_dir
        self._stream = stream
        self._service_gid = service_gid
        self._kept: dict[str, _KeptFile] = {}
        self._locks: dict[str, tuple[int, int]] = {}  # by path, a descriptor and the inode that it has locked
        self._folders: dict[str, tuple[int, ...]] = {}  # by path, what identifies a folder that was in order
        self._checked_at = 0.0
        self._problems: list[str] = []

    @guarded
    def check(self) -> None:
        """Restore what is missing; looks once a second."""
        is_running = self._options.mood >= SupervisorStates.RUNNING
        if not is_running or time.monotonic() - self._checked_at < CHECK_SECONDS:
            return
        self._checked_at = time.monotonic()
        problems = _find_problems([self._restore_run_folder]) or _find_problems(self._list_steps())
        if problems != self._problems:
            for problem in problems:
                self.logger.critical(f"plugins: cannot restore the run folder: {problem}")  # noqa: G004
        self._problems = problems

    def close(self) -> None:
        """Unlock the folder; supervisord may restart itself."""
        for descriptor, _ in self._locks.values():
            os.close(descriptor)
        self._locks.clear()

    def recover(self) -> None:
        """The next check finds whatever this one has missed."""

    def _list_steps(self) -> list[Callable[[], object]]:
        """The steps that restore the run folder, if it is this user's; one that fails holds up none of the others."""
        return [
            *(partial(self._make_folder, os.path.join(self._run_dir, name), 0o2770) for name in ("conf.d", "launch")),
            self._restore_log_folder,
            *(partial(self._keep, name) for name in _KEPT),
            partial(self._lock, self._run_dir, os.O_RDONLY | os.O_DIRECTORY),  # it may be a link of the operator's
            partial(self._lock, os.path.join(self._run_dir, "lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW),
            self._restore_sockets,
            self._restore_pidfile,
        ]

    def _restore_run_folder(self) -> None:
        if self._make_folder(self._run_dir, 0o711):
            self.logger.critical(f"plugins: the run folder {self._run_dir} was gone; it is restored")  # noqa: G004

    def _restore_log_folder(self) -> None:
        if os.path.dirname(self._options.childlogdir) == self._run_dir:
            self._make_folder(self._options.childlogdir, 0o2750)

    def _restore_sockets(self) -> None:
        if not os.path.lexists(self._stream.path):
            self._stream.listen_again()
        for config, server in self._options.httpservers:
            if config["family"] == socket.AF_UNIX and self._is_missing(config["file"]):
                _listen_again(server, config["file"], config["chmod"], config["chown"])

    def _restore_pidfile(self) -> None:
        if self._is_missing(self._options.pidfile):
            # not by `write_pidfile`, which logs that supervisord has started
            Path(self._options.pidfile).write_text(f"{os.getpid()}\n", encoding="ascii")

    def _is_missing(self, path: str) -> bool:
        """Whether one of the run folder's files is gone; what lies elsewhere is the operator's."""
        return os.path.dirname(path) == self._run_dir and not os.path.lexists(path)

    def _make_folder(self, path: str, shared_mode: int) -> bool:
        """Make a folder if it is missing, owned by this user; returns whether it was missing.

        Args:
            shared_mode: its mode if it is shared with the service's group; else it is this user's alone.
        """
        with contextlib.suppress(OSError):
            if _identify(os.stat(path)) == self._folders.get(path):
                return False  # to walk to every folder each second is most of what supervisord does at rest
        was_there = os.path.isdir(path)
        try:
            descriptor = open_folder(Path(path))
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from error
        try:
            if os.fstat(descriptor).st_uid != os.geteuid() and (path == self._run_dir or not was_there):
                raise PermissionError(f"{path} belongs to another user")
            if not was_there:
                if self._service_gid is not None:
                    os.fchown(descriptor, -1, self._service_gid)
                os.fchmod(descriptor, 0o700 if self._service_gid is None else shared_mode)
            self._folders[path] = _identify(os.fstat(descriptor))
        finally:
            os.close(descriptor)
        return not was_there

    def _keep(self, name: str) -> None:
        """Remember a file's contents, or write it again if it is gone."""
        path, known = os.path.join(self._run_dir, name), self._kept.get(name)
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            if known is not None:
                _write(path, known)
                self._kept[name] = known._replace(stamp=(0, 0))
            return
        stamp = status.st_mtime_ns, status.st_ino
        if stat.S_ISREG(status.st_mode) and (known is None or known.stamp != stamp):
            with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                data = file.read(_LARGEST_KEPT_BYTES)
            self._kept[name] = _KeptFile(stamp, data, stat.S_IMODE(status.st_mode), status.st_gid)

    def _lock(self, path: str, flags: int) -> None:
        """Lock what is at a path, unless `plugvisor up` has done so, or the file system cannot."""
        descriptor, inode = self._locks.get(path, (None, None))
        with contextlib.suppress(FileNotFoundError):
            if os.stat(path).st_ino == inode:
                return
        locked = os.open(path, flags | os.O_CLOEXEC, 0o600)
        with contextlib.suppress(OSError):
            fcntl.flock(locked, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._locks[path] = locked, os.fstat(locked).st_ino
        if descriptor is not None:
            os.close(descriptor)


def _identify(status: os.stat_result) -> tuple[int, ...]:
    """A value that differs between two folders, and if a folder's owner or mode has changed."""
    return status.st_dev, status.st_ino, status.st_mode, status.st_uid, status.st_gid


def _find_problems(steps: Sequence[Callable[[], object]]) -> list[str]:
    """Make every step; returns what went wrong."""
    problems = []
    for step in steps:
        try:
            step()
        except OSError as error:
            problems.append(str(error))
    return problems


def _write(path: str, kept: _KeptFile) -> None:
    temporary = f"{path}.tmp"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(kept.data)
        if os.fstat(descriptor).st_gid != kept.gid:
            os.fchown(descriptor, -1, kept.gid)
        os.fchmod(descriptor, kept.mode)
    os.replace(temporary, path)


def _listen_again(server: Any, path: str, mode: int, owner: tuple[int, int]) -> None:
    """Have one of supervisord's HTTP servers listen on a new socket; open connections are kept."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    umask = os.umask(0o177)  # this user alone, from the first moment
    try:
        listener.bind(path)
    finally:
        os.umask(umask)
    os.chown(path, *owner)
    os.chmod(path, mode)
    server.del_channel()
    server.socket.close()
    listener.setblocking(False)
    server.set_socket(listener)
    server.listen(1024)
