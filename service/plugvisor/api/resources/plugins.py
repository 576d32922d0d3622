"""The five basic endpoints, refresh and the event stream: handlers that translate, and no more (DESIGN.md §1)."""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.datastructures import QueryParams
from starlette.responses import JSONResponse, Response

from plugvisor.api.endpoint import mutation, read_wait
from plugvisor.api.views import REVALIDATE, Prepared, describe_outcome

if TYPE_CHECKING:
    from starlette.requests import Request

    from plugvisor.api.endpoint import State
    from plugvisor.manager.manager import Outcome

_LONGEST_KNOWN_QUERY = 200


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
    if plugin_id:
        return Prepared(await views.show_one(plugin_id))
    body, rest = await views.show_all()
    return Prepared(body, rest=rest)


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
    outcome = await request.state["manager"].start(plugin_id, read_wait(request))
    return _answer(plugin_id, outcome, "Plugin started successfully")


@mutation
async def stop_plugin(request: Request[State]) -> Response:
    """Stop a plugin."""
    plugin_id = request.path_params["plugin_id"]
    outcome = await request.state["manager"].stop(plugin_id, read_wait(request))
    return _answer(plugin_id, outcome, "Plugin stopped successfully", "Plugin is stopping")


@mutation
async def reload_plugin(request: Request[State]) -> Response:
    """Reload a plugin."""
    plugin_id = request.path_params["plugin_id"]
    outcome = await request.state["manager"].reload(plugin_id, read_wait(request))
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
