"""What operators want: in memory at once, in a real store before the answer, and in what the engine starts at boot."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

import pytest
from plugvisor.errors import (
    AlreadyRunning,
    DependencyFailed,
    NotRunning,
    PluginDisabled,
    PluginNotFound,
    StartFailed,
    StoreUnavailable,
    SupervisorUnavailable,
)
from plugvisor.manager import restorer
from plugvisor.manager.intents import intents as module
from plugvisor.manager.intents.intents import Intents
from plugvisor.manager.manager import Manager
from plugvisor.manager.outcome import Outcome
from plugvisor.models.process import Asked, ProcessState
from plugvisor.store.store import FILE_NAME, Store

from tests.helpers.fake_engine import FakeEngine
from tests.helpers.scenarios import let_tasks_run, run_scenario, wait_until
from tests.helpers.waiting import DEADLINE_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from plugvisor.engines.engine import Engine

RUNNING, STARTING, STOPPED = ProcessState.RUNNING, ProcessState.STARTING, ProcessState.STOPPED


class Setup:
    """A manager with an engine in memory and a real store."""

    def __init__(self, folder: Path, *, remembers: bool = True, engine: FakeEngine | None = None) -> None:
        self.folder = folder
        self.store = Store(folder / "state")
        self.intents = Intents(self.store, remembers=remembers)
        self.engine = engine or FakeEngine(announces=True)
        checked: Engine = self.engine
        (folder / "plugins").mkdir(exist_ok=True)
        self.manager = Manager(folder / "plugins", checked, self.intents)
        self.announced: list[str | None] = []

    def write(self, plugin_id: str, runtime: str = "") -> None:
        path = self.folder / "plugins" / plugin_id
        path.mkdir(exist_ok=True)
        (path / "plugin.toml").write_text(
            f'[plugin]\nid = "{plugin_id}"\ncommand = "true"\n[plugin_runtime]\n{runtime}\n'
        )

    def stored(self, table: str = "intent") -> dict[str, tuple[Any, ...]]:
        """What another connection sees: what has been committed."""
        with sqlite3.connect(f"file:{self.folder}/state/{FILE_NAME}?mode=ro", uri=True) as connection:
            return {row[0]: row[1:] for row in connection.execute(f"SELECT * FROM {table}")}

    def wanted(self) -> dict[str, tuple[str, str]]:
        """What is wanted of each plugin, and by whom, in the store."""
        return {plugin_id: (wanted, by) for plugin_id, (wanted, by, _) in self.stored().items()}

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Run the manager."""
        await self.store.open()
        await self.intents.load()
        await self.manager.load()
        self.intents.on_change.append(self.announced.append)
        try:
            yield
        finally:
            await self.close()

    async def close(self) -> None:
        """End it, as a service ends; repeating that does nothing."""
        await self.manager.close()
        await self.store.close()


def run(folder: Path, scenario: Callable[[Setup], Awaitable[None]], *, remembers: bool = True) -> None:
    """Run a scenario with the plugin `echo`, which does not run, and `top`, which depends on `base`."""

    async def opened() -> None:
        setup = Setup(folder, remembers=remembers)
        setup.write("echo")
        setup.write("base")
        setup.write("top", 'depends_on.base.condition = "started"')
        async with setup.open():
            await setup.manager.refresh()
            await scenario(setup)

    run_scenario(opened())


async def reopen(setup: Setup, scenario: Callable[[Setup], Awaitable[None]]) -> None:
    """Run a scenario with another service on the same store and engine, after the end of the first."""
    await setup.close()
    again = Setup(setup.folder, engine=setup.engine)
    async with again.open():
        await scenario(again)


# -- what becomes an intent


