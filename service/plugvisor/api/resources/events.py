"""`GET /events`: the event hub's events, as server-sent events.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

from starlette.responses import Response

from plugvisor.api.auth.gate import find_address
from plugvisor.api.auth.permissions import find_identity
from plugvisor.api.auth.sessions import open_session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractContextManager

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from plugvisor.api.parameters import PluginQuery
    from plugvisor.api.state import State

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # otherwise nginx buffers the response
]


class EventStream(Response):
    """The events of one client.

    Args:
        follow: yields them until `leave` is called: the client has hung up, or its token is no longer valid.
        close: called at the end.
        public_session: watches the token of a client that needs none for this stream.
    """

    def __init__(
        self,
        follow: Callable[[], AsyncIterator[bytes | memoryview]],
        leave: Callable[[], object],
        close: Callable[[], object],
        public_session: AbstractContextManager[None] | None = None,
    ) -> None:
        self.status_code = 200
        self.background = None
        self._follow = follow
        self._leave = leave
        self._close = close
        self._public_session = public_session or nullcontext()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them until the client hangs up."""
        leaving = asyncio.create_task(self._wait_for_end(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            with open_session(scope, self._leave), self._public_session:
                async for piece in self._follow():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
        finally:
            leaving.cancel()
            self._close()

    async def _wait_for_end(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._leave()


async def open_events(request: Request[State], query: PluginQuery) -> Response:
    """Stream every change as server-sent events."""
    if request.method == "HEAD":
        return Response(media_type="text/event-stream")
    hub = request.state["events"]
    # the clients behind a proxy share its address: those that have a token do not count
    identity = find_identity(request)
    address = None if identity is not None else find_address(request)
    client = hub.open(query.plugin_id, request.headers.get("Last-Event-ID"), address)
    session = None
    if identity is not None:
        client.reads_logs = identity.has("viewer")
        if "identity" not in request.scope:  # the stream goes on without the token, and says no more than one without
            session = request.state["sessions"].opening(identity, client.read_no_logs)
    return EventStream(partial(hub.follow, client), client.leave, client.place.give_back, session)
