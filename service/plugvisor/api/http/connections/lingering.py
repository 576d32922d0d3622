"""Responses sent before the end of a body, on connections that are closed afterwards.

A connection that is closed while input is unread is reset, and a reset can destroy the answer before the client has
read it: https://www.rfc-editor.org/rfc/rfc9112#section-9.6. So only the sending side is closed, until the body has
ended or its time is over. A connection that is to be kept stays open anyway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Message, Receive, Scope, Send
    from uvicorn._types import ASGI3Application
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


def linger(app: ASGI3Application, cycle: RequestResponseCycle, half_close: Callable[[], object]) -> ASGI3Application:
    """Wrap an application so that uvicorn does not close the connection before the body has ended."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        is_lingering = False

        async def send_and_stay(message: Message) -> None:
            nonlocal is_lingering
            await send(message)
            if message["type"] == "http.response.start":
                if cycle.more_body and not cycle.keep_alive:
                    is_lingering = cycle.keep_alive = True  # after this the header has been sent
            elif is_lingering and not message.get("more_body", False):
                half_close()

        await app(scope, receive, send_and_stay)  # type: ignore[arg-type]

    return serve  # type: ignore[return-value]
