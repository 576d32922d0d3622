"""`GET /plugin/{plugin_id}/logs/stream`, and what it has in common with the WebSocket: a log as it grows.

    event: initial       {"logs": […], "log_file", "total_lines"}: the last lines
    event: append        {"logs": […]}: the lines after those

A WebSocket carries the same as messages, with "type" in place of the event, and {"type": "ping"}. Nothing is
kept for a client: what it has not taken yet stands in the file, and is read when it takes more.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
from starlette.responses import Response, StreamingResponse

from plugvisor.api.auth.sessions import open_session
from plugvisor.api.http.threads import start_thread_pool
from plugvisor.errors import TooManyStreams
from plugvisor.logs.follow import Follower, Position
from plugvisor.models.events import LogAppend, LogBegin

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from contextlib import AbstractAsyncContextManager

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from plugvisor.api.parameters import LogStreamQuery
    from plugvisor.api.state import State
    from plugvisor.logs.files import LogFiles

MOST_STREAMS = 64
"""So many logs can be followed at once, over both protocols together."""
HEARTBEAT_SECONDS = 15.0
POLL_SECONDS = 0.2
"""How often a log is looked at while somebody follows it: five times a second the sizes of two files."""
PAUSE_SECONDS = 0.05
"""After as much as is read at once, so that nobody's flood of lines takes a whole processor."""
_THREADS = 2
# otherwise nginx buffers the response
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "X-Accel-Buffering": "no"}

Batch = tuple[str, bytes]
"""`initial` or `append`, and the object that goes with it as JSON."""


class LogStreams:
    """Every log that is being followed."""

    def __init__(self) -> None:
        self._count = 0
        self._closed = asyncio.Event()
        self._readers = start_thread_pool(_THREADS, "log-streams")

    def close(self) -> None:
        """End every stream, and every later one: an open one would keep the service from shutting down."""
        self._closed.set()

    def check_room(self) -> None:
        """Raise `TooManyStreams` if there are as many as may be."""
        if self._count >= MOST_STREAMS:
            raise TooManyStreams(f"{MOST_STREAMS} logs are followed already; close one of them, or try again later")

    @contextmanager
    def opening(self, log: LogFiles) -> Iterator[Follower]:
        """A follower, counted as long as it is used."""
        follower = Follower(log)
        self._count += 1
        try:
            yield follower
        finally:
            self._count -= 1
            # not here: a call that was cancelled may go on in its thread
            self._readers.submit(follower.close)

    async def follow(
        self,
        follower: Follower,
        log: LogFiles,
        lines: int,
        position: Position | None = None,
        *,
        ended: asyncio.Event,
    ) -> AsyncIterator[Batch | None]:
        """Everything from a position on, or else from the last lines on; None when a while has passed without news.

        Args:
            ended: set to end it.
        """
        loop = asyncio.get_running_loop()

        def begin() -> Batch:
            tail = follower.begin(lines)
            body = LogBegin(logs=tail.entries, log_file=log.name, total_lines=tail.total_lines)
            return "initial", msgspec.json.encode(body)

        def read() -> tuple[Batch | None, bool]:
            news = follower.read()
            if news is None:
                return begin(), False
            batch = ("append", msgspec.json.encode(LogAppend(logs=news.entries))) if news.entries else None
            return batch, news.has_more

        if position is None or not await loop.run_in_executor(self._readers, follower.resume, position):
            yield await loop.run_in_executor(self._readers, begin)
        while not (self._closed.is_set() or ended.is_set()):
            batch, has_more = await loop.run_in_executor(self._readers, read)
            yield batch
            try:
                async with asyncio.timeout(PAUSE_SECONDS if has_more else POLL_SECONDS):
                    await self._closed.wait()
            except TimeoutError:
                continue


async def stream_log(request: Request[State], query: LogStreamQuery) -> Response:
    """The last lines and then every new one, as server-sent events."""
    plugin_id = request.path_params["plugin_id"]
    log = request.state["logs"].find(plugin_id)
    if request.method == "HEAD":
        return Response(media_type="text/event-stream", headers=_HEADERS)
    streams = request.state["log_streams"]
    streams.check_room()
    following = request.state["logs"].following(plugin_id)
    position = Position.parse(request.headers.get("Last-Event-ID", ""))
    return LogEventStream(streams, log, following, query.lines, position)


class LogEventStream(StreamingResponse):
    """A log as server-sent events."""

    media_type = "text/event-stream"

    def __init__(
        self,
        streams: LogStreams,
        log: LogFiles,
        following: AbstractAsyncContextManager[None],
        lines: int,
        position: Position | None,
    ) -> None:
        super().__init__(self._send_events(lines, position), headers=_HEADERS)
        self._streams = streams
        self._log = log
        self._following = following
        self._follower: Follower | None = None
        self._ended = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; what it follows is closed whatever happens."""
        with self._streams.opening(self._log) as self._follower, open_session(scope, self._ended.set):
            async with self._following:
                await super().__call__(scope, receive, send)

    async def _send_events(self, lines: int, position: Position | None) -> AsyncIterator[bytes]:
        assert self._follower is not None
        sent_at = time.monotonic()
        async for batch in self._streams.follow(self._follower, self._log, lines, position, ended=self._ended):
            now = time.monotonic()
            if batch is not None:
                reached = f"id: {self._follower.position}\n" if self._follower.position else ""
                yield b"event: %b\n%bdata: %b\n\n" % (batch[0].encode(), reached.encode(), batch[1])
                sent_at = now
            elif now - sent_at >= HEARTBEAT_SECONDS:
                yield b": heartbeat\n\n"
                sent_at = now
