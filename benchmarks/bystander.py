"""How long somebody else waits for supervisord while one program is replaced."""

from __future__ import annotations

import threading
import time
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from benchmarks.changes import time_call
from benchmarks.figure import Figure, Sample
from benchmarks.stage import Client
from benchmarks.supervised import QUICK, Supervised
from benchmarks.turns import take_turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.stage import Stage

TRIES = 10
SECONDS_PER_WAY = 6.0
PAUSE_SECONDS = 0.001

STOCK = "stock supervisord, what supervisorctl update does"


class Bystander:
    """Calls getPID again and again in a thread of its own, between `with` and the end of it."""

    def __init__(self, supervised: Supervised) -> None:
        self.longest_ms = 0.0
        self._rpc = supervised.connect()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> Bystander:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._is_over.wait(PAUSE_SECONDS):
            self.longest_ms = max(self.longest_ms, time_call(self._rpc.getPID))


def measure_bystander(stage: Stage) -> Iterator[Figure]:
    """Reload of one plugin whose manifest has changed: how long it takes, and how long others wait."""
    client = Client(stage.ours.port)
    ways = {
        "ours": partial(_change, stage.ours, partial(client.post, f"/plugin/{QUICK}/reload"), count(11)),
        STOCK: partial(_change, stage.stock, partial(_update, stage.stock.rpc), count(11)),
    }
    measured = take_turns(ways, TRIES, SECONDS_PER_WAY)
    for what, key in (
        ("reload with a changed manifest, startsecs 0", "took"),
        ("reload with a changed manifest: the longest wait of another XML-RPC caller", "waited"),
    ):
        ours, stock = (Sample.of(measured[name][key]) for name in ("ours", STOCK))
        yield Figure(what, stage.plugins, "ms", ours, STOCK, stock)


def _change(supervised: Any, apply: Callable[[], object], numbers: Iterator[int]) -> dict[str, float]:
    supervised.wait_for_exec(QUICK)
    supervised.change_program(QUICK, stopwaitsecs=next(numbers))
    with Bystander(supervised) as bystander:
        time.sleep(0.05)
        took = time_call(apply)
        supervised.wait_for_exec(QUICK)
    return {"took": took, "waited": bystander.longest_ms}


def _update(rpc: Any) -> None:
    rpc.reloadConfig()
    rpc.stopProcessGroup(QUICK)
    rpc.removeProcessGroup(QUICK)
    rpc.addProcessGroup(QUICK)
    while not rpc.getProcessInfo(QUICK)["pid"]:
        time.sleep(PAUSE_SECONDS)
