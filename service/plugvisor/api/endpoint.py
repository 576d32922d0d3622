"""A route as it is declared, and the ASGI application that serves it."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.routing import Match
from starlette.routing import Route as StarletteRoute

from plugvisor.api.auth.permissions import require_plugin, require_role
from plugvisor.api.http.body_limit import has_body
from plugvisor.api.operation_notes import find_request_id, hide_tokens, make_request_id_header, note_operation
from plugvisor.api.parameters import decode_body, decode_query
from plugvisor.api.problems import PROBLEMS, make_response
from plugvisor.errors import PlugvisorError, TooManyAttempts, Unauthorized

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from http import HTTPStatus

    from msgspec import Struct
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

    from plugvisor.metrics.traffic import Traffic
    from plugvisor.models.body import Body
    from plugvisor.models.stored.identity import Role

logger = logging.getLogger(__name__)

Handler = Callable[..., Awaitable["Response"]]
"""Takes the request, then the query and the body if the route has them. It may raise any `PlugvisorError`."""

BODY_EXAMPLE = '{"plugin_ids": ["one", "other"]}'
_MOST_LOGGED = 200
"""Characters of a path."""
_METRICS_ID = "metrics"


@dataclass(frozen=True)
class Answer:
    """One response that is no problem."""

    description: str
    body: type[Body] | tuple[type[Body], ...] | None = None
    """The struct of its JSON, or several of which it is one; None if it is not JSON."""
    media_type: str = "application/json"
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Route:
    """One method of one path: what serves it, who may ask, and what the OpenAPI document says about it."""

    method: str
    path: str
    handler: Handler
    """The first line of its docstring is the summary."""
    answers: Mapping[HTTPStatus, Answer]
    role: Role | None
    """The role that a client needs; None: everyone may ask."""
    role_setting: str = ""
    """The setting that says whether the role is needed at all; empty: it always is."""
    query: type[Struct] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """Request headers that it reads, with their descriptions."""
    body: type[Struct] | None = None
    """A JSON body; an empty one is `{}`."""
    example: str = BODY_EXAMPLE
    """A body, for the error that another one leads to."""
    texts: Sequence[str] = ()
    """The media types of a body that the handler takes as bytes, beside the JSON of `body`."""
    streamed: Sequence[str] = ()
    """The media types of a body that the handler takes as it comes, and limits the size of."""
    errors: Sequence[type[PlugvisorError]] = ()
    unusual: Mapping[type[PlugvisorError], type[Body]] = field(default_factory=dict)
    """Errors that are answered with another body than `Problem`."""
    changes_nothing: bool = False
    """Whether it is no operation, although its method is not GET: it is neither logged nor in the journal."""


class Endpoint:
    """Serves a route: checks the role, decodes, calls the handler, counts; logs one line for each change."""

    def __init__(self, route: Route) -> None:
        self.path = route.path
        self._route = route
        self._handler = route.handler
        self._query = route.query
        self._role = route.role
        self._setting = route.role_setting
        self._changes_plugin = route.method != "GET" and "{plugin_id}" in route.path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one request."""
        began = time.perf_counter()
        traffic: Traffic = scope["state"]["traffic"]
        request: Request[Any] = Request(scope, receive, send)
        code = ""
        is_logged = is_change = self._route.method != "GET" and not self._route.changes_nothing
        if is_change:
            scope["request_id"] = find_request_id(request.headers.get("X-Request-Id", ""))
        try:
            if self._role is not None and (not self._setting or getattr(scope["state"]["settings"], self._setting)):
                await self._check_role(request, self._role)
            arguments: list[Any] = []
            if self._query is not None:
                arguments.append(decode_query(self._query, scope["query_string"]))
            if self._route.method != "GET" and not self._route.streamed:
                # nothing is done for a request that does not arrive whole
                body = await self._receive_body(request) if has_body(scope) else b""
                if self._route.texts:
                    arguments.append(body)
                elif self._route.body is not None:
                    arguments.append(decode_body(self._route.body, body, self._route.example))
            response = await self._handler(request, *arguments)
        except PlugvisorError as error:
            response = make_response(error, scope.get("path_params", {}).get("plugin_id"))
            code = f" {PROBLEMS[type(error)][1]}"
            # the gate logs wrong codes, and not each of them
            is_denied = isinstance(error, (Unauthorized, TooManyAttempts))
            is_logged = is_logged and not (is_denied and "Authorization" in request.headers)
        except Exception:
            traffic.count_request(self.path, scope["method"], 500, time.perf_counter() - began)
            if is_logged:
                self._log(request, "500 internal_error", began)
                note_operation(request, self._route.method, self.path, "internal_error", began)
            raise
        traffic.count_request(self.path, scope["method"], response.status_code, time.perf_counter() - began)
        note = f", {scope['log_note']}" if "log_note" in scope else ""
        if is_change:
            response.raw_headers.append(make_request_id_header(scope))
            note_operation(request, self._route.method, self.path, code.strip() or "ok", began)
        try:
            await response(scope, receive, send)
        finally:
            # last: supervisord reads the line at once, which may take the processor from who waits for the response
            if is_logged:
                self._log(request, f"{response.status_code}{code}{note}", began)

    async def _receive_body(self, request: Request[Any]) -> bytes:
        body = await request.body()
        if "identity" in request.scope:  # a body may take its time, and the token may have been removed meanwhile
            request.state["gate"].check_again(request.scope["identity"])
        return body

    async def _check_role(self, request: Request[Any], role: Role) -> None:
        identity = request.scope["identity"] = await request.state["gate"].check(request)
        require_role(identity, role)
        if self._changes_plugin:
            require_plugin(identity, request.path_params["plugin_id"])

    def _log(self, request: Request[Any], outcome: str, began: float) -> None:
        """Log who changed what, the outcome, and how long it took; reads are not logged."""
        logger.info(
            "%s %s %s: %s, %.0f ms, request %s",
            request.client.host if request.client else "-",
            request.method,
            quote(hide_tokens(request.scope["path"])[:_MOST_LOGGED]),  # it may hold anything, line breaks included
            hide_tokens(outcome),
            (time.perf_counter() - began) * 1000,
            request.scope["request_id"],
        )


class EndpointRoute(StarletteRoute):
    """A route of the router.

    In `/plugin/{plugin_id}/health` the id is `metrics` only if there is a plugin of that name: otherwise
    `/plugin/metrics/health` is what the plugin `health` uses.
    """

    def __init__(self, route: Route, endpoint: Endpoint) -> None:
        super().__init__(route.path, endpoint, methods=[route.method], name=route.handler.__name__)
        self._begins_with_id = route.method == "GET" and route.path.startswith("/plugin/{plugin_id}/")

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether this is the route of a request."""
        match, child_scope = super().matches(scope)
        if match is not Match.NONE and self._begins_with_id:
            plugin_id = child_scope["path_params"]["plugin_id"]
            if plugin_id == _METRICS_ID and plugin_id not in scope["state"]["manager"].catalog:
                return Match.NONE, {}
        return match, child_scope
