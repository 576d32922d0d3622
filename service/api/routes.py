"""The endpoints (DESIGN.md §1): the route table first, then handlers that translate, and no more."""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.datastructures import QueryParams
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from service.api.batch import reload_plugins, start_plugins, stop_plugins
from service.api.endpoint import mutation, read_wait
from service.api.health import show_liveness, show_plugin_health, show_readiness, show_server
from service.api.log_endpoints import follow_log_by_websocket, list_log_files, show_log, stream_log
from service.api.prometheus import show_metrics
from service.api.usage import list_usage_history, list_usages, show_usage
from service.api.views import REVALIDATE, Prepared, describe_outcome

if TYPE_CHECKING:
    from starlette.requests import Request

    from service.api.endpoint import State
    from service.manager import Outcome


def make_routes() -> list[BaseRoute]:
    """Every path of the API."""
    return [
        Route("/plugins", list_plugins),
        Route("/plugin/status", show_status),
        Route("/events", open_events, methods=["GET"]),
        Route("/plugin/{plugin_id}/start", start_plugin, methods=["POST"]),
        Route("/plugin/{plugin_id}/stop", stop_plugin, methods=["POST"]),
        Route("/plugin/{plugin_id}/reload", reload_plugin, methods=["POST"]),
        Route("/plugins/refresh", refresh_plugins, methods=["POST"]),
        Route("/plugins/start", start_plugins, methods=["POST"]),
        Route("/plugins/stop", stop_plugins, methods=["POST"]),
        Route("/plugins/reload", reload_plugins, methods=["POST"]),
        Route("/health", show_liveness),
        Route("/available", show_readiness),
        Route("/server/info", show_server),
        Route("/metrics", show_metrics),
        Route("/plugin/{plugin_id}/health", show_plugin_health),
        # before /plugin/metrics/{plugin_id}: a plugin may be named `metrics`
        Route("/plugin/{plugin_id}/logs", show_log),
        Route("/plugin/{plugin_id}/logs/files", list_log_files),
        Route("/plugin/{plugin_id}/logs/stream", stream_log, methods=["GET"]),
        Route("/plugin/metrics", list_usages),
        Route("/plugin/metrics/{plugin_id}", show_usage),
        Route("/plugin/metrics/{plugin_id}/history", list_usage_history),
        WebSocketRoute("/ws/logs/{plugin_id}", follow_log_by_websocket),
    ]


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


@lru_cache(maxsize=4096)
def _read_plugin_id(query_string: bytes) -> str | None:
    """Front ends ask the same few questions again and again."""
    return QueryParams(query_string).get("plugin_id")
