"""Whether the service lives, is ready, and what it is; and whether one plugin lives."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from msgspec import UNSET

from plugvisor import VERSION
from plugvisor.api.problems import make_unavailable, respond_with_problem
from plugvisor.api.responses import NO_STORE, respond
from plugvisor.api.state import get_plugin
from plugvisor.errors import SupervisorUnavailable
from plugvisor.models.plugin import CheckResult, PluginHealth
from plugvisor.models.process import NEVER_ADDED, Process, Status
from plugvisor.models.server import (
    EngineDescription,
    InstallationInfo,
    Liveness,
    Readiness,
    ServerInfo,
    StoreStatus,
    SupervisorInfo,
)
from plugvisor.timestamps import format_time

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from plugvisor.api.state import State
    from plugvisor.manager.checks.check_state import CheckReport
    from plugvisor.manager.checks.monitor import HealthMonitor
    from plugvisor.store.store import Store


async def show_liveness(_request: Request[State]) -> Response:
    """Whether the service answers, whatever the engine does."""
    return respond(Liveness(status="ok", time=format_time()), headers=NO_STORE)


async def show_readiness(request: Request[State]) -> Response:
    """Whether the service can do its work: whether the engine can be reached. It does without the store."""
    plugins_count = len(request.state["manager"].catalog)
    try:
        request.state["engine"].read()
    except SupervisorUnavailable as error:
        return respond_with_problem(make_unavailable(error, plugins_count, format_time()))
    body = Readiness(
        status="ok",
        available=True,
        plugins_count=plugins_count,
        store=_make_store_status(request.state["store"]),
        warning=request.state["keeper"].rival.detail or UNSET,
        time=format_time(),
    )
    return respond(body, headers=NO_STORE)


def _make_store_status(store: Store) -> StoreStatus:
    problem = store.problem
    return StoreStatus(
        status="unavailable" if problem else "ok", detail=problem or UNSET, set_aside=store.set_aside or UNSET
    )


async def show_server(request: Request[State]) -> Response:
    """The versions of the service and of its engine, and which plugins there are."""
    catalog, engine = request.state["manager"].catalog, request.state["engine"]
    processes = engine.read()
    info = await engine.describe()
    why_off = request.state["installations"].why_off
    running = [name for name in catalog if processes.get(name, NEVER_ADDED).status is Status.RUNNING]
    return respond(
        ServerInfo(
            version=VERSION,
            sdk_version=VERSION,
            plugins_count=len(catalog),
            registered_plugins=list(catalog),
            running_plugins_count=len(running),
            running_plugins=running,
            engine=EngineDescription(name=info.name, version=info.version, state=info.state, lacks=dict(engine.lacks)),
            supervisor=SupervisorInfo(
                version=info.version, pid=info.pid or UNSET, state=info.state, extension=engine.is_live
            ),
            installation=InstallationInfo(
                on=not why_off, reason=why_off or UNSET, package_mb=request.state["settings"].package_mb
            ),
            time=format_time(),
        )
    )


async def show_plugin_health(request: Request[State]) -> Response:
    """Whether a plugin's process lives and passes its checks, and how the last one ended."""
    plugin = get_plugin(request)
    process = request.state["engine"].read().get(plugin.id, NEVER_ADDED)
    return respond(make_health(process, plugin.id, request.state["monitor"]), headers=NO_STORE)


def make_health(process: Process, plugin_id: str, monitor: HealthMonitor) -> PluginHealth:
    """The body; `exitcode` of a process that a signal has ended is the signal's number, negative."""
    if process.is_alive:
        return PluginHealth(
            alive=True,
            status="running",
            pid=process.pid,
            exitcode=None,
            health=monitor.get(plugin_id) or UNSET,
            checks=tuple(map(_make_check, monitor.list_checks(plugin_id))) or UNSET,
        )
    return PluginHealth(
        alive=False,
        status="crashed" if process.status is Status.ERROR else "stopped",
        pid=None,
        exitcode=_find_exit_code(process),
    )


def _make_check(check: CheckReport) -> CheckResult:
    return CheckResult(
        name=check.name,
        level=check.level,
        status=check.status,
        failures=check.failures,
        last_error=check.last_error or UNSET,
        at=UNSET if check.at is None else format_time(check.at),
    )


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
