"""A manifest's options in the words of a service's spec; docs/cluster.md has the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from plugvisor.engines.swarm.services import labels
from plugvisor.models.lifecycle import LogOptions, Restart
from plugvisor.models.manifest import ManifestError, SupervisorOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plugvisor.models.lifecycle import Check, Limits
    from plugvisor.models.manifest import Manifest

SECOND = 1_000_000_000
"""Durations are in nanoseconds."""
SMALLEST_MEMORY = 4 * 1024 * 1024
"""The swarm takes no lower limit."""
LAUNCH_SECONDS = 1.0
"""How long a container takes to start, at most, if nothing holds it up."""
STARTUP_PERIOD_SECONDS = 1.0
"""Time from one check to the next until the first success."""
_CONDITIONS = {"true": "any", "unexpected": "on-failure", "false": "none"}
_DEFAULT_RESTART = Restart()
_DEFAULT_LOGS = LogOptions()
_DEFAULT_PRIORITY = SupervisorOptions().priority

EXEC_READY = "an `exec` check of level `ready` cannot be made on another node: use `http` or `tcp`, or level `alive`"


def check_manifest(manifest: Manifest) -> None:
    """Raise `ManifestError` for what a swarm cannot do, and what would make the plugin another one."""
    commands = {name: check for name, check in manifest.checks.items() if check.exec}
    for name, check in commands.items():
        if check.level == "ready":
            raise ManifestError(f"check {name!r}: {EXEC_READY}")
        if check.action != "restart":
            raise ManifestError(
                f"check {name!r}: a swarm restarts a plugin whose `exec` check is down: "
                "`on_failure` must be `restart`, or absent"
            )
    if len(commands) > 1:
        raise ManifestError(
            f"a swarm makes one `exec` check of a plugin, and there are {len(commands)}: put them into one command"
        )
    if 0 < manifest.limits.memory < SMALLEST_MEMORY:
        raise ManifestError("a swarm takes no memory limit below 4M")


def list_differences(manifest: Manifest) -> list[str]:
    """A sentence for each key that has no effect on a swarm, though the manifest gives it a value of its own."""
    restart, sentences = manifest.restart, []
    grows = (restart.factor, restart.max_delay, restart.reset_after)
    if grows != (_DEFAULT_RESTART.factor, _DEFAULT_RESTART.max_delay, _DEFAULT_RESTART.reset_after):
        sentences.append(
            "a swarm waits `delay` before each restart: `factor`, `max_delay` and `reset_after` are unused"
        )
    if manifest.supervisor.priority != _DEFAULT_PRIORITY:
        sentences.append("a swarm starts all plugins at once: `priority` is unused; use `depends_on`")
    if manifest.critical:
        sentences.append("a swarm shuts nothing down when a plugin is in error: `critical` is unused")
    if manifest.watch.paths:
        sentences.append("a swarm's plugins are not watched: `watch` is unused")
    return sentences


def make_restart_policy(manifest: Manifest) -> dict[str, Any]:
    """When the swarm starts a process that has ended again, and when it gives up.

    `max_restarts` and `window` are the swarm's own. Without them `startretries` is the number of restarts within the
    time that so many launches take if each ends before `startsecs`, so that a process that runs longer is restarted
    for ever. The swarm's 0 means any number, which is not what `startretries` 0 means: that is 1.
    """
    restart, options = manifest.restart, manifest.supervisor
    if restart.max_restarts:
        attempts, window = restart.max_restarts, restart.window
    else:
        attempts = max(1, options.startretries)
        window = (attempts + 1) * (options.startsecs + restart.delay + LAUNCH_SECONDS)
    return {
        "Condition": _CONDITIONS[options.autorestart],
        "Delay": _to_nanoseconds(restart.delay),
        "MaxAttempts": attempts,
        "Window": _to_nanoseconds(window),
    }


def make_limits(limits: Limits, own_processes: int) -> dict[str, int]:
    """`Resources.Limits`.

    Args:
        own_processes: how many in the container are not the plugin's.
    """
    values = {
        "MemoryBytes": limits.memory,
        "NanoCPUs": round(limits.cpus * 1e9),
        "Pids": limits.processes + own_processes if limits.processes else 0,
    }
    return {key: value for key, value in values.items() if value}


def make_healthcheck(checks: Mapping[str, Check], command: Sequence[str]) -> dict[str, Any]:
    """The check that each node makes; the image's own is of another program.

    Args:
        command: what runs a check, given its name.
    """
    for name, check in checks.items():
        if check.exec:
            return {
                "Test": ["CMD", *command, name],
                "Interval": _to_nanoseconds(check.period),
                "Timeout": _to_nanoseconds(check.timeout),
                "Retries": check.threshold,
                "StartPeriod": _to_nanoseconds(check.startup),
                # a task is `starting` until it passes; Engines before 25 know no other interval than that
                "StartInterval": _to_nanoseconds(min(check.period, STARTUP_PERIOD_SECONDS)),
            }
    return {"Test": ["NONE"]}


def make_placement(manifest: Manifest) -> dict[str, Any]:
    """On which nodes it runs."""
    placement: dict[str, Any] = {}
    if manifest.placement.constraints:
        placement["Constraints"] = [constraint.strip() for constraint in manifest.placement.constraints]
    if manifest.placement.max_per_node:
        placement["MaxReplicas"] = manifest.placement.max_per_node
    return placement


def make_log_driver(logs: LogOptions) -> dict[str, Any] | None:
    """How each node keeps what the plugin prints; None: as its Engine is configured."""
    if logs == _DEFAULT_LOGS:
        return None
    return {"Name": "json-file", "Options": {"max-size": str(logs.max_size), "max-file": str(logs.backups + 1)}}


def write_log_options(logs: LogOptions) -> str:
    """The label `labels.LOGS`."""
    return "" if logs == _DEFAULT_LOGS else f"{logs.max_size} {logs.backups}"


def read_log_options(spec: Mapping[str, Any]) -> LogOptions:
    """The log options in a service's label, or the default."""
    size, _, backups = (spec.get("Labels") or {}).get(labels.LOGS, "").partition(" ")
    try:
        return msgspec.convert({"max_size": size, "backups": backups}, LogOptions, strict=False)
    except msgspec.ValidationError:
        return _DEFAULT_LOGS


def _to_nanoseconds(seconds: float) -> int:
    return round(seconds * SECOND)
