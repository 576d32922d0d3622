"""`WS /ws/admin`: what the front end's menu of runs opens. Plugins have no runs here, so every list is empty."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from starlette.websockets import WebSocketDisconnect

from plugvisor.api.auth.gate import read_token
from plugvisor.api.http.handshakes import check_origin, reject
from plugvisor.errors import PlugvisorError, TooManyStreams

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.websockets import WebSocket

    from plugvisor.api.state import State
    from plugvisor.models.stored.identity import Identity

AUTH_SECONDS = 5.0
"""How long a client may take to send its code."""
PING_SECONDS = 30.0
MOST_SOCKETS = 64
MOST_WAITING = 32
"""How many may be open that have not sent their code yet: these can be anybody's."""
EMPTY_LISTS = ("runs.list", "export.list")
_POLICY_VIOLATION, _TRY_AGAIN_LATER = 1008, 1013
_LONGEST_REASON_BYTES = 120
_NO_CODE = 'the first message must be {"type": "auth", "code": "…"}'


class Message(Struct, frozen=True):
    """A message of a client."""

    type: str
    id: str | int | None = None
    method: str = ""
    code: str = ""


class AdminSockets:
    """Every such WebSocket that is open."""

    def __init__(self) -> None:
        self._waiting = 0
        self._open = 0

    async def serve(self, websocket: WebSocket[State]) -> None:
        """Serve one, from its handshake to its end."""
        websocket.scope["query_string"] = b""  # uvicorn logs the whole URL
        identity: Identity | None = None
        try:
            check_origin(websocket)
            if token := read_token(websocket):  # a proxy has added it: the page itself sends a message
                identity = await websocket.state["gate"].check_token(token, websocket, websocket.receive)
            elif self._waiting >= MOST_WAITING:
                raise TooManyStreams(f"{MOST_WAITING} such WebSockets wait for a code already; try again later")
        except PlugvisorError as error:
            await reject(websocket, error)
            return
        with suppress(WebSocketDisconnect, RuntimeError):  # the client has gone, or uvicorn has closed it
            await websocket.accept()
            identity = identity or await self._authenticate(websocket)
            if identity is None:
                return
            if self._open >= MOST_SOCKETS:
                await websocket.close(_TRY_AGAIN_LATER, f"{MOST_SOCKETS} such WebSockets are open already")
                return
            await self._converse(websocket, identity)

    async def _authenticate(self, websocket: WebSocket[State]) -> Identity | None:
        """Whose code the first message has; None if it has none, and the WebSocket is closed."""
        self._waiting += 1
        reason = _NO_CODE
        try:
            async with asyncio.timeout(AUTH_SECONDS):
                message = _decode(await websocket.receive())
            if message is not None and message.type == "auth" and message.code:
                token = message.code.encode("utf-8", "replace")
                return await websocket.state["gate"].check_token(token, websocket, websocket.receive)
        except TimeoutError:
            reason = f"no code came within {AUTH_SECONDS:g} seconds"
        except PlugvisorError as error:
            reason = str(error).encode()[:_LONGEST_REASON_BYTES].decode(errors="ignore")
        finally:
            self._waiting -= 1
        await websocket.close(_POLICY_VIOLATION, reason)
        return None

    async def _converse(self, websocket: WebSocket[State], identity: Identity) -> None:
        ended = asyncio.Event()
        with self._counting(), websocket.state["sessions"].opening(identity, ended.set):
            tasks = [
                asyncio.create_task(_answer_requests(websocket)),
                asyncio.create_task(_send_pings(websocket)),
                asyncio.create_task(ended.wait()),
            ]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                results = await asyncio.gather(*tasks, return_exceptions=True)
        if ended.is_set():
            await websocket.close(_POLICY_VIOLATION, "the token or admin code is no longer valid")
        for result in results:
            if isinstance(result, Exception):
                raise result

    @contextmanager
    def _counting(self) -> Iterator[None]:
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1


async def _answer_requests(websocket: WebSocket[State]) -> None:
    while (received := await websocket.receive())["type"] != "websocket.disconnect":
        message = _decode(received)
        if message is None:
            await _send(websocket, {"type": "resp", "id": None, "ok": False, "error": "this is no message"})
        elif message.type == "ping":
            await _send(websocket, {"type": "pong"})
        elif message.type == "req":
            await _send(websocket, {"type": "resp", "id": message.id, **_answer(message.method)})


def _answer(method: str) -> dict[str, Any]:
    if method in EMPTY_LISTS:
        return {"ok": True, "result": []}
    return {"ok": False, "error": "there are no runs here" if method.startswith("run.") else "unknown method"}


async def _send_pings(websocket: WebSocket[State]) -> None:
    while True:
        await asyncio.sleep(PING_SECONDS)
        await _send(websocket, {"type": "ping"})


async def _send(websocket: WebSocket[State], message: dict[str, Any]) -> None:
    await websocket.send_text(msgspec.json.encode(message).decode())


def _decode(received: Any) -> Message | None:
    """A message; None if it is none that is known, or the end of all."""
    content = received.get("text") or received.get("bytes") or b""
    try:
        return msgspec.json.decode(content, type=Message)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
