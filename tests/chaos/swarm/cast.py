"""The plugins of a run, and how often each kind of operation and fault comes."""

from __future__ import annotations

from dataclasses import dataclass

_OBEYS = """\
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("ready", flush=True)
"""
_WAITS = "while True:\n    signal.pause()\n"


@dataclass(frozen=True)
class Behaviour:
    """What a plugin does."""

    code: str = _OBEYS + _WAITS
    supervisor: str = "startsecs = 0"
    runtime: str = ""
    """More of its manifest, inside `[plugin_runtime]`."""
    runs_until_stopped: bool = True
    stops_soon: bool = True
    replicas: int = 1
    requires: tuple[str, ...] = ()
    is_installed: bool = False
    """It comes in a package, and not by a folder that somebody writes."""


PLUGINS = {
    "alpha": Behaviour(),
    "beta": Behaviour(),
    "gamma": Behaviour(),
    "patient": Behaviour(supervisor="startsecs = 1\nstopwaitsecs = 4"),
    "slow": Behaviour(_OBEYS.replace("sys.exit", "time.sleep(0.5) or sys.exit") + _WAITS),
    "deaf": Behaviour(
        _OBEYS.replace("lambda *_: sys.exit(0)", "signal.SIG_IGN") + _WAITS,
        "startsecs = 0\nstopwaitsecs = 2",
        stops_soon=False,
    ),
    "twins": Behaviour(runtime="replicas = 2", replicas=2),
    "needing": Behaviour(requires=("alpha",)),
    "leaving": Behaviour(_OBEYS + "time.sleep(0.4)\n", runs_until_stopped=False),
    "packaged": Behaviour(is_installed=True),
    "failing": Behaviour("raise SystemExit(3)\n", "startretries = 2", runs_until_stopped=False),
}

WEIGHTS = {
    "start": 16, "stop": 11, "reload": 6, "bulk": 2, "hang-up": 2, "disable": 1, "enable": 2,
    "refresh": 3, "edit": 3, "break": 1, "repair": 2, "remove": 1, "add": 3,
    "kill": 4, "scale": 2, "rm": 1, "install": 1, "roll-back": 1,
    "read": 38,
}  # fmt: skip
"""How often each kind of operation is done, of the sum of all."""

FAULTS = {
    "none": 6, "kill-node": 1, "kill-leader": 1, "cut-node": 1, "cut-leader": 1,
    "drain": 1, "lose-quorum": 1, "freeze": 1, "kill-service": 2,
}  # fmt: skip
"""How often each kind of fault befalls a round."""

READS = (
    "/plugins",
    "/plugin/status",
    "/plugin/status?plugin_id={id}",
    "/plugin/{id}/health",
    "/plugin/{id}/logs?lines=20",
    "/available",
    "/nodes",
    "/server/info",
    "/metrics",
    "/journal?limit=20",
)
