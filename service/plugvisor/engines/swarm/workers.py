"""The workers of the install folder, which this service starts itself: there is no supervisord here.

Each has a parent of its own (`keeper.py`), which ends it, and all that it has started, whatever becomes of the service.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
import socket
import sys
from typing import TYPE_CHECKING

from plugvisor.errors import OperationInterrupted

if TYPE_CHECKING:
    from pathlib import Path

    from plugvisor.settings import Settings

logger = logging.getLogger(__name__)

MOST_WORKERS = 8
CONNECT_SECONDS = 5.0
_INHERITED = re.compile(
    r"PATH|HOME|USER|LOGNAME|TMPDIR|TZ|LANG|LANGUAGE|LC_ALL|LC_CTYPE|PYTHONPATH"
    r"|UV_\w+|SSL_CERT_(FILE|DIR)|(?i:(http|https|all|ftp|no)_proxy)"
)
"""Variables with which an operator sets how environments are made; none of this service's own."""


class LocalWorkers:
    """Starts workers as the plugins' user, and ends them with all that they have started."""

    def __init__(self, settings: Settings) -> None:
        users = settings.users if os.geteuid() == 0 else None
        self._user = users.plugins.name if users is not None else ""
        self._run_dir = settings.run_dir
        self._keepers: dict[socket.socket, _Keeper] = {}

    async def open(self, timeout_seconds: float) -> socket.socket:
        """Start one; returns a connection to it; raises `OperationInterrupted`."""
        if len(self._keepers) >= MOST_WORKERS:
            raise OperationInterrupted("the process that installs cannot be started: too many workers")
        try:
            listener, connection = await asyncio.to_thread(_open_pair, self._run_dir)
        except OSError as error:
            raise OperationInterrupted(f"the process that installs cannot be reached: {error.strerror}") from error
        try:
            with listener:
                keeper = await _start_keeper(listener, timeout_seconds, self._user)
        except BaseException as error:
            connection.close()
            if isinstance(error, OSError):
                raise OperationInterrupted(f"the process that installs cannot be started: {error.strerror}") from error
            raise
        self._keepers[connection] = keeper
        keeper.ended = asyncio.create_task(self._wait_ended(connection, keeper))
        return connection

    async def end(self, connection: socket.socket | None = None) -> None:
        """Kill one, or all; return when nothing of it is left."""
        keepers = list(self._keepers.values()) if connection is None else [self._keepers.get(connection)]
        found = [keeper for keeper in keepers if keeper is not None]
        for keeper in found:
            keeper.release()
        await asyncio.gather(*(asyncio.shield(keeper.ended) for keeper in found), return_exceptions=True)

    async def _wait_ended(self, connection: socket.socket, keeper: _Keeper) -> None:
        code = await keeper.process.wait()
        keeper.release()
        del self._keepers[connection]
        if code:
            logger.warning("a worker of the install folder has failed, with the status %s, or its time was over", code)


class _Keeper:
    """A worker's parent. It ends the worker when the control pipe is closed."""

    def __init__(self, process: asyncio.subprocess.Process, control: int) -> None:
        self.process = process
        self.ended: asyncio.Task[None]
        self._control: int | None = control

    def release(self) -> None:
        """Have it end the worker."""
        if self._control is not None:
            os.close(self._control)
        self._control = None


async def _start_keeper(listener: socket.socket, timeout_seconds: float, user: str) -> _Keeper:
    reader, writer = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "plugvisor.engines.swarm.keeper",
            str(timeout_seconds),
            str(reader),
            *([user] if user else ()),
            stdin=listener.fileno(),
            stdout=asyncio.subprocess.DEVNULL,
            cwd="/",
            env={name: value for name, value in os.environ.items() if _INHERITED.fullmatch(name)},
            pass_fds=(reader,),
            start_new_session=True,  # Ctrl-C in the service's terminal is not for it
        )
    except BaseException:
        os.close(writer)
        raise
    finally:
        os.close(reader)
    return _Keeper(process, writer)


def _open_pair(run_dir: Path) -> tuple[socket.socket, socket.socket]:
    """A listening socket for the worker, and the only connection that there will ever be to it."""
    path = run_dir / f"install-{secrets.token_hex(4)}.sock"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        try:
            listener.listen(1)
            connection.connect(str(path))
        finally:
            path.unlink()
        connection.setblocking(False)
    except BaseException:
        listener.close()
        connection.close()
        raise
    return listener, connection
