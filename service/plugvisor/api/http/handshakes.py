"""WebSockets that are not opened: the handshake is answered by a problem, as any other request is."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from plugvisor.api.http.hosts import is_own_origin
from plugvisor.api.problems import make_response
from plugvisor.errors import Forbidden

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

    from plugvisor.errors import PlugvisorError


def check_origin(websocket: WebSocket[Any]) -> None:
    """Raise `Forbidden` if a page of an unknown origin opens a WebSocket."""
    headers, origins = websocket.headers, websocket.state["settings"].cors_origins
    if not is_own_origin(headers.get("Origin"), headers.get("Host", ""), origins):
        raise Forbidden("a page of this origin may not open a WebSocket; PLUGVISOR_CORS_ORIGINS can name it", "")


async def reject(websocket: WebSocket[Any], error: PlugvisorError) -> None:
    """Answer a handshake with a problem. The WebSocket has not been accepted.

    A browser that saw it open, and then closed, would take that for a connection that was lost, and try for ever.
    """
    response = make_response(error, websocket.path_params.get("plugin_id"))
    with suppress(RuntimeError):  # the service is shutting down, and uvicorn has answered
        await websocket.send(
            {
                "type": "websocket.http.response.start",
                "status": int(response.status_code),
                "headers": response.raw_headers,
            }
        )
        await websocket.send({"type": "websocket.http.response.body", "body": bytes(response.body)})
