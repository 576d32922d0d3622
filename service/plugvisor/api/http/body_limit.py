"""The limit of a request's body: in bytes, and in the time in which it arrives."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from plugvisor.api.http.limits import BODY_IDLE_SECONDS, MOST_BODY_BYTES, REQUEST_SECONDS
from plugvisor.api.problems import make_response
from plugvisor.errors import BodyTooLarge, MalformedRequest, RequestTimeout, SupervisorUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Container

    from starlette.types import ASGIApp, Message, Receive, Scope, Send


_CLOSE = (b"connection", b"close")
"""The protocol does not read the rest of a body that is too large, so the connection takes no other request."""


class BodyLimit:
    """Middleware. A body that says that it is too large is rejected before a byte of it is read.

    One without a length is rejected when the handler's reading exceeds the limit; either way the answer is 413, and
    the connection's last.

    Args:
        streamed: method and path of those whose handlers take the body as it comes, and limit its size.
    """

    def __init__(self, app: ASGIApp, streamed: Container[tuple[str, str]] = ()) -> None:
        self._app = app
        self._streamed = streamed

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one request."""
        if scope["type"] != "http" or not has_body(scope):
            return self._app(scope, receive, send)
        if (scope["method"], scope["path"]) in self._streamed:
            streamed = StreamedBody(receive, send)
            return self._app(scope, streamed.receive, streamed.send)
        # the parser has checked it, and rejects two different ones
        declared = next((int(value) for name, value in scope["headers"] if name == b"content-length"), 0)
        if declared > MOST_BODY_BYTES:
            response = make_response(_too_large())
            response.raw_headers.append(_CLOSE)
            return response(scope, receive, send)
        limited = LimitedBody(receive, send)
        return self._app(scope, limited.receive, limited.send)


def has_body(scope: Scope) -> bool:
    """Whether a body comes with a request."""
    for name, value in scope["headers"]:  # any() would take twice as long, and every read comes by here
        if name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0 \t")):
            return True
    return False


class LimitedBody:
    """`receive` and `send` of one request that has a body."""

    most_bytes: float = MOST_BODY_BYTES

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._deadline = asyncio.get_running_loop().time() + REQUEST_SECONDS
        self._bytes = 0
        self._is_complete = False
        self._is_answered = False

    async def send(self, message: Message) -> None:
        """Hand an answer on."""
        self._is_answered = True
        if self._bytes > self.most_bytes and message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], _CLOSE]}
        await self._send(message)

    async def receive(self) -> Message:
        """The next part of the body.

        Raises:
            BodyTooLarge, RequestTimeout, MalformedRequest, SupervisorUnavailable: nothing has been answered yet.
        """
        if self._is_complete or self._is_answered:
            return await self._receive()  # it waits for the client's end, however long that takes
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError as error:
            raise self._time_out() from error
        except asyncio.CancelledError as error:
            if not error.args:  # by a timeout around this: uvicorn, when the service ends, gives a reason
                raise
            raise SupervisorUnavailable("the service ended before the request was complete; send it again") from error
        self._bytes += len(message.get("body", b""))
        if self._bytes > self.most_bytes:
            raise _too_large()
        if message["type"] == "http.disconnect":
            raise MalformedRequest("the client hung up before its request was complete")
        self._is_complete = not message.get("more_body", False)
        return message

    def _time_out(self) -> RequestTimeout:
        return RequestTimeout(f"the body did not arrive within {REQUEST_SECONDS:g} seconds")


class StreamedBody(LimitedBody):
    """The same of one whose handler takes the body as it comes: it may take its time, if only some of it arrives."""

    most_bytes = math.inf

    async def receive(self) -> Message:
        """The next part of the body; raises as that of any other."""
        self._deadline = asyncio.get_running_loop().time() + BODY_IDLE_SECONDS
        return await super().receive()

    def _time_out(self) -> RequestTimeout:
        return RequestTimeout(f"nothing more of the body arrived within {BODY_IDLE_SECONDS:g} seconds")


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(f"a request's body may have {MOST_BODY_BYTES // 1024} KiB")
