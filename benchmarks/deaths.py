"""How soon it is known that a plugin was killed."""

from __future__ import annotations

import json
import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.figure import Figure, Sample
from benchmarks.stage import Client
from benchmarks.supervised import QUICK, Supervised
from benchmarks.turns import take_turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.stage import Stage

TRIES = 30
SECONDS_PER_WAY = 6.0
PAUSE_SECONDS = 0.001
PATIENCE_SECONDS = 30.0

STOCK = "stock supervisord, XML-RPC getProcessInfo"


def measure_deaths(stage: Stage) -> Iterator[Figure]:
    """From SIGKILL until a read shows it, and until supervisord knows although nobody asks.

    Every read wakes a stock supervisord, which then looks for the dead: who asks all the time sees a
    death sooner than it would have been noticed otherwise. So both are measured. The end of the
    process's output wakes it too, but often a moment before there is a dead process to be found; then
    it takes up to a second.
    """
    client = Client(stage.ours.port)

    def read_ours() -> int:
        told: dict[str, int] = json.loads(client.get(f"/plugin/status?plugin_id={QUICK}"))
        return told.get("pid", 0)

    read_stock = partial(stage.stock.read_pid, QUICK)
    ways = {
        "ours": partial(_kill, stage.ours, read_ours),
        STOCK: partial(_kill, stage.stock, read_stock),
    }
    measured = take_turns(ways, TRIES, SECONDS_PER_WAY)
    for what, key, sum_up in (
        ("SIGKILL until a read shows it, asked again and again", "shown", Sample.of),
        ("SIGKILL until supervisord has noticed, asked by nobody, mean", "noticed", Sample.average),
    ):
        ours, stock = (sum_up(measured[name][key]) for name in ("ours", STOCK))
        yield Figure(what, stage.plugins, "ms", ours, STOCK, stock)


def _kill(supervised: Supervised, read: Callable[[], int]) -> dict[str, float]:
    """Kill the program twice, and each time wait until it is known; milliseconds."""
    took = {}
    for what in ("shown", "noticed"):
        pid = supervised.wait_for_exec(QUICK)
        began = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        if what == "shown":
            _wait_while((pid,), read)
        else:
            _wait_while((True,), (Path("/proc") / str(pid)).exists)  # it is a zombie until supervisord reaps it
        took[what] = (time.perf_counter() - began) * 1000
        _wait_while((pid, 0), partial(supervised.read_pid, QUICK))  # it is started again
    return took


def _wait_while(values: tuple[int, ...], read: Callable[[], int]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while read() in values:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{QUICK} does not die, or does not come back")
        time.sleep(PAUSE_SECONDS)
