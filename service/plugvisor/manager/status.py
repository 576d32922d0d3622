"""A plugin's status, from its manifest and its process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plugvisor.models.process import NEVER_ADDED, Process, ProcessState, Status

if TYPE_CHECKING:
    from plugvisor.manager.facts import Facts
    from plugvisor.plugins.catalog import Plugin


@dataclass(frozen=True, slots=True)
class Report:
    """A plugin's status at one instant. `pid` and `uptime_seconds` are None if no process is alive."""

    status: Status
    state: ProcessState
    """The process's; UNKNOWN if the plugin has neither a valid manifest nor a program."""
    detail: str
    pid: int | None
    uptime_seconds: int | None
    process: Process


def report(
    plugin: Plugin, process: Process | None, now: float, facts: Facts | None = None, last_line: str = ""
) -> Report:
    """Make the report; `process` is None if the engine does not have the program.

    A plugin whose manifest is invalid is in error, unless a process of it is alive: that goes on,
    and its status is the process's.

    Args:
        now: the instant for which to report the uptime, on the monotonic clock.
        facts: what is to be said of its health and dependencies.
        last_line: what it has printed last, for those who may read its log.
    """
    shown = process or NEVER_ADDED
    detail = describe(shown, facts, last_line)
    status, state = shown.status, shown.state
    if plugin.problem:
        detail = describe_problem(plugin)
        if not shown.is_alive:
            status = Status.ERROR
            state = process.state if process else ProcessState.UNKNOWN
        else:
            detail = f"it keeps running as it was, but {detail}"
    elif plugin.notes:
        detail = "; ".join(filter(None, (detail, *plugin.notes)))
    if plugin.disabled_by:
        detail = "; ".join(filter(None, (detail, describe_disabled(plugin))))
    return Report(
        status=status,
        state=state,
        detail=detail,
        pid=shown.pid if shown.is_alive else None,
        uptime_seconds=shown.uptime_seconds(now) if shown.is_alive else None,
        process=shown,
    )


def describe(process: Process, facts: Facts | None, last_line: str = "") -> str:
    """Why a process is as it is, for a person; empty if the status says it all."""
    detail = process.describe(last_line) if last_line else process.detail
    if facts is None or not facts.note:
        return "" if process.queued else detail
    # why an earlier process of a queued plugin has ended matters no more
    return facts.note if facts.queued or not detail else f"{detail}; {facts.note}"


def describe_problem(plugin: Plugin) -> str:
    """Why a plugin cannot be started, as the second half of a sentence."""
    return f"its manifest is invalid: {plugin.problem}" if plugin.folder else plugin.problem


def describe_disabled(plugin: Plugin) -> str:
    """Who has disabled a plugin that is, as the second half of a sentence."""
    return f"it was disabled by {plugin.disabled_by!r}"
