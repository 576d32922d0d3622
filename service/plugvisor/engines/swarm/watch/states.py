"""The mapping of a service and its tasks to one process (docs/cluster.md has the table)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from plugvisor.engines.swarm.services import labels
from plugvisor.engines.swarm.services.spec import read_asked
from plugvisor.engines.swarm.watch.exits import find_last_exit, find_last_node, read_ended
from plugvisor.engines.swarm.watch.replicas import Circumstances, Replica, is_alive, is_wanted, judge_replica
from plugvisor.engines.swarm.watch.restarts import FLAPPING_SECONDS, find_replaced, is_flapping
from plugvisor.engines.swarm.watch.shown_tasks import group_key, show_tasks
from plugvisor.engines.swarm.watch.specs import read_limits, read_policy, read_replicas, read_seconds
from plugvisor.models.process import NOT_STARTED, Process, ProcessState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plugvisor.engines.swarm.watch.answers import SwarmNode, SwarmTask

# The worst first: what a plugin is of whose replicas not all run.
_WORST = (
    ProcessState.FATAL,
    ProcessState.BACKOFF,
    ProcessState.UNKNOWN,
    ProcessState.STARTING,
    ProcessState.STOPPING,
    ProcessState.EXITED,
    ProcessState.RUNNING,
)
_PAUSED = "the swarm has paused its update: a new task has failed"
_ERRORS = frozenset({ProcessState.FATAL, ProcessState.BACKOFF})
_GRACE_PERIOD = 10_000_000_000
"""How long the Engine waits for a process to obey its stop signal unless the spec says otherwise."""


@dataclass(frozen=True)
class Hints:
    """Facts about tasks that the swarm does not report."""

    now: float
    """On the monotonic clock."""
    running_since: Mapping[str, float]
    """When each running task was started, by its id, on the monotonic clock."""
    out_of_memory: frozenset[str] = frozenset()
    """The tasks in which the kernel has killed a process for the memory limit; of nodes whose Engines are followed."""


def make_process(
    service: Mapping[str, Any],
    tasks: Sequence[SwarmTask],
    nodes: Mapping[str, SwarmNode],
    hints: Hints,
    forgotten: int = 0,
) -> tuple[Process, float | None]:
    """Make the process of a plugin.

    Args:
        service: as `GET /services` describes it.
        tasks: all of the service's, in any order.
        nodes: by id.
        forgotten: how many tasks of the present run have ended by themselves that the swarm has deleted since.

    Returns:
        the process, and when it becomes another by the passing of time alone, on the monotonic hints.
    """
    spec = service["Spec"]
    template = spec["TaskTemplate"]
    found: Mapping[str, str] = spec.get("Labels") or {}
    ordered = sorted(tasks, key=lambda task: (task.created, task.id))
    limits = read_limits(template)
    around = Circumstances(
        nodes=nodes,
        running_since=hints.running_since,
        now=hints.now,
        policy=read_policy(template),
        startsecs=read_seconds(found.get(labels.STARTSECS, "")),
        out_of_memory=hints.out_of_memory,
        has_memory_limit=limits is not None and limits.memory > 0,
        force_update=None if is_update_paused(service) else template.get("ForceUpdate", 0),
    )
    common = Process(
        ProcessState.STOPPED,
        stop_seconds=int(template["ContainerSpec"].get("StopGracePeriod", _GRACE_PERIOD) / 1e9),
        limits=limits,
        last_exit=find_last_exit(ordered, found, hints.out_of_memory),
        node=around.name_node(ordered[-1]) if ordered else find_last_node(found),
        tasks=show_tasks(ordered, around),
        checks_digest=found.get(labels.CHECKS),
        asked=read_asked(found),
    )
    replicas = read_replicas(spec)
    if not replicas:
        return _make_idle(common, ordered, found, around), None
    judged = _judge_all(ordered, replicas, around)
    process = _join(common, judged, replicas, around)
    if around.force_update is None and not process.explanation:
        process = msgspec.structs.replace(process, explanation=_PAUSED)
    until = min((one.until for one in judged if one.until is not None), default=None)
    replaced = find_replaced(ordered, template.get("ForceUpdate", 0))
    process = msgspec.structs.replace(process, restarts=len(replaced) + forgotten)
    if process.pid and process.state in (ProcessState.STARTING, ProcessState.RUNNING):
        slots = {group_key(task): [one for one in replaced if group_key(one) == group_key(task)] for task in replaced}
        runs_seconds = hints.now - process.started
        if any(is_flapping(slot, around.policy.delay_seconds, runs_seconds) for slot in slots.values()):
            explanation = (
                f"it keeps dying: the swarm has restarted it {process.restarts} times; last, {process.last_exit}"
            )
            process = msgspec.structs.replace(process, flapping=True, explanation=explanation)
            until = min(until or math.inf, process.started + FLAPPING_SECONDS)
    return process, until


def is_update_paused(service: Mapping[str, Any]) -> bool:
    """Whether the swarm has stopped an update halfway."""
    return str((service.get("UpdateStatus") or {}).get("State", "")).endswith("paused")


def _make_idle(common: Process, tasks: Sequence[SwarmTask], found: Mapping[str, str], around: Circumstances) -> Process:
    """The process of a plugin that is not wanted."""
    queued = found.get(labels.QUEUED, "")
    common = msgspec.structs.replace(common, queued=queued if queued in ("boot", "asked") else "")
    alive = [task for task in tasks if is_alive(task)]
    obedient = [task for task in alive if not around.is_lost(task)]
    if alive:
        task = (obedient or alive)[-1]
        state = ProcessState.STOPPING if obedient else ProcessState.UNKNOWN
        explanation = "" if obedient else around.explain_loss(task)
        process = msgspec.structs.replace(common, state=state, explanation=explanation)
        return _describe(process, task, around)
    if common.queued:
        return common
    if failed := found.get(labels.FAILED, ""):
        reason = failed if failed.startswith(NOT_STARTED) else f"{NOT_STARTED}: {failed}"
        return msgspec.structs.replace(common, state=ProcessState.FATAL, spawn_error=reason)
    if (reason := read_ended(found).reason) and common.last_exit is not None:
        return msgspec.structs.replace(common, state=ProcessState.EXITED, spawn_error=reason)
    return common


def _judge_all(tasks: Sequence[SwarmTask], replicas: int, around: Circumstances) -> list[Replica]:
    """The replicas that are wanted, by their slots."""
    slots: dict[int | str, list[SwarmTask]] = {}
    for task in tasks:
        slots.setdefault(group_key(task), []).append(task)
    # a slot that is given up when there are fewer replicas still has its tasks for a while
    kept = [slot for slot in slots.values() if any(is_wanted(task) for task in slot)]
    others = [slot for slot in slots.values() if not any(is_wanted(task) for task in slot)]
    others = [slot for slot in others if slot[-1].desired != "remove"]
    chosen = sorted([*kept, *others][:replicas], key=lambda slot: (slot[-1].slot, slot[-1].id))
    judged = [judge_replica(slot, around) for slot in chosen]
    return judged if len(judged) == replicas else [*judged, judge_replica((), around)]  # for all that have no task yet


def _join(common: Process, replicas: Sequence[Replica], count: int, around: Circumstances) -> Process:
    """One process for all replicas: the worst of them, and the pid of the first that runs."""
    worst = min(replicas, key=lambda one: _WORST.index(one.state))
    running = [one for one in replicas if one.state is ProcessState.RUNNING]
    state, explanation = worst.state, worst.explanation
    shown = running[0].task if running else worst.task
    if running and len(running) < count:
        explanation = "; ".join(filter(None, [f"{len(running)} of {count} run", explanation]))
        if state in _ERRORS or (state is ProcessState.EXITED and worst.spawn_error):
            state = ProcessState.UNKNOWN  # an error, and alive
    launched = [one.task for one in replicas if one.task is not None]
    process = msgspec.structs.replace(
        common,
        state=state,
        explanation=explanation,
        spawn_error=worst.spawn_error,
        retry_at=worst.retry_at,
        start_pending=worst.start_pending,
        launches=max((_count_launches(task) for task in launched), default=0),
    )
    return _describe(process, shown, around) if shown is not None else process


def _describe(process: Process, task: SwarmTask, around: Circumstances) -> Process:
    """A process with what is known of its task."""
    return msgspec.structs.replace(
        process,
        pid=max(0, task.pid) if is_alive(task) else 0,
        started=around.running_since.get(task.id, 0.0) if is_alive(task) else 0.0,
        node=around.name_node(task) or process.node,
        launches=process.launches or _count_launches(task),
    )


def _count_launches(task: SwarmTask) -> int:
    """The number of a task's launch, larger than those of the tasks before it."""
    return max(0, int(task.created.timestamp() * 1000))
