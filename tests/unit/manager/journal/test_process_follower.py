"""What of a process is worth an entry, and what is known already."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from plugvisor.manager.journal.process_follower import ProcessFollower, find_start
from plugvisor.models.enforced_limits import AppliedLimits
from plugvisor.models.process import Exit, Process, ProcessState
from plugvisor.models.stored.journal import Facts, NewEntry
from plugvisor.store.store import Store
from plugvisor.store.tables.journal import StoredEntry, save

from tests.helpers.fake_engine import FakeEngine
from tests.helpers.scenarios import let_tasks_run, run_scenario

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

STOPPED, STARTING, RUNNING = ProcessState.STOPPED, ProcessState.STARTING, ProcessState.RUNNING
STOPPING, EXITED, FATAL = ProcessState.STOPPING, ProcessState.EXITED, ProcessState.FATAL
HOUR = 3600.0


class Notes:
    """Takes entries, in place of the recorder."""

    def __init__(self) -> None:
        self.entries: list[NewEntry] = []

    def note(self, entry: NewEntry) -> None:
        """Keep it."""
        self.entries.append(entry)

    @property
    def states(self) -> list[Any]:
        """The states of the entries about processes."""
        return [entry.facts.state for entry in self.entries if entry.kind == "state"]

    @property
    def service(self) -> list[Any]:
        """What happened to the engine."""
        services = [entry.facts for entry in self.entries if entry.kind == "service"]
        assert {facts.subject for facts in services} <= {FakeEngine.name}
        return [facts.verb for facts in services]


def run(
    folder: Path,
    scenario: Callable[[FakeEngine, Notes], Awaitable[Any]],
    known: StoredEntry | None = None,
    prepare: Callable[[FakeEngine], object] = lambda _engine: None,
) -> None:
    async def opened() -> None:
        store = Store(folder)
        await store.open()
        if known is not None:
            await store.write(lambda connection: save(connection, [known], 0))
        engine, notes = FakeEngine(announces=True), Notes()
        prepare(engine)
        follower = ProcessFollower(engine, notes, lambda _id, process: process.detail)  # type: ignore[arg-type]
        await follower.open(store, ["a"])
        await scenario(engine, notes)
        await follower.close()
        await store.close()
        assert engine.on_change == []

    run_scenario(opened())


def test_each_change_of_state_and_each_launch_is_an_entry(tmp_path: Path) -> None:
    async def scenario(engine: FakeEngine, notes: Notes) -> None:
        engine.set("a", STOPPED)
        engine.set("a", STARTING, launches=1)
        engine.set("a", RUNNING, launches=1)
        engine.set("a", RUNNING, launches=1, flapping=True, restarts=4)
        engine.set("a", RUNNING, launches=2)
        engine.set("a", STOPPING)
        engine.set("a", STOPPED, last_exit=Exit(5.0, signal="SIGTERM"))
        engine.set("a", STOPPED, orphans=True)
        assert notes.states == ["STARTING", "RUNNING", "RUNNING", "STOPPING", "STOPPED"]
        ended = notes.entries[-1].facts.last_exit
        assert not isinstance(ended, msgspec.UnsetType)
        assert ended.signal == "SIGTERM"
        assert all(entry.facts.last_exit is msgspec.UNSET for entry in notes.entries[:-1])
        engine.set("a", RUNNING, launches=3)
        assert notes.entries[-1].facts.last_exit is msgspec.UNSET

    run(tmp_path, scenario)


def test_a_plugin_that_waits_is_an_entry(tmp_path: Path) -> None:
    async def scenario(engine: FakeEngine, notes: Notes) -> None:
        engine.set("a", STOPPED)
        engine.set("a", STOPPED, queued="asked")
        assert [entry.facts.status for entry in notes.entries] == ["starting"]

    run(tmp_path, scenario)


@pytest.mark.parametrize(("reason", "limit"), [("memory limit", "memory"), ("processes limit", "processes")])
def test_an_exceeded_limit_is_an_entry_of_its_own(tmp_path: Path, reason: str, limit: str) -> None:
    async def scenario(engine: FakeEngine, notes: Notes) -> None:
        engine.set("a", RUNNING, launches=1, limits=AppliedLimits(memory=1024, processes=3))
        engine.set("a", EXITED, spawn_error="Bad exit code", last_exit=Exit(5.0, signal="SIGKILL", reason=reason))
        assert [entry.kind for entry in notes.entries] == ["state", "state", "limit"]
        facts = notes.entries[-1].facts
        assert facts.subject == limit
        assert not isinstance(facts.detail, msgspec.UnsetType)
        assert "limit of" in facts.detail
        engine.set("a", STARTING, launches=2)
        assert [entry.kind for entry in notes.entries][-1] == "state"

    run(tmp_path, scenario)


def test_a_plugin_that_is_gone_begins_anew(tmp_path: Path) -> None:
    async def scenario(engine: FakeEngine, notes: Notes) -> None:
        engine.set("a", RUNNING, launches=1)
        await engine.remove("a")
        engine.announce_all()
        engine.set("a", STOPPED)
        engine.set("a", RUNNING, launches=1)
        assert notes.states == ["RUNNING", "RUNNING"]

    run(tmp_path, scenario)


def test_an_engine_is_lost_once_and_back_once(tmp_path: Path) -> None:
    async def scenario(engine: FakeEngine, notes: Notes) -> None:
        engine.set("a", RUNNING, launches=1)
        await let_tasks_run()
        assert notes.service == []
        engine.is_live = False
        for _ in range(2):
            engine.announce_all()
        assert notes.service == ["lost"]
        engine.is_live = True
        engine.processes["a"] = msgspec.structs.replace(engine.processes["a"], state=EXITED)
        for _ in range(2):
            engine.announce_all()
            await let_tasks_run()
        assert notes.service == ["lost", "back"]
        assert notes.states == ["RUNNING", "EXITED"]

    run(tmp_path, scenario)


def test_another_supervisord_is_told_from_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(engine: FakeEngine, notes: Notes) -> None:
        await let_tasks_run()
        info = await engine.describe()

        async def describe() -> Any:
            return info._replace(pid=8) if hasattr(info, "_replace") else type(info)(info.name, info.version, 8, "x")

        monkeypatch.setattr(engine, "describe", describe)
        engine.is_live = False
        engine.announce_all()
        engine.is_live = True
        engine.announce_all()
        await let_tasks_run()
        assert notes.service == ["lost", "restarted"]

    run(tmp_path, scenario)


def test_it_is_back_though_it_never_said_who_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was frozen just after it had been asked."""

    async def scenario(engine: FakeEngine, notes: Notes) -> None:
        engine.is_live = False
        engine.announce_all()
        engine.is_live = True
        monkeypatch.undo()
        engine.announce_all()
        await let_tasks_run()
        assert notes.service == ["lost", "back"]

    async def hang() -> Any:
        await asyncio.Event().wait()

    run(tmp_path, scenario, None, lambda engine: monkeypatch.setattr(engine, "describe", hang))


