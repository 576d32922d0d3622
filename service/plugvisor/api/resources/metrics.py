"""What plugins use: CPU, memory and threads, now and in the past."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse

from plugvisor.api.endpoint import get_plugin, private, read_period
from plugvisor.api.views import tell_time, to_microseconds
from plugvisor.errors import InvalidRequest
from plugvisor.metrics.history import KEPT_SAMPLES
from plugvisor.models.process import NEVER_ADDED, Status

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from plugvisor.api.endpoint import State
    from plugvisor.metrics.process_tree import Usage

DEFAULT_LIMIT = 100
_MEGABYTE = 1024 * 1024


@private
async def list_usages(request: Request[State]) -> Response:
    """Tell what every running plugin uses, and all of them together."""
    sample = await request.state["sampler"].read()
    usages = {name: sample.usages[name] for name in request.state["manager"].catalog if name in sample.usages}
    memory_bytes = sum(usage.memory_bytes for usage in usages.values())
    return JSONResponse(
        {
            "metrics": [
                describe_usage(name, sample.at, usage, sample.total_memory_bytes) for name, usage in usages.items()
            ],
            "count": len(usages),
            "global": {
                "total_cpu_percent": _round(sum(usage.cpu_percent for usage in usages.values())),
                "total_memory_mb": _round(memory_bytes / _MEGABYTE),
                "total_memory_percent": _round(memory_bytes / sample.total_memory_bytes * 100),
                "total_threads": sum(usage.threads for usage in usages.values()),
                "active_plugins": len(usages),
            },
            "time": tell_time(),
        }
    )


@private
async def show_usage(request: Request[State]) -> Response:
    """Tell what one plugin uses."""
    plugin = get_plugin(request)
    sample = await request.state["sampler"].read()
    process = request.state["engine"].read().get(plugin.id, NEVER_ADDED)
    usage = sample.usages.get(plugin.id)
    if usage is None or usage.pid != process.pid:
        usage = None
        message = "the process has just started or ended" if process.is_alive else "the plugin has no process"
    else:
        message = ""
    return JSONResponse(
        {
            "plugin_id": plugin.id,
            "metrics": usage and describe_usage(plugin.id, sample.at, usage, sample.total_memory_bytes),
            "time": tell_time(),
            "plugin_running": process.status is Status.RUNNING,
            "process_alive": process.is_alive,
            "message": message,
        }
    )


@private
async def list_usage_history(request: Request[State]) -> Response:
    """Tell what one plugin used, the oldest sample first; there are samples only of when somebody asked."""
    plugin = get_plugin(request)
    limit = _read_limit(request.query_params.get("limit"))
    start, end = read_period(request.query_params)
    sampler = request.state["sampler"]
    total_memory_bytes = (await sampler.read()).total_memory_bytes
    samples = sampler.list_history(plugin.id)
    found = [(at, usage) for at, usage in samples if start <= to_microseconds(at) / 1_000_000 <= end][-limit:]
    return JSONResponse(
        {
            "plugin_id": plugin.id,
            "history": [describe_usage(plugin.id, at, usage, total_memory_bytes) for at, usage in found],
            "count": len(found),
            "time": tell_time(),
        }
    )


def describe_usage(plugin_id: str, at: float, usage: Usage, total_memory_bytes: int) -> dict[str, Any]:
    """One sample of one plugin."""
    return {
        "plugin_id": plugin_id,
        "timestamp": tell_time(at),
        "pid": usage.pid,
        "cpu_percent": _round(usage.cpu_percent),
        "memory_mb": _round(usage.memory_bytes / _MEGABYTE),
        "memory_percent": _round(usage.memory_bytes / total_memory_bytes * 100),
        "num_threads": usage.threads,
    }


def _round(value: float) -> float:
    return round(value, 2)


def _read_limit(text: str | None) -> int:
    if not text:
        return DEFAULT_LIMIT
    if not re.fullmatch("[0-9]{1,6}", text) or not 1 <= int(text) <= KEPT_SAMPLES:
        raise InvalidRequest(f"`limit` must be a whole number from 1 to {KEPT_SAMPLES}")
    return int(text)
