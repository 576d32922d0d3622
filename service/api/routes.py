"""The endpoints (DESIGN.md §1): the route table first, then handlers that translate, and no more."""

from __future__ import annotations

import logging
import math
import time
from functools import lru_cache, wraps
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol, TypedDict
from urllib.parse import quote

from starlette.datastructures import QueryParams
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.api.body_limit import has_body
from service.api.problems import describe
from service.api.views import REVALIDATE, Prepared, describe_outcome
from service.errors import InvalidRequest, PlugvisorError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starlette.requests import Request

    from service.api.auth import Gate
    from service.api.events import EventHub
    from service.api.views import Views
    from service.manager import Manager, Outcome

logger = logging.getLogger(__name__)

LONGEST_WAIT_SECONDS = 300
_MOST_LOGGED = 200
"""Characters of a path."""
_LONGEST_KNOWN_QUERY = 200


def make_routes() -> list[Route]:
    """Every path of the API."""
    return [
        Route("/plugins", list_plugins),
        Route("/plugin/status", show_status),
        Route("/events", open_events, methods=["GET"]),
        Route("/plugin/{plugin_id}/start", start_plugin, methods=["POST"]),
        Route("/plugin/{plugin_id}/stop", stop_plugin, methods=["POST"]),
        Route("/plugin/{plugin_id}/reload", reload_plugin, methods=["POST"]),
        Route("/plugins/refresh", refresh_plugins, methods=["POST"]),
    ]


class State(TypedDict):
    """What every request finds in `request.state`; made by the lifespan."""

    manager: Manager
    views: Views
    events: EventHub
    gate: Gate
    endless: Sequence[Endless]
    """What must be ended before the service can shut down."""


class Endless(Protocol):
    """Has answers that never end by themselves."""

    def close(self) -> None:
        """End them all, and every later one."""


def mutation(handler: Callable[[Request[State]], Awaitable[Response]]) -> Callable[..., Awaitable[Response]]:
    """An endpoint that needs the admin code and leaves one line in the log: who, what, outcome, how long."""

    @wraps(handler)
    async def endpoint(request: Request[State]) -> Response:
        began = time.perf_counter()
        outcome = "500 internal_error"
        try:
            request.state["gate"].check(request)
            if has_body(request.scope):
                await request.body()  # nothing is done for a request that does not arrive whole
            response = await handler(request)
            outcome = str(response.status_code)
            return response
        except PlugvisorError as error:
            status, code = describe(error)
            outcome = f"{status} {code}"
            raise
        finally:
            who = request.client.host if request.client else "-"
            milliseconds = (time.perf_counter() - began) * 1000
            # quoted: a path may hold anything, line breaks included
            logger.info(
                "%s %s %s: %s, %.0f ms",
                who,
                request.method,
                quote(request.scope["path"][:_MOST_LOGGED]),
                outcome,
                milliseconds,
            )

    return endpoint


async def list_plugins(request: Request[State]) -> Response:
    """Every plugin, with its metadata and its status."""
    document = await request.state["views"].list_plugins()
    known = ",".join(request.headers.getlist("If-None-Match"))
    # by weak comparison (RFC 9110, 13.1.2): a proxy that compresses makes the tag a weak one
    if known == "*" or document.etag in [tag.strip().removeprefix("W/") for tag in known.split(",")]:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"ETag": document.etag, **REVALIDATE})
    return Prepared(document.body, document.headers)


async def show_status(request: Request[State]) -> Response:
    """One plugin's status, or everyone's."""
    plugin_id = _read_plugin_id(request.scope["query_string"])
    views = request.state["views"]
    return Prepared(await (views.show_one(plugin_id) if plugin_id else views.show_all()))


async def open_events(request: Request[State]) -> Response:
    """What happens, as server-sent events."""
    if request.method == "HEAD":
        return Response(media_type="text/event-stream")
    last_event_id = request.headers.get("Last-Event-ID")
    return await request.state["events"].open(_read_plugin_id(request.scope["query_string"]), last_event_id)


@mutation
async def start_plugin(request: Request[State]) -> Response:
    """Start a plugin."""
    plugin_id = request.path_params["plugin_id"]
    outcome = await request.state["manager"].start(plugin_id, _read_wait(request))
    return _answer(plugin_id, outcome, "Plugin started successfully")


@mutation
async def stop_plugin(request: Request[State]) -> Response:
    """Stop a plugin."""
    plugin_id = request.path_params["plugin_id"]
    outcome = await request.state["manager"].stop(plugin_id, _read_wait(request))
    return _answer(plugin_id, outcome, "Plugin stopped successfully", "Plugin is stopping")


@mutation
async def reload_plugin(request: Request[State]) -> Response:
    """Reload a plugin."""
    plugin_id = request.path_params["plugin_id"]
    outcome = await request.state["manager"].reload(plugin_id, _read_wait(request))
    return _answer(plugin_id, outcome, "Plugin reloaded successfully", "Plugin is reloading")


@mutation
async def refresh_plugins(request: Request[State]) -> Response:
    """Read the plugins folder anew."""
    refreshed = await request.state["manager"].refresh()
    return JSONResponse(
        {
            "added": refreshed.added,
            "changed": refreshed.changed,
            "removed": refreshed.removed,
            "invalid": refreshed.invalid,
        }
    )


def _answer(plugin_id: str, outcome: Outcome, done: str, under_way: str = "") -> JSONResponse:
    message, status = (done, HTTPStatus.OK) if outcome.finished else (under_way, HTTPStatus.ACCEPTED)
    return JSONResponse(describe_outcome(plugin_id, outcome.process, message), status)


def _read_plugin_id(query_string: bytes) -> str | None:
    read = _read_known if len(query_string) <= _LONGEST_KNOWN_QUERY else _read_known.__wrapped__
    return read(query_string)


@lru_cache(maxsize=4096)
def _read_known(query_string: bytes) -> str | None:
    """Front ends ask the same few questions again and again."""
    return QueryParams(query_string).get("plugin_id")


def _read_wait(request: Request[State]) -> float | None:
    text = request.query_params.get("wait")
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= LONGEST_WAIT_SECONDS:  # nor is a NaN
        raise InvalidRequest(f"`wait` must be a number of seconds from 0 to {LONGEST_WAIT_SECONDS}")
    return seconds
