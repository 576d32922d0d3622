"""Start, stop and reload of a plugin that obeys."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Protocol

from benchmarks.figure import Figure, Sample
from benchmarks.stage import Client
from benchmarks.supervised import ORDINARY, QUICK, Supervised
from benchmarks.turns import Times, take_turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.ours import Ours
    from benchmarks.stage import Stage
    from benchmarks.stock import Stock

TRIES = 100
SECONDS_PER_WAY = 5.0
SLOW_SECONDS_PER_WAY = 4.0
"""With startsecs at its default of 1 every try takes longer than that."""


class Way(Protocol):
    """One way to have a program started, stopped and reloaded; each method returns when that is done."""

    name: str

    @property
    def supervised(self) -> Supervised:
        """Whose programs they are."""

    def start(self, name: str) -> None:
        """Start a program that is stopped."""

    def stop(self, name: str) -> None:
        """Stop a program that runs."""

    def reload(self, name: str) -> None:
        """Stop and start a program that runs, and wait until it runs again."""


class Api:
    """Plugvisor's API."""

    name = "ours"

    def __init__(self, ours: Ours) -> None:
        self.supervised = ours
        self._client = Client(ours.port)

    def start(self, name: str) -> None:
        """It answers when the process has been spawned."""
        self._client.post(f"/plugin/{name}/start")

    def stop(self, name: str) -> None:
        """It answers when the process is gone."""
        self._client.post(f"/plugin/{name}/stop")

    def reload(self, name: str) -> None:
        """It answers when the program is running."""
        self._client.post(f"/plugin/{name}/reload")


class XmlRpc:
    """supervisord's own methods, which wait by themselves."""

    name = "stock supervisord, XML-RPC with wait=True"

    def __init__(self, stock: Stock) -> None:
        self.supervised = stock

    def start(self, name: str) -> None:
        """It answers when the program is running."""
        self.supervised.rpc.startProcess(name, True)

    def stop(self, name: str) -> None:
        """It answers when the process is gone."""
        self.supervised.rpc.stopProcess(name, True)

    def reload(self, name: str) -> None:
        """Two calls."""
        self.stop(name)
        self.start(name)


class Supervisorctl:
    """The command, with all that it takes to start it."""

    name = "stock supervisord, supervisorctl"

    def __init__(self, stock: Stock) -> None:
        self.supervised = stock
        self._ctl = stock.ctl

    def start(self, name: str) -> None:
        """It returns when the program is running."""
        self._ctl("start", name)

    def stop(self, name: str) -> None:
        """It returns when the process is gone."""
        self._ctl("stop", name)

    def reload(self, name: str) -> None:
        """It returns when the program is running."""
        self._ctl("restart", name)


def measure_changes(stage: Stage) -> Iterator[Figure]:
    """Milliseconds of start, stop and reload, with `startsecs` 0 and with the default."""
    api, xml_rpc, supervisorctl = Api(stage.ours), XmlRpc(stage.stock), Supervisorctl(stage.stock)
    quick = _run((api, xml_rpc, supervisorctl), QUICK, SECONDS_PER_WAY)
    for what in ("start", "stop", "reload"):
        shown = what if what == "stop" else f"{what}, startsecs 0"
        for other in (xml_rpc, supervisorctl):
            yield _compare(stage, shown, quick[api.name][what], other.name, quick[other.name][what])
    ordinary = _run((api, xml_rpc), ORDINARY, SLOW_SECONDS_PER_WAY)
    for what, shown in (
        ("start", "start, startsecs 1: ours answers when it is spawned, XML-RPC when it is running"),
        ("reload", "reload, startsecs 1"),
    ):
        yield _compare(stage, shown, ordinary[api.name][what], xml_rpc.name, ordinary[xml_rpc.name][what])


def _run(ways: tuple[Way, ...], program: str, seconds: float) -> dict[str, Times]:
    return take_turns({way.name: partial(_go_round, way, program) for way in ways}, TRIES, seconds)


def _go_round(way: Way, program: str) -> dict[str, float]:
    """Stop, start and reload a program that runs; milliseconds."""
    took = {}
    for what, change in (("stop", way.stop), ("start", way.start), ("reload", way.reload)):
        took[what] = time_call(partial(change, program))
        if what != "stop":
            way.supervised.wait_for_exec(program)  # until then a stock supervisord's SIGTERM may be lost
    return took


def time_call(call: Callable[[], object]) -> float:
    """Call it; returns the milliseconds that it took."""
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


def _compare(stage: Stage, what: str, ours: list[float], beside: str, other: list[float]) -> Figure:
    return Figure(what, stage.plugins, "ms", Sample.of(ours), beside, Sample.of(other))
