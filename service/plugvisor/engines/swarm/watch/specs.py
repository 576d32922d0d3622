"""The parts of a service's spec that its process shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plugvisor.engines.swarm.watch.replicas import Policy
from plugvisor.models.enforced_limits import AppliedLimits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plugvisor.engines.swarm.watch.answers import SwarmTask

_DEFAULT_DELAY = 5_000_000_000


def read_policy(template: Mapping[str, Any]) -> Policy:
    """When the swarm starts a task again."""
    policy = template.get("RestartPolicy") or {}
    return Policy(policy.get("Condition") or "any", policy.get("Delay", _DEFAULT_DELAY) / 1e9)


def read_replicas(spec: Mapping[str, Any]) -> int:
    """How many replicas are wanted; 1 for a service that somebody has made without this number."""
    replicated = (spec.get("Mode") or {}).get("Replicated")
    return int(replicated.get("Replicas", 1)) if replicated is not None else 1


def make_remains(task: SwarmTask) -> Mapping[str, Any]:
    """The stand-in for a service that was deleted and still has tasks: none of them is wanted."""
    period = task.spec.container_spec.stop_grace_period
    container = {} if period is None else {"StopGracePeriod": period}
    return {"Spec": {"TaskTemplate": {"ContainerSpec": container}, "Mode": {"Replicated": {"Replicas": 0}}}}


def read_limits(template: Mapping[str, Any]) -> AppliedLimits | None:
    """The limits of its processes, which the nodes' kernels enforce; None if it has none."""
    limits = (template.get("Resources") or {}).get("Limits") or {}
    ulimits = (template.get("ContainerSpec") or {}).get("Ulimits") or []
    open_files = next((one.get("Soft", 0) for one in ulimits if one.get("Name") == "nofile"), 0)
    memory, cpus, processes = limits.get("MemoryBytes", 0), limits.get("NanoCPUs", 0) / 1e9, limits.get("Pids", 0)
    if not (memory or cpus or processes or open_files):
        return None
    return AppliedLimits(
        memory=memory,
        cpus=cpus,
        processes=processes,
        open_files=open_files,
        enforced_by="cgroup" if memory or cpus or processes else "rlimit",
    )


def read_seconds(value: str) -> float:
    """A label's number of seconds; 1 if it has none that is of use."""
    try:
        return max(0.0, min(float(value), 86400.0))
    except ValueError:
        return 1.0
