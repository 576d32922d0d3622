"""The application around the application: it serves what the dialect has otherwise, and hands on all else."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.routing import Match, WebSocketRoute

from plugvisor.api.dialects.neko.admin_socket import AdminSockets
from plugvisor.api.dialects.neko.routes import ROUTES
from plugvisor.api.endpoint import Endpoint, EndpointRoute
from plugvisor.api.http.body_limit import BodyLimit
from plugvisor.api.problems import make_response, respond_to_error
from plugvisor.api.routes import ROUTES as API_ROUTES

if TYPE_CHECKING:
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Receive, Scope, Send

HEADER = b"x-plugvisor-dialect"
"""A client that sends it with the value `none` is served as if there were no dialect: the page and the command."""
_API_PATHS = {route.path for route in API_ROUTES}


class Neko:
    """The API in the words of that front end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._routes: list[BaseRoute] = [
            *(EndpointRoute(route, Endpoint(route)) for route in ROUTES),
            WebSocketRoute("/ws/admin", AdminSockets().serve),
        ]
        # as the application around its own: no body without a limit, and a problem instead of a traceback
        self._guarded = ServerErrorMiddleware(BodyLimit(_serve), handler=respond_to_error)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, one WebSocket, or the lifespan."""
        if scope["type"] in ("http", "websocket") and (HEADER, b"none") not in scope["headers"]:
            methods: list[str] = []
            for route in self._routes:
                match, child_scope = route.matches(scope)
                if match is Match.FULL:
                    await self._guarded({**scope, **child_scope, "dialect_route": route}, receive, send)
                    return
                if match is Match.PARTIAL and isinstance(route, EndpointRoute) and route.path not in _API_PATHS:
                    methods += sorted(route.methods or ())
            if methods:
                error = HTTPException(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": ", ".join(methods)})
                await make_response(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)


async def _serve(scope: Scope, receive: Receive, send: Send) -> None:
    await scope["dialect_route"].handle(scope, receive, send)
