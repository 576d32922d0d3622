"""Replacing what a plugin is started from, in its turn, on an engine in memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.engines.engine import Execution
from plugvisor.errors import InvalidManifest, PluginDisabled, StartFailed
from plugvisor.manager.installation.use_cases.replacements import Replaced
from plugvisor.manager.manager import Manager
from plugvisor.models.process import ProcessState

from tests.helpers.fake_engine import FakeEngine
from tests.helpers.scenarios import let_tasks_run, run_scenario
from tests.helpers.stores import make_intents

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from plugvisor.engines.engine import Engine

STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED, FATAL, UNKNOWN = ProcessState
NEW = Replaced(ran=True, is_started=True)


class Setup:
    """A manager that knows the plugin `echo`, and what was called in which order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "echo"
        self.folder.mkdir()
        self.engine = FakeEngine(announces=True)
        checked: Engine = self.engine
        self.intents = make_intents()
        self.manager = Manager(folder, checked, self.intents)
        self.replacements = self.manager.replacements
        self.write("1")

    def write(self, version: str, more: str = "") -> None:
        (self.folder / "plugin.toml").write_text(
            f'[plugin]\nid = "echo"\nversion = "{version}"\ncommand = "true"\n{more}\n'
        )

    @property
    def published(self) -> str:
        """The version that is published."""
        return self.engine.published["echo"][0].version

    def swap(self, version: str = "2", more: str = "") -> Callable[..., Awaitable[None]]:
        """What replaces the manifest, and notes that in the engine's calls."""

        async def swap(*_: Any) -> None:
            self.engine.calls.append(("swap", version))
            self.write(version, more)

        return swap


def run(tmp_path: Path, scenario: Callable[[Setup], Awaitable[Any]]) -> None:
    """Run a scenario with the stopped plugin `echo`."""

    async def loaded() -> None:
        setup = Setup(tmp_path)
        await setup.manager.load()
        await setup.manager.refresh()
        setup.engine.calls.clear()
        await scenario(setup)
        await setup.manager.close()

    run_scenario(loaded())


@pytest.mark.parametrize("state", [RUNNING, STARTING, BACKOFF])
def test_what_runs_is_restarted_from_what_is_new(tmp_path: Path, state: ProcessState) -> None:
    async def scenario(setup: Setup) -> None:
        setup.engine.set("echo", state, retry_at=1.0 if state is BACKOFF else None)
        assert await setup.replacements.replace("update", "echo", setup.swap()) == NEW
        assert setup.engine.calls == [("swap", "2"), ("begin_restart", "echo"), ("wait_spawned", "echo")]
        assert setup.published == "2"
        assert await setup.replacements.wait_ready("update", "echo")
        assert not setup.intents.all

    run(tmp_path, scenario)


@pytest.mark.parametrize("state", [STOPPED, STOPPING, EXITED, FATAL])
def test_what_does_not_run_is_not_started(tmp_path: Path, state: ProcessState) -> None:
    async def scenario(setup: Setup) -> None:
        setup.engine.set("echo", state)
        replaced = await setup.replacements.replace("update", "echo", setup.swap())
        assert replaced == Replaced(ran=False, is_started=False)
        assert setup.engine.calls == [("swap", "2")]
        assert setup.published == "2"
        assert setup.manager.catalog["echo"].manifest
        assert setup.manager.catalog["echo"].manifest.version == "2"

    run(tmp_path, scenario)


@pytest.mark.parametrize("is_new", [True, False])
def test_what_runs_of_before_an_installation_is_restarted_by_a_start(tmp_path: Path, is_new: bool) -> None:
    async def scenario(setup: Setup) -> None:
        setup.engine.set("echo", RUNNING)
        await setup.replacements.start("echo", "ada", is_new=is_new)
        assert setup.engine.calls.count(("begin_restart", "echo")) == is_new
        assert setup.engine.get("echo").state is RUNNING

    run(tmp_path, scenario)


