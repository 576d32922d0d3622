"""Whether the service lives, is ready, and what it is; and whether one plugin lives."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse

from plugvisor import VERSION
from plugvisor.api.endpoint import get_plugin, private
from plugvisor.api.problems import make_response
from plugvisor.api.resources.metrics import show_usage
from plugvisor.api.views import tell_time
from plugvisor.errors import SupervisorUnavailable
from plugvisor.models.process import NEVER_ADDED, Process, Status

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from plugvisor.api.endpoint import State

NO_STORE = {"Cache-Control": "no-store"}


async def show_liveness(_request: Request[State]) -> Response:
    """Tell that the service answers, whatever supervisord does."""
    return JSONResponse({"status": "ok", "time": tell_time()}, headers=NO_STORE)


async def show_readiness(request: Request[State]) -> Response:
    """Tell whether the service can do its work: whether supervisord can be reached."""
    plugins_count = len(request.state["manager"].catalog)
    try:
        request.state["engine"].read()
    except SupervisorUnavailable as error:
        told = {"available": False, "plugins_count": plugins_count, "time": tell_time()}
        return make_response(error, told)
    return JSONResponse(
        {"status": "ok", "available": True, "plugins_count": plugins_count, "time": tell_time()}, headers=NO_STORE
    )


@private
async def show_server(request: Request[State]) -> Response:
    """Tell what the service and its supervisord are, and which plugins there are."""
    catalog, engine = request.state["manager"].catalog, request.state["engine"]
    processes = engine.read()
    supervisor = await engine.describe()
    running = [name for name in catalog if processes.get(name, NEVER_ADDED).status is Status.RUNNING]
    return JSONResponse(
        {
            "version": VERSION,
            "sdk_version": VERSION,
            "plugins_count": len(catalog),
            "registered_plugins": list(catalog),
            "running_plugins_count": len(running),
            "running_plugins": running,
            "supervisor": {
                "version": supervisor.version,
                "pid": supervisor.pid,
                "state": supervisor.state,
                "extension": engine.is_live,
            },
            "time": tell_time(),
        }
    )


async def show_plugin_health(request: Request[State]) -> Response:
    """Tell whether a plugin's process lives, and how the last one ended."""
    if request.path_params["plugin_id"] == "metrics" and "metrics" not in request.state["manager"].catalog:
        # /plugin/metrics/health, which is also what a plugin named `health` uses
        request.path_params["plugin_id"] = "health"
        return await show_usage(request)
    plugin = get_plugin(request)
    process = (request.state["engine"].read()).get(plugin.id, NEVER_ADDED)
    return JSONResponse(describe_health(process), headers=NO_STORE)


def describe_health(process: Process) -> dict[str, Any]:
    """The body; `exitcode` of a process that a signal has ended is the signal's number, negative."""
    crashed = process.status is Status.ERROR
    return {
        "alive": process.is_alive,
        "status": "running" if process.is_alive else "crashed" if crashed else "stopped",
        "pid": process.pid if process.is_alive else None,
        "exitcode": None if process.is_alive else _find_exit_code(process),
    }


def _find_exit_code(process: Process) -> int | None:
    last_exit = process.last_exit
    if last_exit is None:
        return None
    return _number_signal(last_exit.signal) if last_exit.signal else last_exit.code


def _number_signal(name: str) -> int | None:
    try:
        return -signal.Signals[name]
    except KeyError:
        return None
