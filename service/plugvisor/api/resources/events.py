"""`GET /events`: the event hub's events, as server-sent events.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import TYPE_CHECKING

from starlette.responses import Response

from plugvisor.api.auth.gate import find_address
from plugvisor.api.auth.permissions import find_identity
from plugvisor.api.auth.sessions import open_session

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from plugvisor.api.event_client import Client
    from plugvisor.api.event_hub import EventHub
    from plugvisor.api.parameters import PluginQuery
    from plugvisor.api.state import State

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # otherwise nginx buffers the response
]


class EventStream(Response):
    """The events of one client."""

    def __init__(
        self, hub: EventHub, client: Client, public_session: AbstractContextManager[None] | None = None
    ) -> None:
        self.status_code = 200
        self.background = None
        self._hub = hub
        self._client = client
        self._public_session = public_session or nullcontext()
        """Watches the token of a client that needs none for this stream."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them until the client hangs up."""
        try:
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            with open_session(scope, self._client.leave), self._public_session:
                await self._send_events(receive, send)
        finally:
            self._client.place.give_back()

    async def _send_events(self, receive: Receive, send: Send) -> None:
        hanging_up = asyncio.create_task(self._wait_for_end(receive))
        try:
            async for piece in self._hub.follow(self._client):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            hanging_up.cancel()

    async def _wait_for_end(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._client.leave()


async def open_events(request: Request[State], query: PluginQuery) -> Response:
    """Stream every change as server-sent events."""
    if request.method == "HEAD":
        return Response(media_type="text/event-stream")
    hub = request.state["events"]
    # the clients behind a proxy share its address: those that have a token do not count
    identity = find_identity(request)
    address = None if identity is not None else find_address(request)
    client = hub.open(query.plugin_id, request.headers.get("Last-Event-ID"), address)
    if identity is None:
        return EventStream(hub, client)
    client.reads_logs = identity.has("viewer")
    if "identity" in request.scope:
        return EventStream(hub, client)
    # the stream goes on without the token, and says no more than one without
    return EventStream(hub, client, request.state["sessions"].opening(identity, client.read_no_logs))
