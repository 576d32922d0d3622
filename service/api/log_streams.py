"""`GET /plugin/{plugin_id}/logs/stream` and `WS /ws/logs/{plugin_id}`: a log as it grows.

    event: initial       {"logs": […], "log_file", "total_lines"}: the last lines
    event: append        {"logs": […]}: the lines after those

A WebSocket carries the same as messages, with "type" in place of the event, and {"type": "ping"}. Nothing is
kept for a client: what it has not taken yet stands in the file, and is read when it takes more.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from starlette.responses import Response, StreamingResponse
from starlette.websockets import WebSocketDisconnect

from service.api.logs import HEADERS, entries_to_json, read_lines
from service.api.views import to_json
from service.errors import PluginNotFound, PlugvisorError, TooManyAttempts, TooManyStreams, Unauthorized
from service.logs.follow import Follower, Position
from service.logs.tail import DEFAULT_LINES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send
    from starlette.websockets import WebSocket

    from service.logs.files import LogFiles

MOST_STREAMS = 64
"""So many logs can be followed at once, over both protocols together."""
HEARTBEAT_SECONDS = 15.0
PING_SECONDS = 30.0
POLL_SECONDS = 0.2
"""How often a log is looked at while somebody follows it: five times a second the sizes of two files."""
PAUSE_SECONDS = 0.05
"""After as much as is read at once, so that nobody's flood of lines takes a whole processor."""
CLOSE_CODES = {Unauthorized: 1008, TooManyAttempts: 1008, TooManyStreams: 1013, PluginNotFound: 4404}
"""How a WebSocket is closed that cannot be served (RFC 6455, 7.4)."""
_LONGEST_REASON_BYTES = 120
_THREADS = 2

Batch = tuple[str, bytes]
"""`initial` or `append`, and the fields that go with it as JSON, without the opening brace."""


async def stream_log(request: Request[Any]) -> Response:
    """The last lines and then every new one, as server-sent events."""
    request.state["gate"].check(request)
    log = request.state["logs"].find(request.path_params["plugin_id"])
    lines = read_lines(request.query_params)
    if request.method == "HEAD":
        return Response(media_type="text/event-stream", headers=HEADERS)
    streams: LogStreams = request.state["log_streams"]
    streams.check_room()
    return _EventStream(streams, log, lines, Position.parse(request.headers.get("Last-Event-ID", "")))


async def follow_log_by_websocket(websocket: WebSocket[Any]) -> None:
    """The same for a client that cannot send a header."""
    code = websocket.query_params.get("code", "")
    websocket.scope["query_string"] = b""  # uvicorn logs the whole URL
    state = websocket.state
    await websocket.accept()  # a browser is told why it is closed only after that
    try:
        if not code:
            raise Unauthorized("the admin code is needed: send it as the parameter `code`")
        state["gate"].check_code(code.encode("utf-8", "replace"), websocket)
        log = state["logs"].find(websocket.path_params["plugin_id"])
        state["log_streams"].check_room()
    except PlugvisorError as error:
        reason = str(error).encode()[:_LONGEST_REASON_BYTES].decode(errors="ignore")
        await websocket.close(CLOSE_CODES[type(error)], reason)
        return
    with state["log_streams"].opening(log) as follower:
        tasks = [
            asyncio.create_task(_send_messages(websocket, state["log_streams"], follower, log)),
            asyncio.create_task(_ignore_messages(websocket)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


async def _send_messages(websocket: WebSocket[Any], streams: LogStreams, follower: Follower, log: LogFiles) -> None:
    sent_at = time.monotonic()
    try:
        async for batch in streams.follow(follower, log, DEFAULT_LINES):
            if batch is not None:
                await websocket.send_text(f'{{"type":"{batch[0]}",{batch[1].decode()}')
            if time.monotonic() - sent_at >= PING_SECONDS:
                sent_at = time.monotonic()
                await websocket.send_text('{"type":"ping"}')
    except (WebSocketDisconnect, RuntimeError):
        return  # uvicorn raises the latter after it has closed the connection by itself: no pong, or a long message


async def _ignore_messages(websocket: WebSocket[Any]) -> None:
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass


class LogStreams:
    """Every log that is being followed."""

    def __init__(self) -> None:
        self._count = 0
        self._closed = asyncio.Event()
        self._readers = ThreadPoolExecutor(_THREADS, "log-streams")

    def close(self) -> None:
        """End every stream, and every later one: an open one would keep the service from shutting down."""
        self._closed.set()

    def check_room(self) -> None:
        """Raises `TooManyStreams`."""
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
        self, follower: Follower, log: LogFiles, lines: int, position: Position | None = None
    ) -> AsyncIterator[Batch | None]:
        """Everything from a position on, or else from the last lines on; None where a while has passed without news."""
        loop = asyncio.get_running_loop()

        def begin() -> Batch:
            tail = follower.begin(lines)
            more = to_json({"log_file": log.name, "total_lines": tail.total_lines})
            return "initial", b'"logs":%b,%b' % (entries_to_json(tail.entries), more[1:])

        def read() -> tuple[Batch | None, bool]:
            news = follower.read()
            if news is None:
                return begin(), False
            batch = ("append", b'"logs":%b}' % entries_to_json(news.entries)) if news.entries else None
            return batch, news.has_more

        if position is None or not await loop.run_in_executor(self._readers, follower.resume, position):
            yield await loop.run_in_executor(self._readers, begin)
        while not self._closed.is_set():
            batch, has_more = await loop.run_in_executor(self._readers, read)
            yield batch
            try:
                async with asyncio.timeout(PAUSE_SECONDS if has_more else POLL_SECONDS):
                    await self._closed.wait()
            except TimeoutError:
                continue


class _EventStream(StreamingResponse):
    """The answer that never ends by itself."""

    media_type = "text/event-stream"

    def __init__(self, streams: LogStreams, log: LogFiles, lines: int, position: Position | None) -> None:
        # nginx holds answers back unless it is told not to
        super().__init__(self._send_events(lines, position), headers={**HEADERS, "X-Accel-Buffering": "no"})
        self._streams = streams
        self._log = log
        self._follower: Follower | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; what it follows is closed whatever happens."""
        with self._streams.opening(self._log) as self._follower:
            await super().__call__(scope, receive, send)

    async def _send_events(self, lines: int, position: Position | None) -> AsyncIterator[bytes]:
        assert self._follower is not None
        sent_at = time.monotonic()
        async for batch in self._streams.follow(self._follower, self._log, lines, position):
            now = time.monotonic()
            if batch is not None:
                reached = f"id: {self._follower.position}\n" if self._follower.position else ""
                yield b"event: %b\n%bdata: {%b\n\n" % (batch[0].encode(), reached.encode(), batch[1])
                sent_at = now
            elif now - sent_at >= HEARTBEAT_SECONDS:
                yield b": heartbeat\n\n"
                sent_at = now
