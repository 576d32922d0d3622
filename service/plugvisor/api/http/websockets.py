"""uvicorn's WebSocket protocol, for handshakes that end with a response."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from plugvisor.api.http.connections.protocol import render_problem
from plugvisor.errors import MalformedRequest

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Rejects what `websockets` does not take for a handshake, such as one with a body or with very long headers.

    uvicorn 0.54 keeps such a connection open until the client closes it, and fails at a shutdown if there is one.
    """

    async def send(self, message: ASGISendEvent) -> None:
        """Send a message of the application."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and self.close_sent:
            # else uvicorn 0.54 logs an error for each handshake that is rejected, as one without an answer
            self.handshake_complete = True

    def data_received(self, data: bytes) -> None:
        """The whole handshake, or later frames."""
        super().data_received(data)
        if not self.handshake_initiated and not self.close_sent:
            self.close_sent = True  # nothing is to be sent at a shutdown
            self.transport.write(
                render_problem(MalformedRequest("this is no WebSocket handshake that can be understood"))
            )
            self.transport.close()