# -- what the journal knows


def launch(state: ProcessState, ended_ago: float | None = None) -> Callable[[FakeEngine], object]:
    """A process that was started an hour ago, and has ended so many seconds ago."""

    def prepare(engine: FakeEngine) -> None:
        last_exit = Exit(time.time() - ended_ago, code=3) if ended_ago is not None else None
        engine.set("a", state, launches=1, started=time.monotonic() - HOUR, last_exit=last_exit)

    return prepare


def stop(engine: FakeEngine) -> None:
    """A process that was never started."""
    engine.set("a", STOPPED)


@pytest.mark.parametrize(
    ("prepare", "known", "seconds_ago", "expected"),
    [
        (lambda _: None, None, 0, None),
        (stop, None, 0, None),
        (stop, "STOPPED", 5 * HOUR, None),
        (stop, "RUNNING", 5 * HOUR, 0),
        (launch(RUNNING), None, 0, HOUR),
        (launch(RUNNING), "RUNNING", HOUR - 60, None),
        (launch(RUNNING), "RUNNING", HOUR + 60, HOUR),
        (launch(RUNNING), "STARTING", HOUR - 60, HOUR),
        (launch(EXITED, 600), "EXITED", 500, None),
        (launch(EXITED, 600), "EXITED", 700, 600),
        (launch(EXITED, 600), "RUNNING", 700, 600),
        (launch(FATAL, 600), "FATAL", 500, None),
    ],
)
def test_at_the_beginning_what_the_journal_does_not_know_is_an_entry(
    tmp_path: Path,
    prepare: Callable[[FakeEngine], object],
    known: Any,
    seconds_ago: float,
    expected: float | None,
) -> None:
    """Args: `expected`: how many seconds ago the entry says that it has happened; None if there is none."""

    async def scenario(engine: FakeEngine, notes: Notes) -> None:
        engine.announce_all()
        if expected is None:
            assert notes.entries == []
        else:
            [entry] = notes.entries
            assert entry.facts.state == engine.get("a").state.name
            assert abs(time.time() - expected - (entry.at or time.time())) < 30
        await let_tasks_run()

    at = time.time() - seconds_ago
    entry = StoredEntry(0, 0, at, at, 1, "state", "a", msgspec.json.encode(Facts(state=known))) if known else None
    run(tmp_path, scenario, entry, prepare)


def test_a_start_that_was_found_is_not_found_again(tmp_path: Path) -> None:
    """Its entry has the time of the start, which is converted from the monotonic clock, and not twice to the same."""
    started = time.monotonic() - HOUR

    async def scenario(engine: FakeEngine, notes: Notes) -> None:
        engine.announce_all()
        assert notes.entries == []
        await let_tasks_run()

    at = find_start(Process(ProcessState.RUNNING, 7, started)) - 0.001
    entry = StoredEntry(0, 0, at, at, 1, "state", "a", msgspec.json.encode(Facts(state="RUNNING")))
    run(tmp_path, scenario, entry, lambda engine: engine.set("a", RUNNING, launches=1, started=started))
