"""The endpoints (DESIGN.md §1): the route table first, then handlers that translate, and no more."""

from __future__ import annotations

import logging
import math
import time
from datetime import datetime
from functools import wraps
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import quote

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.api.problems import describe
from service.errors import InvalidRequest, PluginNotFound, PlugvisorError
from service.plugins.catalog import Plugin
from service.report import Report, report
from service.supervisord.states import Process, Status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from service.api.auth import Gate
    from service.manager import Manager
    from service.supervisord.board import Board

logger = logging.getLogger(__name__)

LONGEST_WAIT_SECONDS = 300


def make_routes() -> list[Route]:
    """Every path of the API."""
    return [
        Route("/plugins", list_plugins),
        Route("/plugin/status", show_status),
        Route("/plugin/{plugin_id}/start", start_plugin, methods=["POST"]),
        Route("/plugin/{plugin_id}/stop", stop_plugin, methods=["POST"]),
        Route("/plugin/{plugin_id}/reload", reload_plugin, methods=["POST"]),
        Route("/plugins/refresh", refresh_plugins, methods=["POST"]),
    ]


class State(TypedDict):
    """What every request finds in `request.state`; made by the lifespan."""

    manager: Manager
    board: Board
    gate: Gate


def mutation(handler: Callable[[Request[State]], Awaitable[Response]]) -> Callable[..., Awaitable[Response]]:
    """An endpoint that needs the admin code and leaves one line in the log: who, what, outcome, how long."""

    @wraps(handler)
    async def endpoint(request: Request[State]) -> Response:
        began = time.perf_counter()
        outcome = "500 internal_error"
        try:
            request.state["gate"].check(request)
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
            logger.info("%s %s %s: %s, %.0f ms", who, request.method, quote(request.url.path), outcome, milliseconds)

    return endpoint


async def list_plugins(request: Request[State]) -> Response:
    """Every plugin, with its metadata and its status."""
    processes = await request.state["board"].read()
    plugins = []
    for plugin in request.state["manager"].catalog.values():
        told = report(plugin, processes.get(plugin.id))
        manifest = plugin.manifest
        plugins.append(
            {
                "id": plugin.id,
                "name": manifest.name if manifest else plugin.id,
                "version": manifest.version if manifest else "",
                "description": manifest.description if manifest else "",
                "enabled": plugin.enabled,
                **_status_fields(told),
            }
        )
    return JSONResponse({"plugins": plugins, "message": "" if plugins else "no plugins registered"})


async def show_status(request: Request[State]) -> Response:
    """One plugin's status, or everyone's."""
    plugin_id = request.query_params.get("plugin_id")
    plugin = request.state["manager"].catalog.get(plugin_id or "")
    if plugin_id and plugin is None:
        raise PluginNotFound(f"there is no plugin {plugin_id!r}; GET /plugins lists them")
    processes = await request.state["board"].read()
    if plugin is not None:
        told = report(plugin, processes.get(plugin.id))
        return JSONResponse({"plugin_id": plugin_id, **_status_fields(told), **_process_fields(told), "time": _now()})
    plugins = {}
    for plugin in request.state["manager"].catalog.values():
        told = report(plugin, processes.get(plugin.id))
        plugins[plugin.id] = {**_status_fields(told), **_process_fields(told)}
    return JSONResponse({"plugins": plugins, "time": _now()})


@mutation
async def start_plugin(request: Request[State]) -> Response:
    """Start a plugin."""
    plugin_id = request.path_params["plugin_id"]
    process = await request.state["manager"].start(plugin_id, _read_wait(request))
    return _answer(request, process, "Plugin started successfully")


@mutation
async def stop_plugin(request: Request[State]) -> Response:
    """Stop a plugin."""
    plugin_id = request.path_params["plugin_id"]
    process = await request.state["manager"].stop(plugin_id, _read_wait(request))
    if process.status is Status.STOPPING:
        return _answer(request, process, "Plugin is stopping", HTTPStatus.ACCEPTED)
    return _answer(request, process, "Plugin stopped successfully")


@mutation
async def reload_plugin(request: Request[State]) -> Response:
    """Reload a plugin."""
    plugin_id = request.path_params["plugin_id"]
    process = await request.state["manager"].reload(plugin_id, _read_wait(request))
    if process.status in (Status.STOPPING, Status.STARTING):
        return _answer(request, process, "Plugin is reloading", HTTPStatus.ACCEPTED)
    return _answer(request, process, "Plugin reloaded successfully")


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


def _answer(
    request: Request[State], process: Process, message: str, status: HTTPStatus = HTTPStatus.OK
) -> JSONResponse:
    plugin_id = request.path_params["plugin_id"]
    # a refresh may have removed it in the meantime
    told = report(request.state["manager"].catalog.get(plugin_id) or Plugin(plugin_id, None), process)
    content = {"plugin_id": plugin_id, **_status_fields(told), "message": message}
    if told.pid is not None:
        content["pid"] = told.pid
    return JSONResponse(content, status)


def _status_fields(told: Report) -> dict[str, Any]:
    fields = {"status": told.status, "state": told.state.name}
    return fields | {"detail": told.detail} if told.detail else fields


def _process_fields(told: Report) -> dict[str, Any]:
    return {} if told.pid is None else {"pid": told.pid, "uptime": told.uptime_seconds}


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="microseconds")


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