def test_what_does_not_run_is_started_if_somebody_wants_that(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        replaced = await setup.replacements.replace("update", "echo", setup.swap(), by="ada")
        assert replaced == Replaced(ran=False, is_started=True)
        assert setup.engine.calls[1] == ("begin_restart", "echo")
        assert setup.intents.all["echo"].by == "ada"

    run(tmp_path, scenario)


def test_what_is_disabled_is_not_started(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        setup.intents.disable("echo", "ada")
        replaced = await setup.replacements.replace("update", "echo", setup.swap(), by="ada")
        assert replaced == Replaced(ran=False, is_started=False)
        assert setup.engine.calls == [("swap", "2")]

    run(tmp_path, scenario)


def test_what_runs_although_it_is_disabled_is_left_alone(tmp_path: Path) -> None:
    """As after `supervisorctl start`: it cannot be restarted, and would go on with a version that is removed later."""

    async def scenario(setup: Setup) -> None:
        setup.intents.disable("echo", "ada")
        setup.engine.set("echo", RUNNING)
        with pytest.raises(PluginDisabled, match=r"^cannot update 'echo': it was disabled by 'ada', and runs"):
            await setup.replacements.replace("update", "echo", setup.swap())
        assert setup.engine.calls == []
        assert setup.published == "1"

    run(tmp_path, scenario)


@pytest.mark.parametrize("state", [STOPPED, STOPPING])
def test_a_stop_that_comes_in_between_is_not_undone(tmp_path: Path, state: ProcessState) -> None:
    """As by `supervisorctl`, which waits for no turn."""

    async def scenario(setup: Setup) -> None:
        async def swap(*_: Any) -> None:
            await setup.swap()()
            setup.engine.set("echo", state)

        setup.engine.set("echo", RUNNING)
        assert await setup.replacements.replace("update", "echo", swap) == NEW
        assert setup.engine.calls == [("swap", "2")]
        assert setup.published == "2"

        async def swap_back() -> None:
            await setup.swap("1")()
            setup.engine.set("echo", state)

        setup.engine.set("echo", RUNNING, launches=5)
        setup.engine.calls.clear()
        await setup.replacements.restore("update", "echo", swap_back, NEW)
        assert setup.engine.calls == [("swap", "1")]
        assert setup.published == "1"

    run(tmp_path, scenario)


def test_a_start_that_comes_in_between_has_its_turn_after_the_swap(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        may_go_on = asyncio.Event()

        async def swap(_: Replaced) -> None:
            await may_go_on.wait()
            await setup.swap()()

        replacing = asyncio.create_task(setup.replacements.replace("update", "echo", swap))
        await let_tasks_run()
        starting = asyncio.create_task(setup.manager.start("echo"))
        await let_tasks_run()
        may_go_on.set()
        await asyncio.gather(replacing, starting)
        assert setup.engine.calls == [("swap", "2"), ("start", "echo")]
        assert setup.published == "2"

    run(tmp_path, scenario)


def test_a_swap_that_fails_leaves_the_process_alone(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        async def fail(_: Replaced) -> None:
            raise StartFailed("the disk is full")

        setup.engine.set("echo", RUNNING)
        with pytest.raises(StartFailed, match=r"^cannot update 'echo': the disk is full"):
            await setup.replacements.replace("update", "echo", fail)
        assert setup.engine.calls == []

    run(tmp_path, scenario)


def test_a_manifest_that_cannot_be_used_stops_nothing(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        setup.engine.set("echo", RUNNING)
        with pytest.raises(InvalidManifest):
            await setup.replacements.replace("update", "echo", setup.swap("2", "[plugin"))
        assert setup.engine.calls == [("swap", "2")]
        await setup.replacements.restore("update", "echo", setup.swap("1"), NEW)
        assert setup.engine.calls == [("swap", "2"), ("swap", "1")]
        assert setup.engine.get("echo").state is RUNNING
        assert setup.published == "1"

    run(tmp_path, scenario)


# -- back


def test_what_has_failed_is_replaced_by_what_was_there(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        setup.engine.set("echo", RUNNING)
        await setup.replacements.replace("update", "echo", setup.swap())
        setup.engine.set("echo", FATAL)
        setup.engine.errors["wait_running"] = StartFailed("it died")
        with pytest.raises(StartFailed):
            await setup.replacements.wait_ready("update", "echo")
        setup.engine.errors.clear()
        setup.engine.calls.clear()
        await setup.replacements.restore("update", "echo", setup.swap("1"), NEW)
        assert setup.engine.calls == [("swap", "1"), ("begin_restart", "echo"), ("wait_spawned", "echo")]
        assert setup.published == "1"

    run(tmp_path, scenario)


@pytest.mark.parametrize("state", [STOPPED, STOPPING])
def test_what_somebody_has_stopped_meanwhile_has_not_failed_and_is_not_started(
    tmp_path: Path, state: ProcessState
) -> None:
    async def scenario(setup: Setup) -> None:
        setup.engine.set("echo", RUNNING)
        await setup.replacements.replace("update", "echo", setup.swap())
        setup.engine.errors["wait_running"] = StartFailed("it was stopped while it was starting")
        setup.engine.set("echo", state)
        assert not await setup.replacements.wait_ready("update", "echo")
        setup.engine.errors.clear()
        setup.engine.calls.clear()
        await setup.replacements.restore("update", "echo", setup.swap("1"), NEW)
        assert ("begin_restart", "echo") not in setup.engine.calls
        assert setup.published == "1"

    run(tmp_path, scenario)


def test_what_did_not_run_before_is_stopped_again(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.replacements.replace("update", "echo", setup.swap(), by="ada")
        setup.engine.set("echo", BACKOFF, pid=7)
        setup.engine.set("echo", RUNNING)
        setup.engine.calls.clear()
        await setup.replacements.restore("update", "echo", setup.swap("1"), Replaced(ran=False, is_started=True))
        assert setup.engine.calls == [("swap", "1"), ("begin_stop", "echo"), ("wait_stopped", "echo")]

    run(tmp_path, scenario)


def test_what_is_disabled_meanwhile_is_not_started(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        setup.engine.set("echo", RUNNING)
        await setup.replacements.replace("update", "echo", setup.swap())
        setup.engine.set("echo", FATAL)
        setup.intents.disable("echo", "ada")
        setup.engine.calls.clear()
        await setup.replacements.restore("update", "echo", setup.swap("1"), NEW)
        assert setup.engine.calls == [("swap", "1")]
        assert setup.published == "1"

    run(tmp_path, scenario)


def test_what_is_not_ready_in_time_has_failed(tmp_path: Path) -> None:
    check = '[plugin_runtime.checks.up]\nlevel = "ready"\nexec = ["true"]\nthreshold = 1\nstartup = 0'

    async def scenario(setup: Setup) -> None:
        setup.engine.set("echo", RUNNING)
        await setup.replacements.replace("update", "echo", setup.swap("2", check))
        setup.engine.executions["up"] = Execution(code=1)
        with pytest.raises(StartFailed, match=r"^cannot update 'echo': it is (unhealthy|not ready)"):
            await setup.replacements.wait_ready("update", "echo")

    run(tmp_path, scenario)