def test_a_start_and_a_stop_are_stored_before_the_answer(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        assert (await setup.manager.start("echo", by="ops")).remembered
        assert setup.wanted() == {"echo": ("running", "ops")}
        assert (await setup.manager.stop("echo", by="other")).remembered
        assert setup.wanted() == {"echo": ("stopped", "other")}
        assert (await setup.manager.reload("echo", by="ops")).remembered
        assert setup.wanted() == {"echo": ("running", "ops")}
        intent = setup.intents.all["echo"]
        assert (intent.wanted, intent.by) == ("running", "ops")

    run(tmp_path, scenario)


def test_nothing_is_remembered_of_what_nobody_has_asked_for(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.manager.start("echo")
        setup.engine.set("echo", ProcessState.FATAL)
        setup.engine.set("echo", RUNNING)
        await setup.manager.stop("echo")
        await setup.manager.refresh()
        assert not setup.stored()
        assert not setup.announced

    run(tmp_path, scenario)


def test_a_stop_of_what_does_not_run_is_stored_before_the_error(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        for state in (STOPPED, ProcessState.EXITED, ProcessState.FATAL):
            setup.engine.set("echo", state)
            setup.intents.set("echo", "running", "first")
            with pytest.raises(NotRunning, match=r"^cannot stop 'echo': it is not running$"):
                await setup.manager.stop("echo", by="ops")
            assert setup.wanted() == {"echo": ("stopped", "ops")}
        before = setup.stored()
        setup.announced.clear()
        with pytest.raises(NotRunning):
            await setup.manager.stop("echo", by="other")
        assert setup.stored() == before
        assert not setup.announced
        with pytest.raises(NotRunning):
            await setup.manager.stop("base")
        assert setup.stored() == before

    run(tmp_path, scenario)


def test_an_error_changes_nothing(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        with pytest.raises(PluginNotFound):
            await setup.manager.stop("nobody", by="ops")
        assert not setup.stored()
        assert not setup.announced
        await setup.manager.start("echo", by="first")
        with pytest.raises(AlreadyRunning):
            await setup.manager.start("echo", by="ops")
        await setup.manager.stop("echo", by="first")
        for error in (AlreadyRunning("somebody was quicker"), SupervisorUnavailable("it is away")):
            setup.engine.errors["start"] = error
            with pytest.raises(type(error)):
                await setup.manager.start("echo", by="ops")
            assert setup.intents.all["echo"].wanted == "stopped"
            await setup.intents.wait_stored("echo")
            assert setup.wanted() == {"echo": ("stopped", "first")}

    run(tmp_path, scenario)


def test_a_start_that_fails_is_one(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        setup.engine.errors["start"] = StartFailed("it could not be spawned")
        with pytest.raises(StartFailed):
            await setup.manager.start("echo", by="ops")
        await setup.intents.wait_stored("echo")
        assert setup.wanted() == {"echo": ("running", "ops")}

    run(tmp_path, scenario)


def test_only_the_plugin_that_was_named_is_wanted(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.manager.start("top", by="ops")
        await setup.engine.wait_called("start", "top")
        assert setup.wanted() == {"top": ("running", "ops")}
        await setup.manager.stop_with_dependents("base", ["top"], by="ops")
        assert setup.wanted() == {"top": ("stopped", "ops"), "base": ("stopped", "ops")}

    run(tmp_path, scenario)


def test_a_stop_of_dependents_counts_for_a_plugin_that_does_not_run(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        setup.engine.set("top", RUNNING)
        results = await setup.manager.stop_with_dependents("base", ["top"], by="ops")
        assert isinstance(outcome := results["base"], Outcome)
        assert (outcome.finished, outcome.remembered) == (True, True)
        assert setup.wanted() == {"top": ("stopped", "ops"), "base": ("stopped", "ops")}

    run(tmp_path, scenario)


def test_the_answer_does_not_wait_for_the_engine_first(tmp_path: Path) -> None:
    """What was asked for is stored while it is being done."""

    async def scenario(setup: Setup) -> None:
        held = setup.engine.hold("start", "echo")
        starting = asyncio.create_task(setup.manager.start("echo", by="ops"))
        await wait_until(lambda: setup.wanted() == {"echo": ("running", "ops")})
        held.set()
        assert (await starting).remembered
        held = setup.engine.hold("wait_stopped", "echo")
        stopping = asyncio.create_task(setup.manager.stop("echo", by="ops"))
        await wait_until(lambda: setup.wanted() == {"echo": ("stopped", "ops")})
        held.set()
        assert (await stopping).remembered

    run(tmp_path, scenario)


def test_a_stop_of_what_somebody_has_just_started(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        held = setup.engine.hold("begin_stop", "echo")
        stopping = asyncio.create_task(setup.manager.stop("echo", by="ops"))
        await setup.engine.wait_called("begin_stop", "echo")
        setup.engine.set("echo", RUNNING)
        held.set()
        assert (await stopping).remembered
        assert setup.wanted() == {"echo": ("stopped", "ops")}

    run(tmp_path, scenario)


def test_a_thousand_stops_are_few_transactions(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        statements: list[str] = []
        await setup.store.write(lambda connection: connection.set_trace_callback(statements.append))
        for number in range(1000):
            setup.intents.set(f"plugin-{number}", "stopped", "ops")
        async with asyncio.timeout(DEADLINE_SECONDS):  # a busy disk takes longer than an answer waits for it
            while not all(
                await asyncio.gather(*(setup.intents.wait_stored(f"plugin-{number}") for number in range(1000)))
            ):
                pass
        assert len(setup.stored()) == 1000
        assert 1 <= statements.count("COMMIT") < 100

    run(tmp_path, scenario)


def test_nothing_is_remembered_if_it_is_switched_off(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        assert (await setup.manager.start("echo", by="ops")).remembered
        setup.engine.set("base", RUNNING, asked=Asked("running", "1-1", 5.0))
        assert not setup.intents.all
        await setup.manager.switch.disable("echo", "ops")
        assert setup.intents.starts == {"echo": False}
        assert not setup.stored()
        assert setup.stored("disabled").keys() == {"echo"}

    run(tmp_path, scenario, remembers=False)


def test_switching_it_off_keeps_what_was_remembered(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.manager.start("echo", by="ops")
        await setup.close()
        off = Setup(setup.folder, remembers=False, engine=setup.engine)
        async with off.open():
            assert not off.intents.all
            assert off.intents.starts == {}
            await off.manager.switch.disable("echo", "ops")
        assert setup.wanted() == {"echo": ("running", "ops")}

    run(tmp_path, scenario)


# -- restarts of the service


def test_another_service_knows_everything(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.manager.start("echo", by="ops")
        await setup.manager.switch.disable("base", "other")

        async def again(other: Setup) -> None:
            assert other.intents.all == setup.intents.all
            assert dict(other.intents.disabled) == dict(setup.intents.disabled)
            assert not other.manager.catalog["base"].enabled
            assert other.manager.catalog["echo"].enabled
            await wait_until(lambda: other.engine.starts == {"echo": True, "base": False})

        setup.engine.starts = None
        await reopen(setup, again)

    run(tmp_path, scenario)


# -- supervisorctl


def test_a_request_of_supervisorctl_counts_once(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        setup.engine.set("echo", STOPPED, asked=Asked("stopped", "boot-1", 5.0))
        await setup.intents.wait_stored("echo")
        assert setup.stored() == {"echo": ("stopped", "supervisorctl", 5.0)}
        assert setup.stored("asked") == {"echo": ("boot-1",)}
        await setup.manager.start("echo", by="ops")
        setup.engine.set("echo", RUNNING)  # its line repeats the request
        setup.engine.announce_all()
        assert setup.intents.all["echo"].by == "ops"

        async def again(other: Setup) -> None:
            assert other.intents.all["echo"].by == "ops"
            setup.engine.set("echo", STOPPED, asked=Asked("stopped", "boot-2", 2e9))
            assert other.intents.all["echo"].by == "supervisorctl"

        await reopen(setup, again)

    run(tmp_path, scenario)


def test_what_supervisorctl_has_done_without_the_service_is_caught_up_with(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.manager.start("echo", by="ops")
        await setup.manager.close()
        setup.engine.set("echo", STOPPED, asked=Asked("stopped", "boot-1", 2e9))

        async def again(other: Setup) -> None:
            await other.intents.wait_stored("echo")
            assert other.wanted() == {"echo": ("stopped", "supervisorctl")}

        await reopen(setup, again)

    run(tmp_path, scenario)


def test_a_late_report_of_supervisorctl_does_not_undo_what_came_after_it(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.manager.start("echo", by="ops")
        at = setup.intents.all["echo"].at
        for number, seconds in enumerate((0.01, 1, 1_000_000)):  # the last as one in a database that was restored
            setup.engine.set("echo", RUNNING, asked=Asked("stopped", f"boot-{number}", at - seconds))
            assert setup.intents.all["echo"].by == "ops"
            await setup.intents.wait_stored("echo")
            assert setup.stored("asked") == {"echo": (f"boot-{number}",)}

    run(tmp_path, scenario)


def test_a_clock_that_was_set_back_hides_no_request_of_supervisorctl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.manager.start("echo", by="ops")
        now = setup.intents.all["echo"].at - 1000
        monkeypatch.setattr(time, "time", lambda: now)
        setup.engine.set("echo", RUNNING, asked=Asked("stopped", "boot-1", now - 1))
        assert setup.intents.all["echo"].by == "supervisorctl"

    run(tmp_path, scenario)


# -- disable, enable, forget


def test_a_disabled_plugin_is_stopped_and_not_started(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        manager = setup.manager
        await manager.start("echo", by="ops")
        changes: list[bool] = []
        manager.on_change.append(lambda: changes.append(manager.catalog["echo"].enabled))
        outcome = await manager.switch.disable("echo", "ops")
        assert outcome.remembered
        assert outcome.finished
        assert outcome.process.state is STOPPED
        assert False in changes
        assert setup.wanted() == {"echo": ("running", "ops")}, "it is no stop"
        for change in (manager.start, manager.reload):
            with pytest.raises(PluginDisabled, match=r"it was disabled by 'ops'; POST /plugin/echo/enable lifts that$"):
                await change("echo", by="ops")
        published = setup.engine.published.get("echo")
        setup.write("echo", "supervisor.priority = 5")
        with pytest.raises(PluginDisabled):
            await manager.start("echo")
        assert setup.engine.published.get("echo") == published
        await manager.refresh()
        assert not manager.catalog["echo"].enabled
        # again, by another one
        assert (await manager.switch.disable("echo", "other")).finished
        assert setup.stored("disabled")["echo"][0] == "ops"
        await manager.switch.enable("echo")
        await manager.switch.enable("echo")
        assert not setup.stored("disabled")
        assert manager.catalog["echo"].enabled
        assert setup.engine.get("echo").state is STOPPED
        await manager.start("echo", by="ops")

    run(tmp_path, scenario)


def test_a_disabled_plugin_that_is_started_all_the_same_is_stopped_by_the_next_disable(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.manager.switch.disable("echo", "ops")
        setup.engine.set("echo", RUNNING)
        assert (await setup.manager.switch.disable("echo", "ops")).process.state is STOPPED

    run(tmp_path, scenario)


def test_what_requires_a_plugin_that_was_stopped_waits_at_boot(tmp_path: Path) -> None:
    """Directly or not: `top` requires `base`, and that requires `echo`."""

    async def scenario(setup: Setup) -> None:
        setup.write("base", "auto_start = false\ndepends_on.echo.condition = 'started'")
        await setup.manager.refresh()
        await setup.manager.start("echo", by="ops")
        await setup.manager.stop("echo", by="ops")
        setup.engine.set("top", STOPPED, queued="boot")
        await let_tasks_run()
        assert not setup.engine.get("base").queued
        assert setup.engine.get("top").queued == "boot"
        await setup.manager.start("echo", by="other")
        await wait_until(lambda: setup.engine.get("base").state is STARTING)

    run(tmp_path, scenario)


def test_a_start_reaches_what_waits_for_a_plugin_that_was_stopped(tmp_path: Path) -> None:
    """Though `top`, which requires `base`, was queued since by its turn, and `base` waits for the stopped `echo`."""

    async def scenario(setup: Setup) -> None:
        setup.write("base", "depends_on.echo.condition = 'started'")
        setup.write("last", "auto_start = false\ndepends_on.top.condition = 'started'")
        await setup.manager.refresh()
        await setup.manager.start("echo", by="ops")
        await setup.manager.stop("echo", by="ops")
        for name in ("base", "top"):
            setup.engine.set(name, STOPPED, queued="boot")
        await wait_until(lambda: setup.engine.get("top").queued == "asked")
        assert setup.engine.get("base").queued == "boot"
        await setup.manager.start("last", by="other")
        for name in ("echo", "base", "top", "last"):
            await wait_until(lambda name=name: setup.engine.get(name).state is STARTING, f"{name} to start")
            setup.engine.set(name, RUNNING)
        assert "echo" not in setup.wanted(), "the stop counts no more"

    run(tmp_path, scenario)


def test_what_waits_goes_on_when_the_stop_is_forgotten(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.manager.start("base", by="ops")
        await setup.manager.stop("base", by="ops")
        setup.engine.set("top", STOPPED, queued="boot")
        await let_tasks_run()
        facts = setup.manager.facts("top")
        assert facts is not None
        assert facts.note == "it waits for 'base' (stopped by 'ops')"
        assert setup.engine.get("base").state is STOPPED
        await setup.manager.switch.forget_intent("base")
        await wait_until(lambda: setup.engine.get("base").state is STARTING)

    run(tmp_path, scenario)


def test_a_start_ends_the_stops_of_what_it_starts_too(tmp_path: Path) -> None:
    """Or the plugin would wait at the next boot for what its start has brought up."""

    async def scenario(setup: Setup) -> None:
        await setup.manager.start("base", by="ops")
        await setup.manager.stop("base", by="ops")
        setup.engine.errors["queue"] = StartFailed("the disk is full")
        with pytest.raises(StartFailed):
            await setup.manager.start("top", by="other")
        assert setup.wanted()["base"] == ("stopped", "ops"), "nothing was started"
        del setup.engine.errors["queue"]
        await setup.manager.start("top", by="other")
        await wait_until(lambda: setup.wanted() == {"top": ("running", "other")})

    run(tmp_path, scenario)


def test_a_stop_during_a_disable_is_an_intent(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.manager.start("echo", by="ops")
        held = setup.engine.hold("wait_stopped", "echo")
        disabling = asyncio.create_task(setup.manager.switch.disable("echo", "ops"))
        await setup.engine.wait_called("wait_stopped", "echo")
        stopping = asyncio.create_task(setup.manager.stop("echo", by="other"))
        await let_tasks_run()
        held.set()
        with pytest.raises(NotRunning):
            await stopping
        assert (await disabling).finished
        assert setup.wanted() == {"echo": ("stopped", "other")}

    run(tmp_path, scenario)


def test_a_dependency_that_is_disabled(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.manager.switch.disable("base", "ops")
        with pytest.raises(DependencyFailed, match="its dependency 'base' is disabled"):
            await setup.manager.start("top", by="ops")
        assert not setup.stored()
        assert setup.manager.catalog["base"].dependents == ("top",)

    run(tmp_path, scenario)


def test_an_invalid_plugin_that_is_disabled(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        setup.write("base", 'depends_on.top.condition = "started"')
        await setup.manager.refresh()
        assert setup.manager.catalog["base"].problem
        await setup.manager.switch.disable("base", "ops")
        assert setup.manager.catalog["base"].disabled_by == "ops"
        setup.write("base")
        await setup.manager.refresh()
        assert not setup.manager.catalog["base"].problem
        assert not setup.manager.catalog["base"].enabled

    run(tmp_path, scenario)


@pytest.mark.parametrize("queued", ["boot", "asked"])
def test_a_queued_plugin_that_is_disabled_is_stopped(tmp_path: Path, queued: Literal["boot", "asked"]) -> None:
    async def scenario(setup: Setup) -> None:
        held = setup.engine.hold("start", "base")
        setup.engine.set("base", STOPPED, queued="asked")
        setup.engine.set("top", STOPPED, queued=queued)
        outcome = await setup.manager.switch.disable("top", "ops")
        assert (outcome.process.state, outcome.process.queued) == (STOPPED, "")
        held.set()
        await wait_until(lambda: setup.engine.get("base").state is STARTING)
        await let_tasks_run()
        assert setup.engine.get("top").state is STOPPED
        assert ("fail", "top") not in setup.engine.calls

    run(tmp_path, scenario)


def test_a_queued_plugin_that_is_disabled_while_its_manifest_is_read_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(setup: Setup) -> None:
        reads, render = [], setup.engine.render

        def disable_meanwhile(*arguments: Any) -> Any:
            if not reads:
                reads.append(loop.call_soon_threadsafe(setup.intents.disable, "echo", "ops"))
            return render(*arguments)

        loop = asyncio.get_running_loop()
        setup.write("echo", "priority = 1")
        monkeypatch.setattr(setup.engine, "render", disable_meanwhile)
        setup.engine.set("echo", STOPPED, queued="asked")
        await wait_until(lambda: not setup.engine.get("echo").queued)
        assert reads
        assert setup.engine.get("echo").state is STOPPED

    run(tmp_path, scenario)


def test_what_waits_for_a_plugin_that_is_disabled_is_given_up(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        setup.write("base", 'depends_on.echo.condition = "started"')
        setup.engine.hold("start", "echo")
        await setup.manager.start("top", by="ops")
        await setup.manager.switch.disable("base", "ops")
        await wait_until(lambda: setup.engine.get("top").state is ProcessState.FATAL)
        assert "its dependency 'base' is disabled" in setup.engine.get("top").spawn_error
        assert setup.engine.get("base").state is STOPPED

    run(tmp_path, scenario)


def test_a_plugin_that_is_not_there_cannot_be_disabled(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        switch = setup.manager.switch
        for change in (switch.disable("nobody", "ops"), switch.enable("nobody"), switch.forget_intent("nobody")):
            with pytest.raises(PluginNotFound):
                await change
        setup.engine.is_live = False
        with pytest.raises(SupervisorUnavailable):
            await switch.disable("echo", "ops")
        assert not setup.stored("disabled")

    run(tmp_path, scenario)


def test_a_forgotten_intent(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        setup.engine.set("echo", STOPPED, asked=Asked("stopped", "boot-1", 5.0))
        await setup.manager.switch.forget_intent("echo")
        assert "echo" not in setup.intents.all
        assert not setup.stored()
        setup.engine.announce_all()
        assert "echo" not in setup.intents.all, "its request was taken over once"
        await setup.manager.switch.forget_intent("echo")
        assert setup.announced == ["echo", "echo"]

    run(tmp_path, scenario)


# -- what is started at boot


def test_what_is_started_at_boot_follows_every_change(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.manager.start("echo", by="ops")
        await wait_until(lambda: setup.engine.starts == {"echo": True})
        await setup.manager.switch.disable("echo", "ops")
        await wait_until(lambda: setup.engine.starts == {"echo": False})
        await setup.manager.switch.enable("echo")
        await wait_until(lambda: setup.engine.starts == {"echo": True})
        await setup.manager.switch.forget_intent("echo")
        await wait_until(lambda: setup.engine.starts == {})

    run(tmp_path, scenario)


def test_what_is_started_at_boot_is_published_again_if_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restorer, "CHECK_SECONDS", 0.01)

    async def scenario(setup: Setup) -> None:
        setup.engine.errors["publish_starts"] = FileNotFoundError("the run folder is gone")
        await setup.manager.start("echo", by="ops")
        setup.engine.starts = None
        await let_tasks_run()
        del setup.engine.errors["publish_starts"]
        await wait_until(lambda: setup.engine.starts == {"echo": True})
        setup.engine.starts = None
        await wait_until(lambda: setup.engine.starts == {"echo": True})

    run(tmp_path, scenario)


# -- a store that does not take it


class Trouble:
    """Makes a store fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, store: Store, *, can_write: bool = False) -> None:
        self.is_there = True
        write, read = store.write, store.read

        async def try_to_write(work: Any) -> Any:
            if self.is_there and not can_write:
                raise StoreUnavailable("the disk is full")
            return await write(work)

        async def try_to_read(query: Any) -> Any:
            if self.is_there:
                raise StoreUnavailable("the disk is gone")
            return await read(query)

        monkeypatch.setattr(store, "write", try_to_write)
        monkeypatch.setattr(store, "read", try_to_read)
        monkeypatch.setattr(module, "RETRY_SECONDS", 0.02)


def test_a_store_that_fails_keeps_nobody_from_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.manager.switch.disable("base", "first")
        await setup.manager.start("echo", by="first")
        trouble = Trouble(monkeypatch, setup.store)
        assert not (await setup.manager.stop("echo", by="ops")).remembered
        assert setup.intents.all["echo"].wanted == "stopped"
        await wait_until(lambda: setup.engine.starts == {"echo": False, "base": False})
        assert not (await setup.manager.switch.disable("top", "ops")).remembered
        assert not setup.manager.catalog["top"].enabled
        for change in (setup.manager.switch.enable("base"), setup.manager.switch.forget_intent("echo")):
            with pytest.raises(StoreUnavailable):
                await change
        assert not setup.manager.catalog["base"].enabled
        assert "echo" in setup.intents.all
        assert setup.wanted() == {"echo": ("running", "first")}
        trouble.is_there = False
        await wait_until(lambda: setup.wanted() == {"echo": ("stopped", "ops")})
        await wait_until(lambda: setup.stored("disabled").keys() == {"base", "top"})
        assert await setup.intents.wait_stored("echo")

    run(tmp_path, scenario)


def test_an_answer_waits_for_a_slow_store_a_second_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STORE_SECONDS", 0.05)

    async def scenario(setup: Setup) -> None:
        goes_on, write = asyncio.Event(), setup.store.write

        async def write_later(work: Any) -> Any:
            await goes_on.wait()
            return await write(work)

        monkeypatch.setattr(setup.store, "write", write_later)
        assert not (await setup.manager.start("echo", by="ops")).remembered
        goes_on.set()
        await wait_until(lambda: setup.wanted() == {"echo": ("running", "ops")})
        assert await setup.intents.wait_stored("echo")

    run(tmp_path, scenario)


@pytest.mark.parametrize("can_write", [False, True])
def test_a_store_that_can_be_read_later_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_write: bool
) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.manager.start("echo", by="first")
        await setup.manager.switch.disable("base", "first")
        setup.engine.set("top", STOPPED, asked=Asked("stopped", "boot-1", 5.0))
        await setup.intents.wait_stored("top")
        await setup.close()
        again = Setup(setup.folder, engine=setup.engine)
        trouble = Trouble(monkeypatch, again.store, can_write=can_write)
        setup.engine.starts = {"left": True}
        async with again.open():
            assert not again.intents.all
            assert not (await again.manager.stop("echo", by="ops")).remembered
            setup.engine.set("echo", STOPPED, asked=Asked("running", "boot-0", 5.0))
            setup.engine.set("top", STOPPED)
            assert "top" not in again.intents.all, "it is not known which requests were taken over"
            await again.manager._boot_starts.close()  # what is due is published
            assert setup.engine.starts == {"left": True}, "what was published at boot stays"
            with pytest.raises(StoreUnavailable):
                await again.manager.switch.enable("base")
            trouble.is_there = False
            await wait_until(lambda: again.wanted().get("echo") == ("stopped", "ops"))
            assert again.wanted() == {"echo": ("stopped", "ops"), "top": ("stopped", "supervisorctl")}
            assert again.intents.all["echo"].by == "ops", "what was asked for before is not new"
            setup.engine.set("echo", STOPPED, asked=Asked("running", "boot-2", time.time()))
            assert again.intents.all["echo"].by == "supervisorctl"
            await again.manager.reload("echo", by="ops")
            await again.manager.stop("echo", by="ops")
            assert not again.manager.catalog["base"].enabled
            await wait_until(lambda: setup.engine.starts == {"echo": False, "top": False, "base": False})

    run(tmp_path, scenario)


def test_a_change_that_fails_before_the_store_can_be_read_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.manager.start("echo", by="first")
        await setup.manager.start("base", by="first")
        await setup.close()
        again = Setup(setup.folder, engine=setup.engine)
        trouble = Trouble(monkeypatch, again.store)
        async with again.open():
            setup.engine.errors["begin_stop"] = SupervisorUnavailable("it is away")
            with pytest.raises(SupervisorUnavailable):
                await again.manager.stop("echo", by="ops")
            del setup.engine.errors["begin_stop"]
            await again.manager.stop("base", by="ops")
            setup.engine.errors["start"] = StartFailed("it could not be spawned")
            with pytest.raises(StartFailed):
                await again.manager.start("base", by="ops")
            trouble.is_there = False
            await wait_until(lambda: again.wanted().get("base") == ("running", "ops"))
            assert again.wanted() == {"echo": ("running", "first"), "base": ("running", "ops")}
            assert again.intents.all["echo"].by == "first"

    run(tmp_path, scenario)


def test_the_last_request_counts_if_the_store_can_be_read_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.close()
        again = Setup(setup.folder, engine=setup.engine)
        trouble = Trouble(monkeypatch, again.store)
        async with again.open():
            await again.manager.start("echo", by="ops")
            at = again.intents.all["echo"].at
            setup.engine.set("echo", STOPPED, asked=Asked("stopped", "boot-1", at + 0.01))
            trouble.is_there = False
            await wait_until(lambda: again.wanted() == {"echo": ("stopped", "supervisorctl")})

    run(tmp_path, scenario)


def test_a_new_database_gets_everything(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.manager.start("echo", by="ops")
        await setup.manager.switch.disable("base", "ops")
        await setup.store.write(lambda connection: connection.execute("DELETE FROM intent").connection)
        await setup.store.write(lambda connection: connection.execute("DELETE FROM disabled").connection)
        for callback in setup.store.on_replaced:
            callback()
        await wait_until(lambda: setup.wanted() == {"echo": ("running", "ops")})
        assert setup.stored("disabled").keys() == {"base"}

    run(tmp_path, scenario)
