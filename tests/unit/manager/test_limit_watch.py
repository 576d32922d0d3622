"""The watch: which plugins are measured, and which are ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.errors import StopTimeout, SupervisorUnavailable
from plugvisor.manager import limit_watch
from plugvisor.manager.limit_watch import LimitWatch
from plugvisor.metrics.tree_size import TreeSize
from plugvisor.models.enforced_limits import AppliedLimits
from plugvisor.models.process import ProcessState

from tests.helpers.fake_engine import FakeEngine
from tests.helpers.scenarios import run_scenario, wait_until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

RUNNING, STOPPED = ProcessState.RUNNING, ProcessState.STOPPED
WATCHED = AppliedLimits(memory=100, processes=5, enforced_by="watch", watched=("memory", "processes"))
SMALL, LARGE, CROWD = TreeSize(100, 5), TreeSize(101, 1), TreeSize(1, 6)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limit_watch, "INTERVAL_SECONDS", 0.01)
    monkeypatch.setattr(limit_watch, "CONFIRM_SECONDS", 0.01)


class Meter:
    """Returns the sizes that the test says, one after another, and the last one again and again."""

    def __init__(self, *sizes: TreeSize | None) -> None:
        self.sizes = list(sizes)
        self.measured: list[tuple[int, int]] = []

    def __call__(self, pid: int, memory_limit: int) -> TreeSize | None:
        """Return the next size."""
        self.measured.append((pid, memory_limit))
        return self.sizes.pop(0) if len(self.sizes) > 1 else self.sizes[0]


def run(meter: Meter, scenario: Callable[[FakeEngine, LimitWatch], Awaitable[Any]]) -> None:
    async def opened() -> None:
        engine = FakeEngine()
        watch = LimitWatch(engine, meter)
        watch.open()
        await scenario(engine, watch)
        await watch.close()
        assert engine.on_change == []
        assert asyncio.all_tasks() == {asyncio.current_task()}, "nothing is left behind"

    run_scenario(opened())


def change(engine: FakeEngine, state: ProcessState, limits: AppliedLimits | None = WATCHED, launches: int = 1) -> None:
    """Have a plugin be in a state, and announce it."""
    engine.set("a", state, limits=limits, launches=launches)
    for callback in engine.on_change:
        callback("a")


@pytest.mark.parametrize(("size", "reason"), [(LARGE, "memory limit"), (CROWD, "processes limit")])
def test_a_plugin_that_stays_above_a_limit_is_ended_once(size: TreeSize, reason: str) -> None:
    async def scenario(engine: FakeEngine, _watch: LimitWatch) -> None:
        change(engine, RUNNING)
        await wait_until(lambda: engine.ended)
        assert engine.ended == [("a", reason, "policy")]
        assert meter.measured == [(7, 100)] * 2
        change(engine, RUNNING)  # it takes its time
        change(engine, RUNNING, launches=2)
        await wait_until(lambda: len(engine.ended) == 2)

    meter = Meter(size)
    run(meter, scenario)


def test_a_plugin_above_its_limit_for_a_moment_is_not_ended() -> None:
    async def scenario(engine: FakeEngine, _watch: LimitWatch) -> None:
        change(engine, RUNNING)
        await wait_until(lambda: len(meter.measured) > 8)
        assert engine.ended == []

    meter = Meter(SMALL, LARGE, SMALL, LARGE, None, LARGE, SMALL)
    run(meter, scenario)


def test_samples_of_two_launches_do_not_add_up() -> None:
    async def scenario(engine: FakeEngine, _watch: LimitWatch) -> None:
        change(engine, RUNNING)
        await wait_until(lambda: len(meter.measured) == 1)
        change(engine, RUNNING, launches=2)
        await wait_until(lambda: len(meter.measured) > 3)
        assert engine.ended == []

    meter = Meter(LARGE, LARGE, SMALL)
    run(meter, scenario)


@pytest.mark.parametrize(
    "limits",
    [None, AppliedLimits(memory=100, enforced_by="cgroup"), AppliedLimits(cpus=1.0, unenforced=("cpus",))],
    ids=["no limits", "a group has them", "none that can be watched"],
)
def test_nothing_is_measured_without_a_limit_to_watch(limits: AppliedLimits | None) -> None:
    async def scenario(engine: FakeEngine, watch: LimitWatch) -> None:
        change(engine, RUNNING, limits)
        assert not watch.is_measuring
        assert asyncio.all_tasks() - {asyncio.current_task()} == set()

    run(Meter(LARGE), scenario)


def test_measuring_ends_with_the_last_plugin_that_is_watched() -> None:
    async def scenario(engine: FakeEngine, watch: LimitWatch) -> None:
        change(engine, RUNNING)
        assert watch.is_measuring
        change(engine, STOPPED)
        await wait_until(lambda: not watch.is_measuring)
        change(engine, RUNNING)
        assert watch.is_measuring

    run(Meter(SMALL), scenario)


@pytest.mark.parametrize("error", [SupervisorUnavailable("it is away"), StopTimeout("it is not stopped")])
def test_a_plugin_that_cannot_be_ended_is_tried_again(error: Exception) -> None:
    async def scenario(engine: FakeEngine, watch: LimitWatch) -> None:
        engine.errors["end"] = error
        change(engine, RUNNING)
        await engine.wait_called("end", "a", 2)
        engine.is_live = False  # and nothing can be read
        for callback in engine.on_change:
            callback(None)
        assert watch.is_measuring
        engine.is_live = True
        del engine.errors["end"]
        await wait_until(lambda: engine.ended)

    run(Meter(LARGE), scenario)


def test_a_launch_of_another_supervisord_is_another_although_it_has_the_same_number() -> None:
    async def scenario(engine: FakeEngine, _watch: LimitWatch) -> None:
        change(engine, RUNNING)
        await wait_until(lambda: engine.ended)
        engine.set("a", RUNNING, pid=8)
        for callback in engine.on_change:
            callback(None)
        await wait_until(lambda: len(engine.ended) == 2)

    run(Meter(LARGE), scenario)
