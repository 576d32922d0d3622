"""The members of a status, which the list, the statuses and the answers to operations have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from plugvisor.models.cluster.task import TaskInfo
from plugvisor.models.enforced_limits import LIMIT_KEYS, EnforcedLimits
from plugvisor.models.plugin import ManifestError, show_exit
from plugvisor.models.process import NEVER_ADDED
from plugvisor.models.stored.intent import IntentInfo
from plugvisor.timestamps import format_time

if TYPE_CHECKING:
    from plugvisor.manager.facts import Facts
    from plugvisor.manager.status import Report
    from plugvisor.models.cluster.task import Task
    from plugvisor.models.enforced_limits import AppliedLimits
    from plugvisor.models.stored.intent import Intent
    from plugvisor.plugins.catalog import Plugin


def make_intent(intent: Intent) -> IntentInfo:
    """A plugin's intent, for the list and the statuses."""
    return IntentInfo(wanted=intent.wanted, by=intent.by, at=format_time(intent.at))


def find_manifest_error(plugin: Plugin) -> ManifestError | None:
    """Why the manifest is invalid; None if it is not, or if there is none any more."""
    error = plugin.manifest_error
    return ManifestError(line=error.line, message=error.problem) if error is not None else None


def make_state(plugin: Plugin, current: Report, facts: Facts | None, intent: Intent | None) -> dict[str, Any]:
    """The members that the list and the statuses have in common."""
    fields: dict[str, Any] = {"status": current.status, "state": current.state.name}
    if current.detail:
        fields["detail"] = current.detail
    error = find_manifest_error(plugin)
    if error is not None:
        fields["manifest_error"] = error
    process = current.process
    if process is not NEVER_ADDED:
        fields["restarts"] = process.restarts
        if (last_exit := process.last_exit) is not None:
            fields["last_exit"] = show_exit(last_exit, format_time(last_exit.at))
        if process.retry_at is not None:
            fields["retry_at"] = format_time(process.retry_at)
        if process.flapping:
            fields["flapping"] = True
        if process.limits is not None:
            fields["limits"] = _make_limits(process.limits)
        if process.node:
            fields["node"] = process.node
        if process.tasks:
            fields["tasks"] = tuple(map(_make_task, process.tasks))
    if intent is not None:
        fields["intent"] = make_intent(intent)
    if facts is None:
        return fields
    if facts.watch is not None:
        fields["watch"] = facts.watch
    return fields | make_facts(facts)


def make_facts(facts: Facts | None) -> dict[str, Any]:
    """A plugin's health, and what it says of its dependencies."""
    fields: dict[str, Any] = {}
    if facts is not None:
        if facts.health is not None:
            fields["health"] = facts.health
        if facts.queued:
            fields["queued"] = True
        if facts.unmet:
            fields["unmet"] = facts.unmet
    return fields


def _make_task(task: Task) -> TaskInfo:
    return TaskInfo(
        id=task.id,
        slot=task.slot,
        node=task.node,
        state=task.state,
        desired=task.desired,
        pid=task.pid or UNSET,
        exit_code=UNSET if task.exit_code is None else task.exit_code,
        error=task.error or UNSET,
        lost=task.is_lost,
        at=format_time(task.at),
    )


def _make_limits(applied: AppliedLimits) -> EnforcedLimits:
    fields: dict[str, Any] = {key: value for key in LIMIT_KEYS if (value := getattr(applied, key))}
    if applied.watched:
        fields["watched"] = applied.watched
    return EnforcedLimits(enforced_by=applied.enforced_by, unenforced=applied.unenforced, **fields)
