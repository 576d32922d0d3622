"""The pruner: what is too old, what is too much, and a clock that cannot be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.manager.journal import pruner as module
from plugvisor.manager.journal.pruner import TRUST_SECONDS, Pruner
from plugvisor.manager.journal.recorder import Recorder
from plugvisor.models.stored.journal import Facts, NewEntry
from plugvisor.store.store import Store
from plugvisor.store.tables.journal import sum_up

from tests.helpers.scenarios import run_scenario, wait_until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

DAY = 86400.0
YEAR = 365 * DAY


class Times:
    """Two clocks; time passes for both, and one can be set."""

    def __init__(self) -> None:
        self.now = 1e9
        self.monotonic = 100.0

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.monotonic += seconds


class Desk:
    """A journal and what prunes it."""

    def __init__(self, folder: Path, days: int, megabytes: int) -> None:
        self.times = Times()
        self.store = Store(folder)
        self.recorder = Recorder(self.store, lambda: self.times.now)
        clocks = {"now": lambda: self.times.now, "monotonic": lambda: self.times.monotonic}
        self.pruner = Pruner(self.store, self.recorder, days, megabytes, **clocks)

    async def note(self, count: int, detail: str = "x") -> None:
        """Note so many entries, and have them stored."""
        for number in range(count):
            self.recorder.note(NewEntry("operation", Facts(detail=detail), f"p{number}"))
        await wait_until(lambda: not self.recorder.is_busy)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0)


def run(folder: Path, scenario: Callable[[Desk], Awaitable[Any]], days: int = 30, megabytes: int = 100) -> None:
    async def opened() -> None:
        desk = Desk(folder, days, megabytes)
        await desk.store.open()
        await desk.recorder.load()
        await scenario(desk)
        assert desk.recorder.entries == (await desk.store.read(sum_up)).entries
        await desk.recorder.close()
        await desk.store.close()

    run_scenario(opened())


def test_what_is_older_than_the_days_is_deleted(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.note(1200)
        desk.times.pass_by(20 * DAY)
        await desk.note(10)
        assert await desk.pruner.prune() == 0
        desk.times.pass_by(11 * DAY)
        assert await desk.pruner.prune() == 1200
        desk.times.pass_by(YEAR)
        assert await desk.pruner.prune() == 9, "the newest one is kept"

    run(tmp_path, scenario)


def test_at_the_beginning_nothing_is_too_old(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.note(10)
        desk.times.now += YEAR  # the service begins after a year
        pruner = Pruner(
            desk.store, desk.recorder, 30, 100, now=lambda: desk.times.now, monotonic=lambda: desk.times.monotonic
        )
        assert await pruner.prune() == 0
        desk.times.pass_by(TRUST_SECONDS)
        assert await pruner.prune() == 9

    run(tmp_path, scenario)


def test_a_clock_that_is_set_deletes_nothing_until_it_was_left_alone(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.note(10)
        desk.times.pass_by(2 * TRUST_SECONDS)
        desk.times.now += YEAR
        assert await desk.pruner.prune() == 0
        desk.times.pass_by(TRUST_SECONDS - 1)
        assert await desk.pruner.prune() == 0
        desk.times.now -= YEAR  # it was an error
        desk.times.pass_by(TRUST_SECONDS - 1)
        assert await desk.pruner.prune() == 0
        desk.times.pass_by(TRUST_SECONDS)
        assert await desk.pruner.prune() == 0
        desk.times.now += YEAR
        assert await desk.pruner.prune() == 0
        desk.times.pass_by(TRUST_SECONDS)
        assert await desk.pruner.prune() == 9

    run(tmp_path, scenario)


def test_a_journal_that_is_too_large_shrinks_whatever_the_clock_says(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.note(3000, "x" * 1000)
        before = (await desk.store.read(sum_up)).size_bytes
        assert before > 3_000_000
        deleted = await desk.pruner.prune()
        after = await desk.store.read(sum_up)
        assert after.size_bytes <= 1_000_000
        assert 0 < after.entries == 3000 - deleted
        assert await desk.pruner.prune() == 0

    run(tmp_path, scenario, megabytes=1)


def test_it_prunes_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INTERVAL_SECONDS", 0.01)

    async def scenario(desk: Desk) -> None:
        desk.pruner.open()
        await desk.note(3000, "x" * 1000)
        await wait_until(lambda: 1 < desk.recorder.entries < 1000, "the journal to be small")
        await desk.pruner.close()

    run(tmp_path, scenario, megabytes=1)
