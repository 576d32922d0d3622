"""`GET /nodes`: the machines that plugins run on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugvisor.api.responses import NO_STORE, JsonResponse

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from plugvisor.api.state import State


async def list_nodes(request: Request[State]) -> Response:
    """Every machine that plugins run on, and which run there."""
    return JsonResponse(request.state["views"].show_nodes(), headers=NO_STORE)
