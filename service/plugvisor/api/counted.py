"""Handlers as applications that count their requests, and what is told to requests that no handler has seen."""

from __future__ import annotations

from http import HTTPStatus
from time import perf_counter
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.requests import Request

from plugvisor.api.problems import describe, respond_to_error
from plugvisor.api.traffic import NO_ROUTE, Traffic
from plugvisor.errors import PlugvisorError

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

    from plugvisor.api.endpoint import Handler


class Counted:
    """A handler as an ASGI application that counts its requests.

    Starlette's own wrapper of a handler would handle exceptions a second time, inside its middleware that does so:
    this one leaves them to that, which saves more than counting costs.
    """

    def __init__(self, handler: Handler, route: str) -> None:
        self.route = route
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        began = perf_counter()
        traffic: Traffic = scope["state"]["traffic"]
        try:
            response = await self._handler(Request(scope, receive, send))
        except HTTPException:
            raise  # respond_to_refused counts it
        except Exception as error:
            status = describe(error)[0] if isinstance(error, PlugvisorError) else HTTPStatus.INTERNAL_SERVER_ERROR
            traffic.count_request(self.route, scope["method"], int(status), perf_counter() - began)
            raise
        traffic.count_request(self.route, scope["method"], response.status_code, perf_counter() - began)
        await response(scope, receive, send)


async def respond_to_refused(request: Request[Any], error: Exception) -> Response:
    """Answer with the problem that a request is which no handler has seen, and count it."""
    response = await respond_to_error(request, error)
    route = getattr(request.scope.get("endpoint"), "route", NO_ROUTE)
    request.scope["state"]["traffic"].count_refused(route, request.method, response.status_code)
    return response
