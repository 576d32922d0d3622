"""Describes a program in a line of the state stream."""

from __future__ import annotations

from typing import Any

from supervisor.states import ProcessStates

from plugvisor.engines.supervisord.extension.processes.plugin_process import PluginProcess


def describe_process(process: Any) -> dict[str, Any]:
    """A program's line in the state stream; of one that is no plugin the state and the process id."""
    if not isinstance(process, PluginProcess):
        return {"name": process.config.name, "state": process.state, "pid": process.pid, "is_foreign": True}
    line = {
        "name": process.name,
        "state": process.state,
        "pid": process.pid,
        "started": process.started if process.pid else 0.0,
        "exit_status": process.exitstatus or 0,
        "spawn_error": process.spawnerr or "",
        "retry_at": process.retry_at,
        "restarts": process.restarts,
        "last_exit": process.last_exit,
        "flapping": process.flapping.is_present,
        "launches": process.launches,
        "start_pending": process.start_pending or process.is_being_executed,
        "orphans": process.has_orphans,
        "stop_seconds": process.config.stopwaitsecs,
        "log_begin": process.log_begin,
    }
    if process.launch is not None:
        line["checks_digest"] = process.launch.checks_digest
    if process.queued:
        line["queued"] = process.queued.why
    if (asked := process.asked) is not None:
        line["asked"] = asked
    if process.limits is not None:
        line["limits"] = process.limits.describe()
    return line


def describe_taken_name(name: str) -> dict[str, Any]:
    """The line of a name that is not a process's, and that no plugin can have: a group's, or a program's in a group."""
    return {"name": name, "state": ProcessStates.STOPPED, "pid": 0, "is_foreign": True}
