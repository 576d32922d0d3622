"""What is told about a plugin: its manifest and its process, put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plugvisor.models.process import NEVER_ADDED, History, Process, ProcessState, Status

if TYPE_CHECKING:
    from plugvisor.plugins.catalog import Plugin


@dataclass(frozen=True, slots=True)
class Report:
    """A plugin's state at one instant. `pid` and `uptime_seconds` are None where no process is alive."""

    status: Status
    state: ProcessState
    """supervisord's own; UNKNOWN where the plugin has neither a usable manifest nor a process."""
    detail: str
    pid: int | None
    uptime_seconds: int | None
    history: History | None
    """None where no state stream tells it."""


def report(plugin: Plugin, process: Process | None, now: float) -> Report:
    """Put together what is to be told; `process` is None where supervisord does not have the program.

    A plugin whose manifest cannot be used is in error, unless a process of it is alive: that goes on,
    and its status is the process's.

    Args:
        now: the instant for which uptime is told, on the monotonic clock.
    """
    shown = process or NEVER_ADDED
    detail = shown.detail
    status, state = shown.status, shown.state
    if plugin.problem:
        detail = describe_problem(plugin)
        if not shown.is_alive:
            status = Status.ERROR
            state = process.state if process else ProcessState.UNKNOWN
        else:
            detail = f"it goes on running as it was, but {detail}"
    return Report(
        status=status,
        state=state,
        detail=detail,
        pid=shown.pid if shown.is_alive else None,
        uptime_seconds=shown.uptime_seconds(now) if shown.is_alive else None,
        history=shown.history,
    )


def describe_problem(plugin: Plugin) -> str:
    """Why a plugin cannot be used, as the second half of a sentence."""
    return f"its manifest is invalid: {plugin.problem}" if plugin.folder else plugin.problem
