"""The recorder, with a real database: what becomes one entry, and what becomes of it while nothing can be stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec import UNSET
from plugvisor.errors import StoreUnavailable
from plugvisor.manager.journal import recorder as module
from plugvisor.manager.journal.recorder import WINDOW_SECONDS, Recorder
from plugvisor.models.plugin import LastExit
from plugvisor.models.stored.journal import LONGEST_COUNT_SECONDS, Facts, NewEntry
from plugvisor.store.store import Store
from plugvisor.store.tables.journal import Filter, StoredEntry, read_page

from tests.helpers.scenarios import let_tasks_run, run_scenario, wait_until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    import msgspec


class Clock:
    """A time that the test sets."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


class FailingStore(Store):
    """A store that can be made unavailable."""

    is_failing = False
    broken_file = ""

    @property
    def set_aside(self) -> str:
        """What the test says."""
        return self.broken_file

    async def write(self, work: Any) -> Any:
        """Write, unless the test says otherwise."""
        if self.is_failing:
            raise StoreUnavailable("not now")
        return await super().write(work)


class Desk:
    """A recorder at work."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.store = FailingStore(folder)
        self.recorder = Recorder(self.store, self.clock)
        self.saved: list[StoredEntry] = []
        self.recorder.on_saved.append(self.saved.extend)

    async def read(self) -> list[StoredEntry]:
        """Everything that is stored, oldest first."""
        await wait_until(lambda: not self.recorder.is_busy, "the recorder to be idle")
        return (await self.store.read(lambda connection: read_page(connection, Filter(), 100_000, None)))[::-1]


def run(folder: Path, scenario: Callable[[Desk], Awaitable[Any]]) -> None:
    async def opened() -> None:
        desk = Desk(folder)
        await desk.store.open()
        await desk.recorder.load()
        await scenario(desk)
        await desk.recorder.close()
        await desk.store.close()

    run_scenario(opened())


def make_state(
    state: Any, plugin_id: str = "a", detail: str | msgspec.UnsetType = UNSET, code: int | None = None
) -> NewEntry:
    ended = UNSET if code is None else LastExit(code=code, at=f"2026-01-01T00:00:0{code}.000000+00:00")
    return NewEntry("state", Facts(state=state, last_exit=ended, detail=detail), plugin_id)


def test_what_happens_is_stored_in_its_order(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        for state in ("STARTING", "RUNNING", "EXITED"):
            desk.recorder.note(make_state(state))
        desk.recorder.note(NewEntry("service", Facts(subject="x"), at=5.0))
        entries = await desk.read()
        assert [entry.facts for entry in entries] == [
            b'{"subject":"x"}',
            b'{"state":"STARTING"}',
            b'{"state":"RUNNING"}',
            b'{"state":"EXITED"}',
        ]
        assert [entry.at for entry in entries] == [5.0, 1e6, 1e6, 1e6]
        assert [entry.sequence for entry in desk.saved] == [1, 2, 3, 4]
        assert (desk.recorder.entries, desk.recorder.sequence) == (4, 4)
        assert desk.recorder.size_bytes > 0

    run(tmp_path, scenario)


def test_what_happens_again_and_again_is_counted_up_and_the_states_in_between_too(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        for number in range(40):
            for state in ("STARTING", "RUNNING", "EXITED"):
                desk.clock.now += 0.1
                desk.recorder.note(make_state(state, detail=f"time {number}"))
            if number % 10 == 0:
                await desk.read()
        entries = await desk.read()
        assert [(entry.times, entry.facts) for entry in entries] == [
            (40, b'{"state":"%b","detail":"time 39"}' % state) for state in (b"STARTING", b"RUNNING", b"EXITED")
        ]
        assert [round(entry.until - entry.at, 1) for entry in entries] == [11.7] * 3
        assert sorted(entry.sequence for entry in entries) == [*range(entries[0].sequence, entries[0].sequence + 3)]

    run(tmp_path, scenario)


def test_an_hour_of_a_hundred_crash_loops_is_small(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        for second in range(3600):
            desk.clock.now += 1
            for number in range(second % 6, 100, 6):
                for state in ("STARTING", "RUNNING", "EXITED"):
                    desk.recorder.note(make_state(state, f"plugin-{number}", "it keeps dying: " + "x" * 100))
            if second % 600 == 0:
                await desk.read()
        entries = await desk.read()
        assert len(entries) == 300
        assert min(entry.times for entry in entries) >= 599
        assert desk.recorder.size_bytes < 1_000_000

    run(tmp_path, scenario)


def test_an_unavailable_store_is_not_asked_more_often_for_what_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GATHER_SECONDS", 0.0)
    monkeypatch.setattr(module, "RETRY_SECONDS", 3600.0)

    async def scenario(desk: Desk) -> None:
        desk.store.is_failing = True
        desk.recorder.note(make_state("STARTING"))
        await wait_until(lambda: desk.recorder.failures, "the failure")
        await let_tasks_run()
        desk.recorder.note(make_state("RUNNING"))
        await let_tasks_run()
        assert desk.recorder.failures == 1
        desk.store.is_failing = False

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    "other",
    [
        make_state("RUNNING", "b"),
        make_state("EXITED"),
        make_state("RUNNING", code=1),
        NewEntry("check", Facts(state="RUNNING"), "a"),
        NewEntry("state", Facts(state="RUNNING", health="healthy"), "a"),
    ],
)
def test_what_differs_is_another_entry(tmp_path: Path, other: NewEntry) -> None:
    async def scenario(desk: Desk) -> None:
        desk.recorder.note(make_state("RUNNING"))
        desk.recorder.note(other)
        assert [entry.times for entry in await desk.read()] == [1, 1]

    run(tmp_path, scenario)


def test_each_request_is_an_entry(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        for _ in range(3):
            desk.recorder.note(NewEntry("operation", Facts(verb="start", request_id="same"), "a"))
        assert [entry.times for entry in await desk.read()] == [1, 1, 1]

    run(tmp_path, scenario)


def test_requests_that_are_forbidden_are_counted(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        for number, identity in enumerate(("eve", "mallory", "eve", "eve")):
            facts = Facts(identity=identity, verb="stop", outcome="forbidden", request_id=str(number))
            desk.recorder.note(NewEntry("operation", facts, "web"))
        assert sorted(entry.times for entry in await desk.read()) == [1, 3]

    run(tmp_path, scenario)


def test_an_exit_at_another_time_is_the_same(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        for second in (1, 2):
            ended = LastExit(code=3, at=f"2026-01-01T00:00:0{second}.000000+00:00")
            desk.recorder.note(NewEntry("state", Facts(state="EXITED", last_exit=ended), "a"))
        [entry] = await desk.read()
        assert entry.times == 2
        assert b"00:00:02" in entry.facts

    run(tmp_path, scenario)


def test_a_count_ends_after_a_while_without_and_after_its_longest_time(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.recorder.note(make_state("RUNNING"))
        desk.clock.now += WINDOW_SECONDS
        desk.recorder.note(make_state("RUNNING"))
        desk.clock.now += WINDOW_SECONDS + 1
        desk.recorder.note(make_state("RUNNING"))
        assert [entry.times for entry in await desk.read()] == [2, 1]
        for _ in range(30):
            desk.clock.now += WINDOW_SECONDS / 2
            desk.recorder.note(make_state("RUNNING"))
        entries = await desk.read()
        assert [entry.times for entry in entries] == [2, 25, 6]
        assert entries[1].until - entries[1].at == LONGEST_COUNT_SECONDS

    run(tmp_path, scenario)


def test_a_clock_that_is_set_back_begins_another_entry(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.recorder.note(make_state("RUNNING"))
        desk.clock.now -= 10
        desk.recorder.note(make_state("RUNNING"))
        assert [entry.times for entry in await desk.read()] == [1, 1]

    run(tmp_path, scenario)


def test_a_text_that_is_none_spoils_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(desk: Desk) -> None:
        desk.recorder.note(NewEntry("state", Facts(detail="\ud800"), "a"))
        desk.recorder.note(NewEntry("state", Facts(detail="fine"), "\ud800"))
        assert [(entry.plugin_id, entry.facts) for entry in await desk.read()] == [("?", b'{"detail":"fine"}')]

    run(tmp_path, scenario)
    assert "cannot note in the journal" in caplog.text


def test_a_long_detail_is_cut(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        for _ in range(2):
            desk.recorder.note(NewEntry("state", Facts(detail="ä" * 100_000), "a"))
            [entry] = await desk.read()
            assert len(entry.facts) < 5000

    run(tmp_path, scenario)


def test_what_the_store_does_not_take_is_stored_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)

    async def scenario(desk: Desk) -> None:
        desk.store.is_failing = True
        for state in ("STARTING", "RUNNING"):
            desk.clock.now += 1
            desk.recorder.note(make_state(state))
        await wait_until(lambda: desk.recorder.failures >= 2, "two attempts")
        desk.clock.now += 1
        desk.recorder.note(make_state("EXITED"))
        desk.recorder.note(make_state("STARTING"))
        assert desk.saved == []
        desk.store.is_failing = False
        entries = await desk.read()
        assert [(entry.times, entry.facts) for entry in entries] == [
            (2, b'{"state":"STARTING"}'),
            (1, b'{"state":"RUNNING"}'),
            (1, b'{"state":"EXITED"}'),
        ]

    run(tmp_path, scenario)


def test_what_there_is_no_room_for_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(module, "MOST_WAITING", 10)

    async def scenario(desk: Desk) -> None:
        desk.store.is_failing = True
        for number in range(25):
            desk.recorder.note(make_state("RUNNING", f"p{number}"))
        desk.store.is_failing = False
        await wait_until(lambda: len(desk.saved) == 11, "the entries")
        entries = await desk.read()
        assert [entry.plugin_id for entry in entries] == [*(f"p{number}" for number in range(10)), ""]
        assert b"15 entries were not kept" in entries[-1].facts

    run(tmp_path, scenario)


def test_what_was_stored_though_the_store_did_not_say_so_is_not_stored_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk did not answer in time, and has written it all the same."""
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)

    async def scenario(desk: Desk) -> None:
        desk.recorder.note(make_state("STARTING"))
        await desk.read()
        write = desk.store.write

        async def write_unnoticed(work: Any) -> Any:
            desk.store.write = write  # type: ignore[method-assign]
            await write(work)
            raise StoreUnavailable("the disk does not answer")

        desk.store.write = write_unnoticed  # type: ignore[method-assign]
        desk.clock.now += 1
        desk.recorder.note(make_state("STARTING"))
        desk.recorder.note(make_state("RUNNING"))
        desk.recorder.note(make_state("RUNNING", "b"))
        await wait_until(lambda: desk.recorder.failures, "the failure")
        desk.recorder.note(make_state("RUNNING"))
        entries = await desk.read()
        assert [(entry.plugin_id, entry.times) for entry in entries] == [("a", 2), ("a", 2), ("b", 1)]
        assert desk.recorder.entries == 3

    run(tmp_path, scenario)


