"""How soon a plugin above its memory limit is started anew."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.result import Goal, Result, Sample
from benchmarks.systems.plugvisor_stack import make_manifest, start_plugvisor
from benchmarks.systems.supervisord import INSTANT_PLUGIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.systems.plugvisor_stack import ApiClient
    from benchmarks.testbed import Testbed

ROUNDS = 5
TIMEOUT_SECONDS = 30.0
POLL_SECONDS = 0.005
GROWS = """\
import os, signal, sys, time
def grow(*_):
    global memory
    memory = b"x" * (64 << 20)
    with open(sys.argv[1] + ".new", "w") as file:
        file.write(str(time.time()))
    os.rename(sys.argv[1] + ".new", sys.argv[1])
signal.signal(signal.SIGUSR1, grow)
while True:
    signal.pause()
"""
"""A plugin that takes 64 MiB when it is sent SIGUSR1, and then writes when."""


def measure_memory_limit(testbed: Testbed) -> Iterator[Result]:
    """From the moment that it is above its limit until a read shows why it was ended, and until it runs again."""
    with tempfile.TemporaryDirectory() as folder:
        grown = Path(folder) / "grown"
        command = (sys.executable, "-I", "-S", "-c", GROWS, str(grown))
        manifest = make_manifest(INSTANT_PLUGIN, command, '[plugin_runtime.limits]\nmemory = "32M"\n', restart="")
        with start_plugvisor({INSTANT_PLUGIN: manifest}) as stack:
            client = stack.connect_to_api()
            rounds = []
            for _ in range(ROUNDS):
                client.post(f"/plugin/{INSTANT_PLUGIN}/reload")  # its policy begins anew
                rounds.append(_measure_round(client, grown))
            enforced_by = _read_status(client)["limits"]["enforced_by"]
    known, restarted = zip(*rounds, strict=True)
    for what, seconds, goal in (("it is known", known, None), ("it runs again", restarted, Goal(3.0))):
        name = f"above its memory limit until {what}, tier {enforced_by}"
        yield Result(name, testbed.plugins, "s", Sample.of(seconds), goal=goal)


def _measure_round(client: ApiClient, grown: Path) -> tuple[float, float]:
    grown.unlink(missing_ok=True)
    pid = _read_status(client)["pid"]
    _wait_until(lambda: _handles(pid, signal.SIGUSR1))
    os.kill(pid, signal.SIGUSR1)
    _wait_until(lambda: "memory limit" in _read_status(client).get("last_exit", {}).get("reason", ""))
    known = time.time()
    _wait_until(lambda: _read_status(client).get("pid", pid) != pid)
    restarted = time.time()
    began = float(grown.read_text())
    return known - began, restarted - began


def _handles(pid: int, number: int) -> bool:
    status = (Path("/proc") / str(pid) / "status").read_text()
    return bool(int(status.partition("SigCgt:")[2].split()[0], 16) >> (number - 1) & 1)


def _read_status(client: ApiClient) -> dict[str, Any]:
    return client.read_statuses()[INSTANT_PLUGIN]


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{INSTANT_PLUGIN} is not ended, or does not come back")
        time.sleep(POLL_SECONDS)
