"""The endpoints of logs: handlers that translate, and what a request may ask for."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.websockets import WebSocketDisconnect

from plugvisor.api.endpoint import private, read_period
from plugvisor.api.resources.log_streams import EventStream
from plugvisor.api.resources.logs import HEADERS
from plugvisor.api.resources.metrics import show_usage
from plugvisor.api.views import Prepared
from plugvisor.errors import (
    InvalidRequest,
    PluginNotFound,
    PlugvisorError,
    TooManyAttempts,
    TooManyStreams,
    Unauthorized,
)
from plugvisor.logs.follow import Position
from plugvisor.logs.lines import LEVELS, SPELLINGS
from plugvisor.logs.tail import DEFAULT_LINES, MOST_LINES, Query

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.websockets import WebSocket

    from plugvisor.api.endpoint import State
    from plugvisor.api.resources.log_streams import LogStreams
    from plugvisor.logs.files import LogFiles
    from plugvisor.logs.follow import Follower

LONGEST_SEARCH = 200
"""In characters."""
PING_SECONDS = 30.0
CLOSE_CODES = {Unauthorized: 1008, TooManyAttempts: 1008, TooManyStreams: 1013, PluginNotFound: 4404}
"""How a WebSocket is closed that cannot be served (RFC 6455, 7.4)."""
_LONGEST_REASON_BYTES = 120


@private
async def show_log(request: Request[State]) -> Response:
    """The newest lines."""
    plugin_id = request.path_params["plugin_id"]
    if plugin_id == "metrics" and "metrics" not in request.state["manager"].catalog:
        # /plugin/metrics/logs, which is also what a plugin named `logs` uses
        request.path_params["plugin_id"] = "logs"
        return await show_usage(request)
    query = read_query(request.query_params)
    return _answer(await request.state["logs"].show(plugin_id, query))


@private
async def list_log_files(request: Request[State]) -> Response:
    """The files that there are."""
    return _answer(await request.state["logs"].list_files(request.path_params["plugin_id"]))


@private
async def stream_log(request: Request[State]) -> Response:
    """The last lines and then every new one, as server-sent events."""
    log = request.state["logs"].find(request.path_params["plugin_id"])
    lines = read_lines(request.query_params)
    if request.method == "HEAD":
        return Response(media_type="text/event-stream", headers=HEADERS)
    streams = request.state["log_streams"]
    streams.check_room()
    return EventStream(streams, log, lines, Position.parse(request.headers.get("Last-Event-ID", "")))


async def follow_log_by_websocket(websocket: WebSocket[State]) -> None:
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
        with suppress(WebSocketDisconnect, RuntimeError):  # it may be closed already
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


async def _send_messages(websocket: WebSocket[State], streams: LogStreams, follower: Follower, log: LogFiles) -> None:
    sent_at = time.monotonic()
    try:
        async for batch in streams.follow(follower, log, DEFAULT_LINES):
            if batch is not None:
                await _send(websocket, f'{{"type":"{batch[0]}",{batch[1].decode()}')
            if time.monotonic() - sent_at >= PING_SECONDS:
                sent_at = time.monotonic()
                await _send(websocket, '{"type":"ping"}')
    except WebSocketDisconnect:
        return


async def _send(websocket: WebSocket[State], text: str) -> None:
    try:
        await websocket.send_text(text)
    except RuntimeError as error:  # uvicorn has closed the connection by itself: no pong came, or a long message
        raise WebSocketDisconnect(1006) from error


async def _ignore_messages(websocket: WebSocket[State]) -> None:
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass


def read_query(parameters: Mapping[str, str]) -> Query:
    """Which lines a request asks for; an empty parameter counts as none.

    Raises:
        InvalidRequest
    """
    search = parameters.get("search", "")
    if len(search) > LONGEST_SEARCH:
        raise InvalidRequest(f"`search` may have at most {LONGEST_SEARCH} characters")
    start, end = read_period(parameters)
    return Query(read_lines(parameters), _read_level(parameters.get("level", "")), search, start, end)


def read_lines(parameters: Mapping[str, str]) -> int:
    """How many lines a request asks for; raises `InvalidRequest`."""
    text = parameters.get("lines") or str(DEFAULT_LINES)
    if not re.fullmatch("[0-9]{1,9}", text) or not 1 <= int(text) <= MOST_LINES:
        raise InvalidRequest(f"`lines` must be a whole number from 1 to {MOST_LINES}")
    return int(text)


def _read_level(text: str) -> str | None:
    if not text:
        return None
    try:
        return SPELLINGS[text.upper()]
    except KeyError:
        raise InvalidRequest(f"`level` must be one of {', '.join(LEVELS)}") from None


def _answer(body: bytes) -> Response:
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **HEADERS}
    return Prepared(body, [(name.lower().encode(), value.encode()) for name, value in headers.items()])
