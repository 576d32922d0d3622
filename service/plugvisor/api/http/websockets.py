"""uvicorn's WebSocket protocol, for connections whose handshake it cannot read."""

from __future__ import annotations

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from plugvisor.api.http.protocol import render_problem
from plugvisor.errors import MalformedRequest


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Rejects what `websockets` does not take for a handshake, such as one with a body or with very long headers.

    uvicorn 0.54 keeps such a connection open until the client closes it, and fails at a shutdown if there is one.
    """

    def data_received(self, data: bytes) -> None:
        """The whole handshake, or later frames."""
        super().data_received(data)
        if not self.handshake_initiated and not self.close_sent:
            self.close_sent = True  # nothing is to be sent at a shutdown
            self.transport.write(
                render_problem(MalformedRequest("this is no WebSocket handshake that can be understood"))
            )
            self.transport.close()