def test_what_is_noted_last_is_stored_when_it_closes(tmp_path: Path) -> None:
    async def noting(desk: Desk) -> None:
        for number in range(2500):
            desk.recorder.note(make_state("RUNNING", f"p{number}"))

    async def reading(desk: Desk) -> None:
        assert desk.recorder.sequence == 2500
        await wait_until(lambda: desk.recorder.entries == 2500, "the entries to be counted")
        assert len(await desk.read()) == 2500

    run(tmp_path, noting)
    run(tmp_path, reading)


def test_a_database_that_is_replaced_by_a_copy_has_nothing_twice(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.recorder.note(make_state("RUNNING"))
        await desk.read()
        for callback in desk.store.on_replaced:
            callback()
        desk.recorder.note(make_state("RUNNING"))
        assert [(entry.kind, entry.times) for entry in await desk.read()] == [("state", 2), ("service", 1)]
        await wait_until(lambda: desk.recorder.entries == 2, "the entries to be counted")

    run(tmp_path, scenario)


def test_a_new_database_gets_what_happens_from_then_on(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.recorder.note(make_state("RUNNING"))
        await desk.read()

        def empty(connection: Any) -> None:
            connection.execute("DELETE FROM journal")

        await desk.store.write(empty)
        desk.store.broken_file = "plugvisor.db.broken"
        for callback in desk.store.on_replaced:
            callback()
        desk.recorder.note(make_state("RUNNING"))
        entries = await desk.read()
        assert {(entry.kind, entry.times) for entry in entries} == {("state", 2), ("service", 1)}
        assert any(b"plugvisor.db.broken" in entry.facts for entry in entries)
        assert desk.recorder.entries == 2
        assert min(entry.sequence for entry in entries) == 2
        for callback in desk.store.on_replaced:  # it is deleted later
            callback()
        assert any(b"removed or replaced" in entry.facts for entry in await desk.read())

    run(tmp_path, scenario)
