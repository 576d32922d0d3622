"""How soon the death of a plugin is known, and how soon it runs again."""

from __future__ import annotations

import json
import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.machine import read_children
from benchmarks.result import Goal, Result, Sample
from benchmarks.rounds import run_alternately
from benchmarks.systems.plugvisor_stack import ApiClient
from benchmarks.systems.supervisord import INSTANT_PLUGIN, Supervisord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.testbed import Testbed

ROUNDS = 30
SECONDS = 6.0
PAUSE_SECONDS = 0.001
TIMEOUT_SECONDS = 30.0
GOAL_RESTART_MS = 5.0
"""With 10 plugins."""

PLAIN = "supervisord without Plugvisor"


def measure_crashes(testbed: Testbed) -> Iterator[Result]:
    """From SIGKILL until a read shows it, until supervisord has reaped it unasked, and until the new process exists.

    The plugins have a `restart.delay` of 0; a supervisord without Plugvisor knows no delay.

    Each read wakes a supervisord without Plugvisor, which then reaps: a client that polls sees a death sooner than
    supervisord would have noticed it. So both are measured.
    """
    client = ApiClient(testbed.plugvisor.port)

    def read_by_api() -> int:
        status: dict[str, int] = json.loads(client.get(f"/plugin/status?plugin_id={INSTANT_PLUGIN}"))
        return status.get("pid", 0)

    plain = testbed.plain_supervisord
    methods = {
        "plugvisor": partial(_measure_round, testbed.plugvisor, read_by_api),
        PLAIN: partial(_measure_round, plain, partial(plain.read_pid, INSTANT_PLUGIN)),
    }
    measured = run_alternately(methods, ROUNDS, SECONDS)
    for name, key, summarize, goal in (
        ("SIGKILL until a read shows it, polled", "shown", Sample.of, None),
        ("SIGKILL until supervisord has reaped it, not polled, mean", "reaped", Sample.mean, None),
        ("SIGKILL until the new process exists, restart.delay 0", "restarted", Sample.of, GOAL_RESTART_MS),
    ):
        value, reference = (summarize(measured[method][key]) for method in ("plugvisor", PLAIN))
        limit = Goal(goal) if goal and testbed.plugins == 10 else None
        yield Result(name, testbed.plugins, "ms", value, PLAIN, reference, goal=limit)


def _measure_round(supervisord: Supervisord, read: Callable[[], int]) -> dict[str, float]:
    """Kill the program three times, and wait for something else each time; milliseconds."""
    milliseconds = {}
    for what in ("shown", "reaped", "restarted"):
        pid = supervisord.wait_for_exec(INSTANT_PLUGIN)
        known = {*read_children(supervisord.pid)}
        began = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        if what == "shown":
            _wait_until(lambda pid=pid: read() != pid, PAUSE_SECONDS)  # type: ignore[misc]
        elif what == "reaped":
            zombie = Path("/proc") / str(pid)
            _wait_until(lambda zombie=zombie: not zombie.exists(), 0)  # type: ignore[misc]
        else:
            _wait_until(lambda known=known: not known.issuperset(read_children(supervisord.pid)), 0)  # type: ignore[misc]
        milliseconds[what] = (time.perf_counter() - began) * 1000
        _wait_until(lambda pid=pid: supervisord.read_pid(INSTANT_PLUGIN) not in (pid, 0), PAUSE_SECONDS)  # type: ignore[misc]
    return milliseconds


def _wait_until(condition: Callable[[], bool], pause_seconds: float) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{INSTANT_PLUGIN} does not die, or does not come back")
        if pause_seconds:
            time.sleep(pause_seconds)
