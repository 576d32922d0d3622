"""The last lines: which logs are read, when, and what is known of them then."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import msgspec
from plugvisor.logs.files import LogFiles
from plugvisor.manager import last_lines
from plugvisor.manager.last_lines import LastLines, find_slot
from plugvisor.models.process import Exit, Process, ProcessState

from tests.helpers.fake_cluster import make_task
from tests.helpers.fake_engine import FakeEngine
from tests.helpers.scenarios import run_scenario, wait_until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    import pytest

FATAL, RUNNING, STOPPED = ProcessState.FATAL, ProcessState.RUNNING, ProcessState.STOPPED


class Engine(FakeEngine):
    """Its plugins have logs, which the test writes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(announces=True)
        self.folder = folder
        self.brought: list[str] = []
        self.opened: list[str] = []

    def open_log(self, plugin_id: str) -> LogFiles:
        self.opened.append(plugin_id)
        return LogFiles(self.folder, f"{plugin_id}.log")

    async def bring_log(self, plugin_id: str) -> None:
        self.brought.append(plugin_id)
        self.write(plugin_id, "ERROR: brought\n")

    def write(self, plugin_id: str, text: str) -> None:
        with (self.folder / f"{plugin_id}.log").open("a") as file:
            file.write(text)

    def run(self, plugin_id: str) -> None:
        launches = self.get(plugin_id).launches + 1
        self.set(plugin_id, RUNNING, started=time.monotonic(), launches=launches, spawn_error="")

    def crash(self, plugin_id: str, state: ProcessState = FATAL, **fields: Any) -> None:
        how = Exit(at=time.time(), code=3)
        self.set(plugin_id, state, last_exit=how, spawn_error="Exited too quickly", **fields)


def on_lines(folder: Path, scenario: Callable[[LastLines, Engine, list[str]], Awaitable[None]]) -> None:
    async def run() -> None:
        engine = Engine(folder)
        lines = LastLines(engine)
        found: list[str] = []
        lines.on_change.append(found.append)
        lines.open()
        await scenario(lines, engine, found)
        await lines.close()
        assert not engine.on_change

    run_scenario(run())


def test_a_line_is_known_as_long_as_it_says_why(tmp_path: Path) -> None:
    async def scenario(lines: LastLines, engine: Engine, found: list[str]) -> None:
        engine.run("a")
        engine.write("a", "ERROR: broken\n")
        engine.crash("a", ProcessState.BACKOFF)
        await wait_until(lambda: found == ["a"])
        backoff = engine.get("a")
        assert lines.get("a", backoff) == "broken"
        assert backoff.describe("its log may say why").count("its log may say why") == 1
        assert backoff.describe("broken") == (
            "it could not be started: it exited too quickly, with exit code 3: broken; supervisord will try again soon"
        )
        engine.set("a", FATAL)
        assert lines.get("a", engine.get("a")) == "broken", "it is the same end"
        await wait_until(lambda: lines._task is None)
        assert engine.opened == ["a"], "it is read once"
        engine.run("a")
        assert len(lines) == 0
        engine.crash("a")
        await wait_until(lambda: lines._task is None)
        assert lines.get("a", engine.get("a")) == "", "this process has printed nothing"

    on_lines(tmp_path, scenario)


def test_a_failure_concerns_no_other_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_lines, "MOST_AT_ONCE", 1)

    async def scenario(lines: LastLines, engine: Engine, found: list[str]) -> None:
        open_log = engine.open_log

        def fail_once(plugin_id: str) -> LogFiles:
            monkeypatch.setattr(engine, "open_log", open_log)
            raise ValueError(plugin_id)

        monkeypatch.setattr(engine, "open_log", fail_once)
        for name in "ab":
            engine.run(name)
            engine.write(name, "ERROR: broken\n")
            engine.crash(name)
        await wait_until(lambda: found == ["b"])

    on_lines(tmp_path, scenario)


def test_the_end_of_an_orderly_run_is_where_the_next_one_begins(tmp_path: Path) -> None:
    async def scenario(lines: LastLines, engine: Engine, found: list[str]) -> None:
        engine.run("a")
        engine.write("a", "ERROR: handled\n")
        engine.set("a", STOPPED, last_exit=Exit(at=1.0, signal="SIGTERM"))
        await wait_until(lambda: lines._task is None)
        assert (len(lines), found) == (0, [])
        engine.run("a")
        engine.write("a", "one\ntwo\n")
        engine.crash("a")
        await wait_until(lambda: lines._task is None)
        assert lines.get("a", engine.get("a")) == "two"

    on_lines(tmp_path, scenario)


