"""How the tasks of a plugin have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec

from plugvisor.engines.swarm.services import labels
from plugvisor.engines.swarm.watch.words import SIGKILL_CODE, UNHEALTHY, explain_error, name_signal
from plugvisor.models.process import Exit

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from plugvisor.engines.swarm.watch.answers import SwarmTask

_ENDED = frozenset({"complete", "failed", "shutdown"})
_NOT_STARTED = "starting container failed"


class Ended(NamedTuple):
    """That a check or a limit has ended a task, as the label says."""

    task_id: str = ""
    reason: str = ""


class _Last(msgspec.Struct, frozen=True):
    """Bounded, as anybody can write a label."""

    at: Annotated[float, msgspec.Meta(ge=0, le=1e11)]
    code: Annotated[int, msgspec.Meta(ge=-1, le=2**31)] | None = None
    signal: Annotated[str, msgspec.Meta(max_length=20)] | None = None
    node: Annotated[str, msgspec.Meta(max_length=253)] = ""


def _read_last(found: Mapping[str, str]) -> _Last | None:
    """Read the label LAST; None if there is none, or somebody has written it by hand."""
    try:
        return msgspec.json.decode(found.get(labels.LAST, ""), type=_Last)
    except (msgspec.DecodeError, RecursionError):
        return None


def read_ended(found: Mapping[str, str]) -> Ended:
    """Read the label ENDED."""
    parts = found.get(labels.ENDED, "").split(" ", 2)
    return Ended(parts[1], parts[2]) if len(parts) == 3 else Ended()


def find_last_exit(
    tasks: Sequence[SwarmTask], found: Mapping[str, str], out_of_memory: Collection[str] = ()
) -> Exit | None:
    """How the last process ended: of the tasks that are known, or of those before a stop, which a label remembers."""
    ended = read_ended(found)
    exits = [_make_exit(task, ended, out_of_memory) for task in tasks if has_exited(task)]
    if (last := _read_last(found)) is not None:
        exits.append(Exit(last.at, last.code, last.signal, ended.reason or None))
    return max(exits, key=lambda one: one.at, default=None)


def has_exited(task: SwarmTask) -> bool:
    """Whether a process of a task was started, and has ended."""
    status = task.status
    container = status.container_status
    has_run = container is not None and bool(container.id) and not status.err.startswith(_NOT_STARTED)
    return status.state in _ENDED and has_run


def _make_exit(task: SwarmTask, ended: Ended, out_of_memory: Collection[str]) -> Exit:
    container = task.status.container_status
    code = container.exit_code if container else 0
    reason = ended.reason if task.id == ended.task_id else ""
    if not reason and UNHEALTHY in task.status.err:
        reason = explain_error(task.status.err)
    if not reason and code == SIGKILL_CODE and task.id in out_of_memory:
        reason = "memory limit"
    at = max(0.0, task.status.timestamp.timestamp())
    if name := name_signal(code):
        return Exit(at, None, name, reason or None)
    return Exit(at, max(-1, code), None, reason or None)


def find_last_node(found: Mapping[str, str]) -> str:
    """The name of the node that a plugin ran on before it was stopped; empty if that is not known."""
    last = _read_last(found)
    return last.node if last is not None else ""
