"""The CPU, memory and threads of plugins, now and in the past."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugvisor.api.responses import respond
from plugvisor.api.state import get_plugin
from plugvisor.errors import NotSupported
from plugvisor.models.process import NEVER_ADDED, Status
from plugvisor.models.usage import AllUsage, CurrentUsage, PluginUsage, TotalUsage, UsageHistory
from plugvisor.timestamps import format_time, to_microseconds

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from plugvisor.api.parameters import HistoryQuery
    from plugvisor.api.state import State
    from plugvisor.engines.engine import Engine
    from plugvisor.metrics.process_tree import Usage

_MEGABYTE = 1024 * 1024


async def list_usages(request: Request[State]) -> Response:
    """The usage of every running plugin, and of all of them together."""
    _require_metrics(request.state["engine"])
    sample = await request.state["sampler"].read()
    usages = {name: sample.usages[name] for name in request.state["manager"].catalog if name in sample.usages}
    memory_bytes = sum(usage.memory_bytes for usage in usages.values())
    return respond(
        AllUsage(
            metrics=[make_usage(name, sample.at, usage, sample.total_memory_bytes) for name, usage in usages.items()],
            count=len(usages),
            total=TotalUsage(
                total_cpu_percent=_round(sum(usage.cpu_percent for usage in usages.values())),
                total_memory_mb=_round(memory_bytes / _MEGABYTE),
                total_memory_percent=_round(memory_bytes / sample.total_memory_bytes * 100),
                total_threads=sum(usage.threads for usage in usages.values()),
                active_plugins=len(usages),
            ),
            time=format_time(),
        )
    )


async def show_usage(request: Request[State]) -> Response:
    """The usage of one plugin."""
    plugin = get_plugin(request)
    _require_metrics(request.state["engine"])
    sample = await request.state["sampler"].read()
    process = request.state["engine"].read().get(plugin.id, NEVER_ADDED)
    usage = sample.usages.get(plugin.id)
    current, message = None, ""
    if usage is not None and usage.pid == process.pid:
        current = make_usage(plugin.id, sample.at, usage, sample.total_memory_bytes)
    else:
        message = "the process has just started or ended" if process.is_alive else "the plugin has no process"
    return respond(
        CurrentUsage(
            plugin_id=plugin.id,
            metrics=current,
            time=format_time(),
            plugin_running=process.status is Status.RUNNING,
            process_alive=process.is_alive,
            message=message,
        )
    )


async def list_usage_history(request: Request[State], query: HistoryQuery) -> Response:
    """The past usage of one plugin, oldest sample first; samples are taken only while somebody asks."""
    plugin = get_plugin(request)
    _require_metrics(request.state["engine"])
    start, end = query.period
    sampler = request.state["sampler"]
    total_memory_bytes = (await sampler.read()).total_memory_bytes
    samples = sampler.list_history(plugin.id)
    found = [(at, usage) for at, usage in samples if start <= to_microseconds(at) / 1_000_000 <= end]
    history = [make_usage(plugin.id, at, usage, total_memory_bytes) for at, usage in found[-query.limit :]]
    return respond(UsageHistory(plugin_id=plugin.id, history=history, count=len(history), time=format_time()))


async def show_metrics(request: Request[State]) -> Response:
    """Everything that is counted, as text for Prometheus."""
    from plugvisor.api.resources.prometheus import make_metrics  # noqa: PLC0415 - megabytes that few need

    return await make_metrics(request.state)


def make_usage(plugin_id: str, at: float, usage: Usage, total_memory_bytes: int) -> PluginUsage:
    """One sample of one plugin."""
    return PluginUsage(
        plugin_id=plugin_id,
        timestamp=format_time(at),
        pid=usage.pid,
        cpu_percent=_round(usage.cpu_percent),
        memory_mb=_round(usage.memory_bytes / _MEGABYTE),
        memory_percent=_round(usage.memory_bytes / total_memory_bytes * 100),
        num_threads=usage.threads,
    )


def _require_metrics(engine: Engine) -> None:
    if (why := engine.lacks.get("metrics")) is not None:
        raise NotSupported(f"cannot measure what plugins use: {why}")


def _round(value: float) -> float:
    return round(value, 2)