def test_a_log_that_is_there_before_the_first_start(tmp_path: Path) -> None:
    async def scenario(lines: LastLines, engine: Engine, _found: list[str]) -> None:
        engine.write("a", "ERROR: of another supervisord's time\n")
        engine.set("a", STOPPED)
        await wait_until(lambda: lines._task is None)
        engine.run("a")
        engine.write("a", "ERROR: broken\nbye\n")
        engine.crash("a")
        await wait_until(lambda: lines._task is None)
        assert lines.get("a", engine.get("a")) == "broken"

    on_lines(tmp_path, scenario)


def test_plugins_that_had_ended_before(tmp_path: Path) -> None:
    async def run() -> None:
        engine = Engine(tmp_path)
        engine.write("a", "ERROR: whose?\nlast\n")
        engine.crash("a")
        engine.is_live = False
        lines = LastLines(engine)
        lines.open()
        assert lines._task is None
        engine.is_live = True
        engine.announce_all()
        await wait_until(lambda: lines._task is None)
        assert lines.get("a", engine.get("a")) == "last"
        del engine.processes["a"]
        engine.announce_all()
        assert len(lines) == 0
        await lines.close()

    run_scenario(run())


def test_what_a_process_that_was_ended_has_printed_says_nothing(tmp_path: Path) -> None:
    async def scenario(lines: LastLines, engine: Engine, _found: list[str]) -> None:
        engine.run("a")
        engine.write("a", "ERROR: handled\n")
        ended = Exit(at=2.0, signal="SIGTERM", reason="liveness check 'web' failed")
        engine.set("a", ProcessState.EXITED, last_exit=ended, spawn_error="Bad exit code")
        await wait_until(lambda: lines._task is None)
        assert len(lines) == 0

    on_lines(tmp_path, scenario)


def test_a_restart_that_is_due_is_said_after_the_line() -> None:
    process = Process(
        ProcessState.EXITED, spawn_error="Bad exit code", last_exit=Exit(at=2.0, code=3), retry_at=time.time()
    )
    assert process.log_may_say_why
    assert process.describe("x").startswith("it ended unexpectedly, with exit code 3: x; it is started again at ")


def test_a_thousand_that_crash_at_once_are_few_hops_to_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"p{number}" for number in range(1000)]
    hops = []
    to_thread = asyncio.to_thread

    def hop(function: Any, *arguments: Any) -> Any:
        hops.append(function)
        return to_thread(function, *arguments)

    async def scenario(lines: LastLines, engine: Engine, found: list[str]) -> None:
        for name in names:
            engine.write(name, f"ERROR: {name}\n")
            engine.crash(name)
        await wait_until(lambda: lines._task is None)
        assert sorted(found) == sorted(names)
        assert lines.get("p999", engine.get("p999")) == "p999"

    monkeypatch.setattr(asyncio, "to_thread", hop)
    on_lines(tmp_path, scenario)
    assert len(hops) <= 1000 / last_lines.MOST_AT_ONCE + 2


def test_a_log_of_another_machine_is_brought_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_lines, "BRING_PAUSE_SECONDS", 0)

    async def scenario(lines: LastLines, engine: Engine, _found: list[str]) -> None:
        engine.is_cluster = True
        engine.set("a", STOPPED, last_exit=Exit(at=1.0, code=0))
        engine.crash("b")
        await wait_until(lambda: lines._task is None)
        assert engine.brought == ["b"]
        assert lines.get("b", engine.get("b")) == "brought"

    on_lines(tmp_path, scenario)


def test_the_replica_that_has_ended_last() -> None:
    tasks = [
        msgspec.structs.replace(make_task(slot, "node", state), at=float(slot))
        for slot, state in ((1, "failed"), (2, "failed"), (3, "running"))
    ]
    assert find_slot(Process(FATAL, tasks=tuple(tasks))) == 2
    assert find_slot(Process(FATAL, tasks=tuple(tasks[:1]))) == 0
    assert find_slot(Process(FATAL)) == 0


def test_an_engine_that_becomes_silent_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    to_thread = asyncio.to_thread

    async def scenario(lines: LastLines, engine: Engine, found: list[str]) -> None:
        async def fall_silent(function: Any, *arguments: Any) -> Any:
            engine.is_live = False
            return await to_thread(function, *arguments)

        monkeypatch.setattr(asyncio, "to_thread", fall_silent)
        engine.write("a", "ERROR: broken\n")
        engine.crash("a")
        await wait_until(lambda: lines._task is None)
        assert not found
        monkeypatch.setattr(asyncio, "to_thread", to_thread)
        engine.is_live = True
        engine.announce_all()
        await wait_until(lambda: found == ["a"])

    on_lines(tmp_path, scenario)
