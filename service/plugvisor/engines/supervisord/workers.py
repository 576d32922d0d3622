"""Connections to the workers of the install folder, which supervisord starts as the plugins' user."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from plugvisor.errors import OperationInterrupted

if TYPE_CHECKING:
    from plugvisor.engines.supervisord.client import SupervisorClient

CONNECT_SECONDS = 5.0


async def end_workers(client: SupervisorClient, connection: socket.socket | None) -> None:
    """Have a worker killed, or all of them; `Engine.end_workers` says more."""
    name = ""
    if connection is not None:
        name = Path(str(connection.getpeername())).name or "the socket has no name"
    await client.call("plugins.end_workers", name)


async def open_worker(client: SupervisorClient, run_dir: Path, timeout_seconds: float) -> socket.socket:
    """Have a worker started, and connect to it; `Engine.open_worker` says more."""
    try:
        name = Path(str(await client.call("plugins.open_worker", float(timeout_seconds)))).name
    except OperationInterrupted as error:
        why = str(error).partition(": ")[2]  # after the fault's name
        raise OperationInterrupted(f"the process that installs cannot be started: {why}") from error
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        async with asyncio.timeout(CONNECT_SECONDS):
            await asyncio.get_running_loop().sock_connect(connection, str(run_dir / name))
    except BaseException as error:
        connection.close()
        if isinstance(error, OSError):  # a timeout, too
            raise OperationInterrupted("the process that installs cannot be reached") from error
        raise
    return connection
