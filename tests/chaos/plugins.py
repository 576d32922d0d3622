"""The plugins of the random test: one of every character."""

from __future__ import annotations

from dataclasses import dataclass

_OBEYS = """\
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
"""
_WAITS = "while True:\n    signal.pause()\n"
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
    os.execv(sys.executable, ["x) R 1 (", "-c", open("main.py").read()])
open("/proc/self/comm", "w").write("y) Z 1 1 (")
"""


@dataclass(frozen=True)
class Character:
    """How a plugin behaves."""

    code: str
    supervisor: str = "startsecs = 0"
    is_steady: bool = True
    """It runs until it is stopped."""
    is_quick: bool = True
    """It stops within a second or so."""


CAST = {
    "obedient": Character(_OBEYS + _WAITS),
    "patient": Character(_OBEYS + _WAITS, "startsecs = 1\nstopwaitsecs = 8"),
    "renamed": Character(_OBEYS + _RENAMES_ITSELF + _WAITS),
    "slow": Character(_OBEYS.replace("sys.exit", "time.sleep(0.7) or sys.exit") + _WAITS),
    "deaf": Character(
        _OBEYS.replace("lambda *_: sys.exit(0)", "signal.SIG_IGN") + _WAITS, "stopwaitsecs = 6", is_quick=False
    ),
    "failing": Character("raise SystemExit(3)\n", "startretries = 2", is_steady=False),
    "crashing": Character(
        _OBEYS + "time.sleep(0.4)\nos._exit(3)\n", "startsecs = 0\nautorestart = true", is_steady=False
    ),
    "leaving": Character(_OBEYS + "time.sleep(0.4)\n", is_steady=False),
    "escaping": Character(_OBEYS + _ESCAPES + _WAITS),
    "dropping": Character(
        _OBEYS + _ESCAPES + "time.sleep(0.4)\nos._exit(3)\n", "startsecs = 0\nautorestart = true", is_steady=False
    ),
    "parent": Character(_OBEYS + _HAS_A_DEAF_CHILD + _WAITS),
    "flooding": Character(_OBEYS + "while True:\n    print('x' * 10000)\n    time.sleep(0.005)\n"),
    "silent": Character(_OBEYS + "os.close(1)\nos.close(2)\n" + _WAITS),
}
