"""Serving the application: the socket, uvicorn, and the end."""

from __future__ import annotations

import asyncio
import gc
import os
import stat
import sys
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import uvicorn

from plugvisor.api.http.connections.idle import IdleConnections
from plugvisor.api.http.connections.protocol import BoundedProtocol
from plugvisor.api.http.limits import IDLE_SECONDS, claim_descriptors
from plugvisor.ticks import find_seconds_to_tick

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Container
    from types import FrameType

    from starlette.types import ASGIApp

    from plugvisor.api.http.hosts import HostCheck

TICK_SECONDS = 1.0
FAREWELL_SECONDS = 0.5
"""How long a client may take, at a shutdown, to send the request that it has connected for; and to read on."""
POLL_SECONDS = 0.01
DRAIN_SECONDS = 5
"""How long requests under way may take to end at a shutdown; operations on plugins go on after that."""

LONGEST_MESSAGE_BYTES = 4096
"""Nobody has anything to tell us over a WebSocket."""


class Server(uvicorn.Server):
    """Does not wait for answers that never end: uvicorn does, and only then ends the lifespan.

    It wakes up once a second, and at once when it is to end; uvicorn does so ten times a second.
    """

    def __init__(self, config: uvicorn.Config, on_closed: Callable[[], object], on_ready: Callable[[], object]) -> None:
        super().__init__(config)
        self._on_closed = on_closed
        self._on_ready = on_ready
        self._ending = asyncio.Event()

    def end(self) -> None:
        """Shut down, as a signal does."""
        self.should_exit = True
        self._ending.set()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called in the main thread, between two steps of whatever runs in the event loop."""
        super().handle_exit(sig, frame)
        self._ending.set()

    async def main_loop(self) -> None:
        """Look after every connection once a second until the end."""
        gc.collect()
        gc.freeze()  # what is loaded now stays, and need not be looked at by every later collection
        self._on_ready()
        while not await self.on_tick(0):  # with 0 it does all that is due once a second
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, BoundedProtocol):
                    connection.check(now)
            with suppress(TimeoutError):
                async with asyncio.timeout(find_seconds_to_tick(TICK_SECONDS, now)):
                    await self._ending.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Shut down as uvicorn does, having ended every stream."""
        for endless in self.lifespan.state.get("endless", ()):
            endless.close()
        for server in self.servers:
            server.close()  # from now on connections wait for the next service, if supervisord has the socket
        self._on_closed()
        await self._take_last_requests()
        asyncio.get_running_loop().call_later(FAREWELL_SECONDS, self._abort_unread)
        await super().shutdown(sockets)

    async def _take_last_requests(self) -> None:
        """Wait a short while for the requests of clients that have just connected; closing would reset them."""
        deadline = time.monotonic() + FAREWELL_SECONDS
        while True:
            await asyncio.sleep(POLL_SECONDS)  # at least once: what was accepted last is not connected yet
            connections = [each for each in self.server_state.connections if isinstance(each, BoundedProtocol)]
            for connection in connections:
                connection.end_soon()
            if not any(connection.is_expecting for connection in connections) or time.monotonic() > deadline:
                return

    def _abort_unread(self) -> None:
        """Drop the clients that do not take what was sent to them: nothing more can be done for them."""
        for connection in list(self.server_state.connections):
            transport = connection.transport
            if transport is not None and transport.get_write_buffer_size() > 0:
                transport.abort()


def make_websocket_protocol(**options: Any) -> asyncio.Protocol:
    """uvicorn's protocol for a connection that becomes a WebSocket; most services never see one."""
    from plugvisor.api.http.websockets import WebSocketProtocol  # noqa: PLC0415

    return WebSocketProtocol(**options)


def serve(
    app: ASGIApp,
    listener: socket.socket,
    host_check: HostCheck,
    on_closed: Callable[[], object] = lambda: None,
    streamed: Container[tuple[str, str]] = (),
    *,
    on_ready: Callable[[], object] = lambda: None,
) -> None:
    """Serve until SIGTERM or SIGINT, or until the supervisord that started this process is gone.

    Args:
        on_closed: called when this process no longer listens, and still answers what it has accepted.
        streamed: method and path of those whose handlers take the body as it comes.
        on_ready: called when requests are answered.
    """
    idle = IdleConnections(claim_descriptors())
    protocol = partial(BoundedProtocol, idle=idle, host_check=host_check, streamed=streamed)
    config = uvicorn.Config(
        app,
        log_config=None,  # cli/service.py has set up logging
        access_log=False,  # reads are not logged; changes are, by endpoint.py
        proxy_headers=False,  # else any local client could name itself anything and escape the throttle
        server_header=False,
        http=cast("type[asyncio.Protocol]", protocol),
        lifespan="on",
        ws=cast("type[asyncio.Protocol]", make_websocket_protocol),
        ws_max_size=LONGEST_MESSAGE_BYTES,
        ws_per_message_deflate=False,  # it would keep memory for each connection
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    server = Server(config, on_closed, on_ready)

    async def run() -> None:
        if "SUPERVISOR_PROCESS_NAME" in os.environ:
            _call_when_orphaned(server.end)
        await server.serve(sockets=[listener])

    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(run())


def _call_when_orphaned(callback: Callable[[], object]) -> None:
    """Call back when supervisord is gone: it alone reads what this process prints.

    Without this a service would outlive a supervisord that was killed, and keep the port from the next.
    """
    loop = asyncio.get_running_loop()
    output = sys.stdout.fileno()
    if not stat.S_ISFIFO(os.fstat(output).st_mode):
        return  # started by hand from a program of supervisord's, which has passed on its environment

    def end() -> None:
        loop.remove_reader(output)
        callback()  # nothing to log: nobody would read it

    # the writing end of a pipe is never readable; it is reported as broken when the reading end is closed
    loop.add_reader(output, end)
