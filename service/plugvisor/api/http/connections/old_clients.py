"""Responses to HTTP/1.0: a client of it cannot read chunks, so a body without a length ends with the connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send
    from uvicorn._types import ASGI3Application
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


def without_chunks(app: ASGI3Application, cycle: RequestResponseCycle) -> ASGI3Application:
    """Wrap an application whose response uvicorn would send in chunks; it closes the connection after HTTP/1.0."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        is_endless = False

        async def send_plainly(message: Message) -> None:
            nonlocal is_endless
            if message["type"] == "http.response.start":
                is_endless = all(name.lower() != b"content-length" for name, _ in message.get("headers", ()))
                if is_endless:
                    cycle.chunked_encoding = False
            elif is_endless:
                # without chunks uvicorn counts down to the end of the body: one byte is always missing until then
                cycle.expected_content_length = len(message.get("body", b"")) + message.get("more_body", False)
            await send(message)

        await app(scope, receive, send_plainly)  # type: ignore[arg-type]

    return serve  # type: ignore[return-value]
