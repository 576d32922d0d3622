"""Changes of a service's spec."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from plugvisor.engines.swarm.services import labels
from plugvisor.models.process import Asked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plugvisor.engines.swarm.carriers.carrier import Carried
    from plugvisor.engines.swarm.services.program import SwarmProgram

    Spec = dict[str, Any]

REMEMBERED = (labels.QUEUED, labels.FAILED, labels.ENDED)
"""Labels that the next start or stop removes."""


def apply_program(spec: Mapping[str, Any] | None, program: SwarmProgram, carried: Carried) -> Spec:
    """The spec of a plugin's program, without replicas; labels of others are kept.

    Args:
        spec: as it is; None: there is no service yet.
    """
    made: Spec = json.loads(program.spec)
    if spec is not None:
        made["Labels"] = {**spec.get("Labels", {}), **made["Labels"]}
        made["TaskTemplate"]["ForceUpdate"] = spec["TaskTemplate"].get("ForceUpdate", 0)
        made["Mode"] = spec["Mode"]
    made["Labels"] |= {labels.DIGEST: program.digest, labels.CARRIER: carried.label}
    container = made["TaskTemplate"]["ContainerSpec"]
    container["Image"] = carried.image
    container["Configs"] = list(carried.configs)
    container["Secrets"] = list(carried.secrets)
    return made


def get_replicas(spec: Mapping[str, Any]) -> int:
    """How many replicas are wanted now."""
    replicas: int = spec.get("Mode", {}).get("Replicated", {}).get("Replicas", 0)
    return replicas


def find_replicas(spec: Mapping[str, Any]) -> int:
    """How many replicas a service has when it is started."""
    text = spec["Labels"].get(labels.REPLICAS, "")
    return int(text) if text.isdecimal() and len(text) <= 5 and int(text) else 1


def set_replicas(spec: Spec, replicas: int, queued: str = "") -> Spec:
    """Have a service started or stopped, or queued; what is remembered of its last run ends.

    Args:
        queued: the label's value: it has to wait.
    """
    spec["Mode"] = {"Replicated": {"Replicas": replicas}}
    for name in REMEMBERED:
        spec["Labels"].pop(name, None)
    if queued:
        spec["Labels"][labels.QUEUED] = queued
    return note_replicas(spec)


def start_replicas(spec: Spec, replicas: int) -> Spec:
    """Have a service started, or every task replaced.

    Its tasks then differ from those before, of which a node that was lost may have left some.
    """
    return set_replicas(force_update(spec), replicas)


def note_replicas(spec: Spec) -> Spec:
    """Note how many replicas are wanted now, and since when."""
    spec["Labels"][labels.WANTED_AT] = f"{time.time():.6f} {get_replicas(spec)}"
    return spec


def read_noted_replicas(spec: Mapping[str, Any]) -> int | None:
    """How many replicas the service has asked for last; None if that is not noted."""
    text = spec["Labels"].get(labels.WANTED_AT, "").rpartition(" ")[2]
    return int(text) if text.isdecimal() and len(text) <= 5 else None


def force_update(spec: Spec) -> Spec:
    """Have every task replaced."""
    task = spec["TaskTemplate"]
    task["ForceUpdate"] = task.get("ForceUpdate", 0) + 1
    return spec


def read_asked(found: Mapping[str, str]) -> Asked | None:
    """The last request that did not come from the service, by a plugin's labels; None if there was none."""
    at, _, wanted = found.get(labels.ASKED, "").partition(" ")
    try:
        seconds = float(at)
    except ValueError:
        return None
    if not 0 <= seconds <= 1e11 or wanted not in ("running", "stopped"):
        return None
    return Asked("running" if wanted == "running" else "stopped", at[:64], seconds, "docker")
