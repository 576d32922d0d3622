"""Serving the application: the socket, uvicorn, and the end."""

from __future__ import annotations

import asyncio
import os
import sys
from functools import partial
from typing import TYPE_CHECKING, cast

import uvicorn

from plugvisor.api.http.limits import IDLE_SECONDS, claim_descriptors
from plugvisor.api.http.protocol import BoundedProtocol, ConnectionTable

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from starlette.types import ASGIApp

FAREWELL_SECONDS = 0.5
"""How long a client may take, at a shutdown, to read on."""
DRAIN_SECONDS = 5
"""How long requests under way may take to end at a shutdown; operations on plugins go on after that."""

LONGEST_MESSAGE_BYTES = 4096
"""Nobody has anything to tell us over a WebSocket."""


class Server(uvicorn.Server):
    """Does not wait for answers that never end: uvicorn does, and only then ends the lifespan."""

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second; look after every connection once in each."""
        if counter % 10 == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, BoundedProtocol):
                    connection.check(now)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Shut down as uvicorn does, having ended every stream."""
        for endless in self.lifespan.state.get("endless", ()):
            endless.close()
        asyncio.get_running_loop().call_later(FAREWELL_SECONDS, self._abort_unread)
        await super().shutdown(sockets)

    def _abort_unread(self) -> None:
        """Drop the clients that do not take what was sent to them: nothing more can be done for them."""
        for connection in list(self.server_state.connections):
            transport = connection.transport
            if transport is not None and transport.get_write_buffer_size() > 0:
                transport.abort()


def serve(app: ASGIApp, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT, or until the supervisord that started this process is gone."""
    config = uvicorn.Config(
        app,
        log_config=None,  # __main__ has set up logging
        access_log=False,  # reads are not logged; mutations are, in routes.py
        proxy_headers=False,  # else any local client could name itself anything and escape the throttle
        server_header=False,
        http=cast("type[asyncio.Protocol]", partial(BoundedProtocol, table=ConnectionTable(claim_descriptors()))),
        lifespan="on",
        ws="websockets-sansio",
        ws_max_size=LONGEST_MESSAGE_BYTES,
        ws_per_message_deflate=False,  # it would keep memory for each connection
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    server = Server(config)

    async def run() -> None:
        if "SUPERVISOR_PROCESS_NAME" in os.environ:
            _call_when_orphaned(lambda: setattr(server, "should_exit", True))
        await server.serve(sockets=[listener])

    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(run())


def _call_when_orphaned(callback: Callable[[], object]) -> None:
    """Call back when supervisord is gone: it alone holds the other end of this process's standard input.

    Without this a service would outlive a supervisord that was killed, and keep the port from the next.
    """
    loop = asyncio.get_running_loop()

    def read() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            loop.remove_reader(sys.stdin.fileno())
            callback()  # nothing to log: supervisord was the reader of our standard error, too

    loop.add_reader(sys.stdin.fileno(), read)
