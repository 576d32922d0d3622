"""The plugins that the random test starts and stops: one of every behaviour; `hostile` and `lifecycle` have more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

OBEYS = """\
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
"""
WAITS = "while True:\n    signal.pause()\n"
_ESCAPES = """\
def escape(handler):
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        signal.signal(signal.SIGTERM, handler)
        while True:
            signal.pause()
    os.wait()
escape(signal.SIG_IGN)
escape(signal.SIG_DFL)
"""
_HAS_A_DEAF_CHILD = """\
if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        signal.pause()
"""
_RENAMES_ITSELF = """\
if sys.argv[0] != "-c":
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.execv(sys.executable, ["x) R 1 (", "-I", "-S", "-c", open("main.py").read()])
open("/proc/self/comm", "w").write("y) Z 1 1 (")
"""


@dataclass(frozen=True)
class Behaviour:
    """What a plugin does."""

    code: str
    supervisor: str = "startsecs = 0"
    runs_until_stopped: bool = True
    stops_soon: bool = True
    """Within a second or so."""
    requires: Mapping[str, str] = field(default_factory=dict)
    """The plugins that it depends on, and their conditions."""
    may_require: Mapping[str, str] = field(default_factory=dict)
    """What `rewire` adds to them now and then."""
    prefers: tuple[str, ...] = ()
    """The plugins that it depends on with `required = false`."""
    restart: str = "restart.delay = 0.1\nrestart.max_delay = 1"
    """By default a plugin that is killed again and again waits for up to 30 seconds, and what needs it waits too."""
    runtime: str = ""
    """More tables of the manifest; `ADDRESS` is replaced by an address of the plugin's own."""


PLUGINS = {
    "obedient": Behaviour(OBEYS + WAITS),
    "patient": Behaviour(OBEYS + WAITS, "startsecs = 1\nstopwaitsecs = 4"),
    "renamed": Behaviour(OBEYS + _RENAMES_ITSELF + WAITS),
    "slow": Behaviour(OBEYS.replace("sys.exit", "time.sleep(0.5) or sys.exit") + WAITS),
    "deaf": Behaviour(
        OBEYS.replace("lambda *_: sys.exit(0)", "signal.SIG_IGN") + WAITS, "stopwaitsecs = 2", stops_soon=False
    ),
    "failing": Behaviour("raise SystemExit(3)\n", "startretries = 2", runs_until_stopped=False),
    "crashing": Behaviour(
        OBEYS + "time.sleep(0.4)\nos._exit(3)\n", "startsecs = 0\nautorestart = true", runs_until_stopped=False
    ),
    "leaving": Behaviour(OBEYS + "time.sleep(0.4)\n", runs_until_stopped=False),
    "escaping": Behaviour(OBEYS + _ESCAPES + WAITS),
    "dropping": Behaviour(
        OBEYS + _ESCAPES + "time.sleep(0.4)\nos._exit(3)\n",
        "startsecs = 0\nautorestart = true",
        runs_until_stopped=False,
    ),
    "parent": Behaviour(OBEYS + _HAS_A_DEAF_CHILD + WAITS),
    "flooding": Behaviour(OBEYS + "while True:\n    print('x' * 10000)\n    time.sleep(0.005)\n"),
    "silent": Behaviour(OBEYS + "os.close(1)\nos.close(2)\n" + WAITS),
}
