"""`WS /ws/logs/{plugin_id}`: a log as it grows, for a client that cannot send a header."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from starlette.websockets import WebSocketDisconnect

from plugvisor.api.auth.gate import read_token
from plugvisor.api.http.handshakes import check_origin, reject
from plugvisor.errors import PlugvisorError, Unauthorized
from plugvisor.logs.tail import DEFAULT_LINES

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

    from plugvisor.api.resources.logs.streams import LogStreams
    from plugvisor.api.state import State
    from plugvisor.logs.files import LogFiles
    from plugvisor.logs.follow import Follower

PING_SECONDS = 30.0
_NO_LONGER_VALID = 1008
_SERVICE_RESTART = 1012
"""How a WebSocket is closed (RFC 6455, 7.4)."""


async def follow_log_by_websocket(websocket: WebSocket[State]) -> None:
    """Send the last lines and then every new one."""
    token = websocket.query_params.get("code", "").encode("utf-8", "replace") or read_token(websocket)
    websocket.scope["query_string"] = b""  # uvicorn logs the whole URL
    state = websocket.state
    try:
        check_origin(websocket)
        if not token:
            raise Unauthorized("a token or the admin code is needed: send it as the parameter `code`")
        identity = await state["gate"].check_token(token, websocket, websocket.receive)
        plugin_id = websocket.path_params["plugin_id"]
        log = state["logs"].find(plugin_id)
        state["log_streams"].check_room()
    except PlugvisorError as error:
        await reject(websocket, error)
        return
    await websocket.accept()
    ended = asyncio.Event()
    with state["log_streams"].opening(log) as follower, state["sessions"].opening(identity, ended.set):
        async with state["logs"].following(plugin_id):
            results = await _serve(websocket, state["log_streams"], follower, log, ended)
    for result in results:
        if isinstance(result, Exception):
            raise result


async def _serve(
    websocket: WebSocket[State], streams: LogStreams, follower: Follower, log: LogFiles, ended: asyncio.Event
) -> list[BaseException | None]:
    tasks = [
        asyncio.create_task(_send_messages(websocket, streams, follower, log, ended)),
        asyncio.create_task(_ignore_messages(websocket)),
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    return results


async def _send_messages(
    websocket: WebSocket[State], streams: LogStreams, follower: Follower, log: LogFiles, ended: asyncio.Event
) -> None:
    sent_at = time.monotonic()
    try:
        async for batch in streams.follow(follower, log, DEFAULT_LINES, ended=ended):
            if batch is not None:
                await _send(websocket, f'{{"type":"{batch[0]}",{batch[1][1:].decode()}')
            if time.monotonic() - sent_at >= PING_SECONDS:
                sent_at = time.monotonic()
                await _send(websocket, '{"type":"ping"}')
        with suppress(RuntimeError):  # uvicorn has closed it
            if ended.is_set():
                await websocket.close(_NO_LONGER_VALID, "the token or admin code is no longer valid")
            else:
                await websocket.close(_SERVICE_RESTART)
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
