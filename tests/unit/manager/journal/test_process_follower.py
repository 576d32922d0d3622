"""What of a process is worth an entry, and what is known already."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from plugvisor.manager.journal.process_follower import ProcessFollower
from plugvisor.models.process import AppliedLimits, Exit, ProcessState
from plugvisor.models.stored.journal import Facts, NewEntry
from plugvisor.store.journal import StoredEntry, save
from plugvisor.store.store import Store

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
        """What happened to supervisord."""
        return [entry.facts.verb for entry in self.entries if entry.kind == "service"]


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


def test_supervisord_is_lost_once_and_back_once(tmp_path: Path) -> None:
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


# -- what the journal knows


def make_known(state: Any, until: float) -> StoredEntry:
    return StoredEntry(0, 0, until, until, 1, "state", "a", msgspec.json.encode(Facts(state=state)))


def launch(state: ProcessState, seconds_ago: float = HOUR, **fields: Any) -> Callable[[FakeEngine], object]:
    """A process that was started so long ago."""
    return lambda engine: engine.set("a", state, launches=1, started=time.monotonic() - seconds_ago, **fields)


@pytest.mark.parametrize(
    ("prepare", "known", "expected"),
    [
        (lambda _: None, None, []),
        (lambda engine: engine.set("a", STOPPED), None, []),
        (lambda engine: engine.set("a", STOPPED), make_known("STOPPED", 5.0), []),
        (lambda engine: engine.set("a", STOPPED), make_known("RUNNING", 5.0), ["STOPPED"]),
        (launch(RUNNING), None, ["RUNNING"]),
        (launch(RUNNING), make_known("RUNNING", time.time() - HOUR + 600), []),
        (launch(RUNNING), make_known("RUNNING", time.time() - 2 * HOUR), ["RUNNING"]),
        (launch(RUNNING), make_known("STARTING", time.time() - HOUR + 600), ["RUNNING"]),
        (launch(EXITED, last_exit=Exit(time.time() - 60, code=3)), make_known("EXITED", time.time() + 600), []),
        (launch(EXITED, last_exit=Exit(time.time() - 60, code=3)), make_known("EXITED", time.time() - 600), ["EXITED"]),
        (launch(EXITED, last_exit=Exit(time.time() - 60, code=3)), make_known("RUNNING", time.time() - 600), ["EXITED"]),
        (launch(FATAL, last_exit=Exit(time.time() - 60, code=3)), make_known("FATAL", time.time() + 600), []),
    ],
)
def test_at_the_beginning_what_the_journal_does_not_know_is_an_entry(
    tmp_path: Path, prepare: Callable[[FakeEngine], object], known: StoredEntry | None, expected: list[str]
) -> None:
    async def scenario(engine: FakeEngine, notes: Notes) -> None:
        assert notes.states == expected
        for entry in notes.entries:
            if entry.facts.state == "RUNNING":
                assert abs(time.time() - HOUR - entry.at) < 60, "it says when the process was started"
            if entry.facts.state == "EXITED":
                assert abs(time.time() - 60 - entry.at) < 30, "it says when the process has ended"
        engine.announce_all()
        assert notes.states == expected
        await asyncio.sleep(0)

    run(tmp_path, scenario, known, prepare)
