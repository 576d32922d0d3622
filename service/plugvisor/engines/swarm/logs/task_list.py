"""The tasks of a service whose logs can be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_ENDED = frozenset(("complete", "failed", "shutdown", "rejected", "remove", "orphaned"))
_WITHOUT_LOG = frozenset(("new", "allocated", "pending", "assigned", "accepted", "preparing", "ready", "rejected"))
"""Asking for the log of such a task waits until it has one."""


@dataclass(frozen=True)
class LoggedTask:
    """A task with a log."""

    id: str
    has_ended: bool
    prefix: bytes = b""
    """Of each of its lines: `[<slot>@<node>] ` if its service has several replicas."""


def find_logged(tasks: Iterable[Mapping[str, Any]], nodes: Mapping[str, tuple[str, bool]]) -> list[LoggedTask]:
    """The tasks whose logs can be read now, oldest first.

    Args:
        tasks: as the Engine lists them.
        nodes: by id: a node's name, and whether it answers.
    """
    found = sorted(tasks, key=lambda task: str(task.get("CreatedAt", "")))
    has_replicas = any(task.get("Slot", 0) > 1 for task in found)
    logged = []
    for task in found:
        status = task.get("Status") or {}
        name, answers = nodes.get(task.get("NodeID", ""), ("", False))
        has_container = bool((status.get("ContainerStatus") or {}).get("ContainerID"))
        if answers and has_container and status.get("State") not in _WITHOUT_LOG:
            prefix = f"[{task.get('Slot', 0)}@{name}] ".encode() if has_replicas else b""
            logged.append(LoggedTask(task["ID"], status.get("State") in _ENDED, prefix))
    return logged
