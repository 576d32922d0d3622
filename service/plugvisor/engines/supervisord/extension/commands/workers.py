"""The workers of the install folder, each of them a process of the plugins' user. The name of each is `.worker-<n>`.

A worker gets a listening socket as descriptor 0, which the service alone may connect to. It ends when that connection
does, or when its time is over.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import socket
import sys
from functools import partial
from typing import TYPE_CHECKING

from supervisor.xmlrpc import Faults, RPCError

from plugvisor.engines.supervisord.extension.processes.launch_file import Launch
from plugvisor.engines.supervisord.extension.processes.spawn import describe_spawn_error

if TYPE_CHECKING:
    from plugvisor.engines.supervisord.extension.commands.commands import Commands

MOST_WORKERS = 8
_INHERITED = re.compile(
    r"PATH|HOME|USER|LOGNAME|TMPDIR|TZ|LANG|LANGUAGE|LC_ALL|LC_CTYPE|PYTHONPATH"
    r"|UV_\w+|SSL_CERT_(FILE|DIR)|(?i:(http|https|all|ftp|no)_proxy)"
)
"""Variables with which an operator sets how environments are made; none of supervisord's own."""
_SOCKET_NAME = re.compile(r"install-[0-9]+\.sock")


class Workers:
    """Starts workers.

    Args:
        run_dir: where their sockets are.
        uid: the plugins' user; None if everything runs as one user.
        service_gid: the group that may connect, besides this user.
    """

    def __init__(self, commands: Commands, run_dir: str, uid: int | None, service_gid: int | None) -> None:
        self._logger = commands.logger
        self._commands = commands
        self._run_dir = run_dir
        self._uid = uid
        self._service_gid = service_gid
        with contextlib.suppress(OSError):  # what an earlier supervisord has left there
            for name in filter(_SOCKET_NAME.fullmatch, os.listdir(run_dir)):
                self._remove(name)

    def open(self, timeout_seconds: float) -> str:
        """Start a worker; returns the name of its socket in the run folder.

        Raises:
            RPCError: it cannot be started.
        """
        numbers = range(1, MOST_WORKERS + 1)
        number = next((number for number in numbers if not self._commands.runs(_name_command(number))), None)
        if number is None:
            raise RPCError(Faults.FAILED, "too many workers")
        name = _name_socket(number)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
                self._listen(listener, os.path.join(self._run_dir, name))
                self._commands.begin(
                    _name_command(number),
                    self._make_launch(),
                    self._uid,
                    timeout_seconds,
                    partial(self._note_ended, name),
                    stdin=listener.fileno(),
                )
        except (OSError, KeyError) as error:
            self._remove(name)
            why = describe_spawn_error(error, "/", "start a worker") if isinstance(error, OSError) else "no such user"
            raise RPCError(Faults.FAILED, why) from error
        return name

    def end(self, name: str) -> None:
        """End a worker by the name of its socket, or all if that is empty; it may have ended already."""
        for number in range(1, MOST_WORKERS + 1):
            if name in ("", _name_socket(number)) and self._commands.runs(_name_command(number)):
                self._commands.kill(_name_command(number))
                self._remove(_name_socket(number))

    def _make_launch(self) -> Launch:
        names = [name for name in os.environ if _INHERITED.fullmatch(name)]
        environment = {}
        if self._uid is not None:
            user = pwd.getpwuid(self._uid)
            environment = {"HOME": user.pw_dir, "USER": user.pw_name, "LOGNAME": user.pw_name}
        return Launch("/", [sys.executable, "-P", "-m", "plugvisor.installer"], environment, names)

    def _listen(self, listener: socket.socket, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        umask = os.umask(0o177)  # this user alone, from the first moment
        try:
            listener.bind(path)
        finally:
            os.umask(umask)
        if self._service_gid is not None:
            os.chown(path, -1, self._service_gid)
            os.chmod(path, 0o660)
        listener.listen(1)

    def _note_ended(self, name: str, status: int | None) -> None:
        self._remove(name)
        if status is None:
            self._logger.warn(f"plugins: a worker was ended, as its time was over ({name})")  # noqa: G004, G010
        elif status:
            code = os.waitstatus_to_exitcode(status)
            self._logger.warn(f"plugins: a worker has failed, with the status {code} ({name})")  # noqa: G004, G010

    def _remove(self, name: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self._run_dir, name))


def _name_command(number: int) -> str:
    return f".worker-{number}"


def _name_socket(number: int) -> str:
    return f"install-{number}.sock"
