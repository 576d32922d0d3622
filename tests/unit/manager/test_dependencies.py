"""Starts, stops and reloads of plugins that depend on each other, on an engine in memory."""

from __future__ import annotations

import asyncio
import gc
import logging
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.errors import DependencyFailed, InvalidManifest, NotRunning, StartFailed, SupervisorUnavailable
from plugvisor.manager.catalog_keeper import CatalogKeeper
from plugvisor.manager.dependencies import scheduler as module
from plugvisor.manager.manager import Manager
from plugvisor.manager.outcome import Outcome
from plugvisor.models.process import NOT_STARTED, ProcessState

from tests.helpers.fake_engine import FakeEngine
from tests.helpers.scenarios import let_tasks_run, run_scenario, wait_until
from tests.helpers.stores import make_intents

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from plugvisor.models.process import Process
    from plugvisor.plugins.catalog import Plugin

STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED, FATAL, UNKNOWN = ProcessState
CHAIN = {"base": "", "middle": "base", "top": "middle"}


class Setup:
    """A manager with plugins that depend on each other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.engine = FakeEngine(announces=True)
        self.manager = Manager(folder, self.engine, make_intents())
        self.told: list[str] = []
        self.manager.on_facts.append(self.told.append)

    def write(self, plugin_id: str, *dependencies: str, runtime: str = "") -> None:
        """Each dependency is an id, a condition and `optional`, separated by colons; only the id is needed."""
        tables = []
        for dependency in filter(None, dependencies):
            name, condition, optional = [*dependency.split(":"), "", ""][:3]
            tables.append(f"[plugin_runtime.depends_on.{name}]\ncondition = '{condition or 'ready'}'")
            tables.append(f"required = {str(not optional).lower()}")
        path = self.folder / plugin_id
        path.mkdir(exist_ok=True)
        text = f'[plugin]\nid = "{plugin_id}"\ncommand = "true"\n[plugin_runtime]\n{runtime}\n'
        (path / "plugin.toml").write_text(text + "\n".join(tables) + "\n")

    def get(self, plugin_id: str) -> Process:
        return self.engine.get(plugin_id)

    async def settle(self, plugin_id: str) -> None:
        """Wait until a plugin's start was made, and have it be RUNNING."""
        await wait_until(lambda: self.get(plugin_id).state is STARTING, f"{plugin_id} to start")
        self.engine.set(plugin_id, RUNNING)

    async def wait_failed(self, plugin_id: str) -> str:
        await wait_until(lambda: self.get(plugin_id).state is FATAL, f"{plugin_id} to fail")
        reason = self.get(plugin_id).spawn_error
        assert reason.startswith(f"{NOT_STARTED}: ")
        return reason.removeprefix(f"{NOT_STARTED}: ")

    def started(self) -> list[str]:
        return [name for method, name in self.engine.calls if method == "start"]


@pytest.fixture(autouse=True)
def retry_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)


def run(tmp_path: Path, plugins: dict[str, str], scenario: Callable[[Setup], Awaitable[Any]]) -> None:
    """Run a scenario with these plugins, stopped; each has its dependencies, separated by spaces."""

    async def loaded() -> None:
        setup = Setup(tmp_path)
        for name, dependencies in plugins.items():
            setup.write(name, *dependencies.split())
        await setup.manager.load()
        await setup.manager.refresh()
        setup.engine.calls.clear()
        await scenario(setup)
        await setup.manager.close()

    run_scenario(loaded())


# -- start


def test_a_start_starts_what_it_needs_and_waits_for_it(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        outcome = await setup.manager.start("top")
        assert (outcome.finished, outcome.process.queued, outcome.process.status) == (False, "asked", "starting")
        facts = setup.manager.facts("top")
        assert facts is not None
        assert (facts.unmet, facts.note) == (("middle",), "it waits for 'middle' to be ready")
        await setup.settle("base")
        assert setup.get("top").queued
        await setup.settle("middle")
        await setup.settle("top")
        assert setup.started() == ["base", "middle", "top"]
        assert setup.manager.facts("top") is None

    run(tmp_path, CHAIN, scenario)


def test_a_start_that_is_waited_for_covers_the_whole_chain(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        starting = asyncio.create_task(setup.manager.start("top", wait_seconds=20))
        for name in ("base", "middle"):
            await setup.settle(name)
        outcome = await starting
        assert (outcome.process.state, outcome.finished) == (RUNNING, True)
        assert not (await setup.manager.start("other", wait_seconds=0.01)).finished

    run(tmp_path, CHAIN | {"never": "", "other": "never"}, scenario)


def test_dependencies_that_need_each_other_not_are_started_side_by_side(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        held = [setup.engine.hold("start", name) for name in ("a", "b")]
        await setup.manager.start("top")
        for name in ("a", "b"):
            await setup.engine.wait_called("start", name)
        for event in held:
            event.set()
        for name in ("a", "b", "top"):
            await setup.settle(name)

    run(tmp_path, {"a": "", "b": "", "top": "a b"}, scenario)


def test_what_runs_already_is_left_alone(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        setup.engine.set("middle", RUNNING)
        outcome = await setup.manager.start("top")
        assert (outcome.finished, outcome.process.state) == (True, STARTING)
        assert setup.engine.calls == [("start", "top")]

    run(tmp_path, CHAIN, scenario)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (
            shutil.rmtree,
            "'middle' depends on 'base', which cannot be started: its manifest is invalid: plugin.toml: the",
        ),
        (lambda path: (path / "plugin.toml").write_text("[plugin"), "which cannot be started: its manifest is invalid"),
        (
            lambda path: (path / "plugin.toml").write_text(
                '[plugin]\nid = "base"\ncommand = "true"\n[plugin_runtime]\nenabled = false'
            ),
            "which is disabled",
        ),
    ],
)
@pytest.mark.parametrize("verb", ["start", "reload"])
def test_what_cannot_be_had_is_said_before_anything_is_changed(
    tmp_path: Path, spoil: Callable[[Path], object], reason: str, verb: str
) -> None:
    async def scenario(setup: Setup) -> None:
        if verb == "reload":
            setup.engine.set("top", RUNNING)
        spoil(tmp_path / "base")
        with pytest.raises(DependencyFailed) as raised:
            await getattr(setup.manager, verb)("top")
        assert str(raised.value).startswith(f"cannot {verb} 'top': ")
        assert reason in str(raised.value)
        assert raised.value.dependency == "base"
        assert setup.engine.calls == []

    run(tmp_path, CHAIN, scenario)


def test_a_dependency_that_was_never_there(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        with pytest.raises(DependencyFailed, match=r"^cannot start 'top': its dependency 'nobody' is missing$"):
            await setup.manager.start("top")

    run(tmp_path, {"top": "nobody"}, scenario)


def test_an_optional_dependency_is_only_an_order(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        assert (await setup.manager.start("top")).finished, "there is nothing to wait for"
        setup.engine.set("top", STOPPED)
        setup.engine.set("base", STARTING)
        assert not (await setup.manager.start("top")).finished
        setup.engine.set("base", FATAL)
        await setup.settle("top")
        assert setup.manager.facts("top") is None

    run(tmp_path, {"base": "", "top": "base::optional nobody::optional"}, scenario)


def test_conditions(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.manager.start("top")
        facts = setup.manager.facts("top")
        assert facts is not None
        assert facts.note == "it waits for 'a' to start and 'b' to complete"
        await wait_until(lambda: setup.get("a").state is STARTING and setup.get("b").state is STARTING)
        setup.engine.set("b", RUNNING)
        await let_tasks_run()
        assert setup.get("top").queued
        setup.engine.set("b", EXITED)
        await setup.settle("top")

    run(tmp_path, {"a": "", "b": "", "top": "a:started b:completed"}, scenario)


# -- what happens while it waits


@pytest.mark.parametrize(
    ("state", "fields", "reason"),
    [
        (STOPPED, {}, "its dependency 'base' was stopped"),
        (FATAL, {"spawn_error": "no such file"}, "its dependency 'base' failed: "),
        (EXITED, {}, "its dependency 'base' has ended"),
        (EXITED, {"spawn_error": "Bad exit code 3"}, "its dependency 'base' failed: it ended unexpectedly"),
    ],
)
def test_a_dependency_that_fails_while_it_is_waited_for(
    tmp_path: Path, state: ProcessState, fields: dict[str, Any], reason: str
) -> None:
    async def scenario(setup: Setup) -> None:
        starting = asyncio.create_task(setup.manager.start("top", wait_seconds=20))
        await wait_until(lambda: setup.get("base").state is STARTING)
        setup.engine.set("base", state, **fields)
        assert (await setup.wait_failed("middle")).startswith(reason)
        assert (await setup.wait_failed("top")).startswith("its dependency 'middle' failed: ")
        with pytest.raises(DependencyFailed, match=r"^cannot start 'top': its dependency 'middle' failed") as raised:
            await starting
        assert raised.value.dependency == "middle"
        assert setup.started() == ["base"]

    run(tmp_path, CHAIN, scenario)


@pytest.mark.parametrize(
    ("state", "fields"), [(BACKOFF, {}), (EXITED, {"spawn_error": "Bad exit code 3", "retry_at": 1.0})]
)
def test_a_dependency_that_is_tried_again_is_waited_for(
    tmp_path: Path, state: ProcessState, fields: dict[str, Any]
) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.manager.start("middle")
        await wait_until(lambda: setup.get("base").state is STARTING)
        setup.engine.set("base", state, **fields)
        await let_tasks_run()
        assert setup.get("middle").queued
        setup.engine.set("base", RUNNING, spawn_error="", retry_at=None)
        await setup.settle("middle")

    run(tmp_path, CHAIN, scenario)


def test_a_stop_cancels_a_start_that_waits(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        starting = asyncio.create_task(setup.manager.start("top", wait_seconds=20))
        await wait_until(lambda: setup.get("base").state is STARTING)
        assert (await setup.manager.stop("top")).finished
        with pytest.raises(StartFailed, match=r"^cannot start 'top': it was stopped"):
            await starting
        for name in ("base", "middle"):
            await setup.settle(name)
        await let_tasks_run()
        assert setup.get("top").state is STOPPED
        assert setup.started() == ["base", "middle"]

    run(tmp_path, CHAIN, scenario)


def test_two_starts_of_one_chain_are_one(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        starts = [asyncio.create_task(setup.manager.start("top", wait_seconds=20)) for _ in range(2)]
        starts[1].cancel()  # a client that goes away cancels nothing
        starts.append(asyncio.create_task(setup.manager.start("top", wait_seconds=20)))
        for name in ("base", "middle"):
            await setup.settle(name)
        await asyncio.gather(starts[0], starts[2])
        assert setup.started() == ["base", "middle", "top"]

    run(tmp_path, CHAIN, scenario)


def test_somebody_else_starts_the_dependency_meanwhile(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        held = setup.engine.hold("queue", "base")
        starting = asyncio.create_task(setup.manager.start("middle"))
        await setup.engine.wait_called("queue", "base")
        await setup.manager.start("base")
        held.set()
        await starting
        setup.engine.set("base", RUNNING)
        await setup.settle("middle")
        assert setup.started() == ["base", "middle"]

    run(tmp_path, CHAIN, scenario)


def test_the_engine_reports_one_queued_plugin_after_another(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        held = setup.engine.hold("queue", "base")
        starting = asyncio.create_task(setup.manager.start("top"))
        await setup.engine.wait_called("queue", "base")
        assert setup.get("middle").queued, "its dependency is not yet"
        await let_tasks_run()
        held.set()
        await starting
        for name in CHAIN:
            await setup.settle(name)

    run(tmp_path, CHAIN, scenario)


def test_a_refresh_removes_what_is_waited_for(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.manager.start("middle")
        await wait_until(lambda: setup.get("base").state is STARTING)
        shutil.rmtree(tmp_path / "base")
        await setup.manager.refresh()
        assert await setup.wait_failed("middle") == "its dependency 'base' is missing"

    run(tmp_path, CHAIN, scenario)


def test_a_manifest_that_becomes_invalid_while_it_waits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.manager.start("middle")
        await wait_until(lambda: setup.get("base").state is STARTING)
        (tmp_path / "middle" / "plugin.toml").write_text("[plugin")
        setup.engine.set("base", RUNNING)
        assert "its manifest is invalid: plugin.toml line 1" in await setup.wait_failed("middle")

    with caplog.at_level(logging.WARNING):
        run(tmp_path, CHAIN, scenario)
    assert "cannot start 'middle': its manifest is invalid" in caplog.text


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        ("[plugin", "its manifest is invalid"),
        ("[plugin_runtime]\nenabled = false", "its manifest says `enabled = false`"),
    ],
)
def test_a_refresh_finds_that_a_queued_plugin_cannot_be_started(tmp_path: Path, manifest: str, reason: str) -> None:
    """It does not wait for a dependency that may never be ready, to be given up then."""

    async def scenario(setup: Setup) -> None:
        await setup.manager.start("middle")
        await wait_until(lambda: setup.get("base").state is STARTING)
        path = tmp_path / "middle" / "plugin.toml"
        path.write_text(path.read_text().replace("[plugin_runtime]", manifest) if "runtime" in manifest else manifest)
        await setup.manager.refresh()
        assert (await setup.wait_failed("middle")).startswith(reason)

    run(tmp_path, CHAIN, scenario)


def test_a_manifest_that_has_more_dependencies_when_its_turn_has_come(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.manager.start("middle")
        await wait_until(lambda: setup.get("base").state is STARTING)
        setup.write("middle", "base", "late")
        setup.engine.set("base", RUNNING)
        await setup.settle("late")
        await setup.settle("middle")
        assert setup.started() == ["base", "late", "middle"]

    run(tmp_path, CHAIN | {"late": ""}, scenario)


def test_what_was_stopped_is_not_started_again_by_what_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.manager.start("middle")
        await wait_until(lambda: setup.get("base").state is STARTING)
        read = CatalogKeeper.read_startable

        async def read_meanwhile(keeper: CatalogKeeper, plugin_id: str) -> Plugin:
            setup.engine.set("base", STOPPED)
            return await read(keeper, plugin_id)

        monkeypatch.setattr(CatalogKeeper, "read_startable", read_meanwhile)
        setup.engine.set("base", RUNNING)
        assert "its dependency 'base' was stopped" in await setup.wait_failed("middle")
        assert setup.started() == ["base"]
        assert not setup.get("base").queued

    run(tmp_path, CHAIN, scenario)


def test_a_call_that_the_engine_has_not_answered_is_made_again(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.manager.start("middle")
        setup.engine.errors["start"] = SupervisorUnavailable("it is frozen")
        await setup.engine.wait_called("start", "base", times=2)
        assert setup.get("base").queued
        del setup.engine.errors["start"]
        await setup.settle("base")
        await setup.settle("middle")

    run(tmp_path, CHAIN, scenario)


def test_a_start_that_fails(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        setup.engine.errors["start"] = StartFailed("its program cannot be written: No space left on device")
        await setup.manager.start("middle")
        assert "No space left" in await setup.wait_failed("base")
        assert "'base' failed" in await setup.wait_failed("middle")

    run(tmp_path, CHAIN, scenario)


# -- boot, and a service that begins again


def test_what_waits_at_boot_is_started_in_its_order(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        for name in ("middle", "top"):
            setup.engine.set(name, STOPPED, queued="boot")
        for name in ("base", "middle", "top"):
            await setup.settle(name)
        assert setup.started() == ["base", "middle", "top"], "what must run is started, though nobody asked for it"

    run(tmp_path, CHAIN, scenario)


def test_what_cannot_be_had_at_boot(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        shutil.rmtree(tmp_path / "base")
        await setup.manager.refresh()
        for name in ("middle", "top"):
            setup.engine.set(name, STOPPED, queued="boot")
        assert await setup.wait_failed("middle") == "its dependency 'base' is missing"
        await setup.wait_failed("top")
        assert setup.started() == []

    run(tmp_path, CHAIN, scenario)


def test_a_service_that_begins_goes_on_with_what_is_queued(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.manager.start("top")
        await wait_until(lambda: setup.get("base").state is STARTING)
        listeners, setup.engine.on_change[:] = list(setup.engine.on_change), []  # it is killed
        setup.engine.set("base", RUNNING)
        again = Manager(tmp_path, setup.engine, make_intents())
        await again.load()
        await setup.settle("middle")
        await setup.settle("top")
        await again.close()
        setup.engine.on_change.extend(listeners)  # for `close`

    run(tmp_path, CHAIN, scenario)


# -- stop


def test_a_stop_stops_one_plugin_alone_and_says_what_the_others_miss(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        for name in CHAIN:
            setup.engine.set(name, RUNNING)
        setup.told.clear()
        await setup.manager.stop("base")
        facts = setup.manager.facts("middle")
        assert facts is not None
        assert (facts.unmet, facts.note) == (("base",), "its dependency 'base' is not running")
        assert setup.told == ["middle"]
        assert setup.manager.facts("top") is None
        version = setup.manager.version
        setup.engine.set("base", RUNNING)
        assert setup.manager.facts("middle") is None
        assert setup.manager.version > version

    run(tmp_path, CHAIN, scenario)


def test_a_stop_with_dependents_goes_by_chains(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        for name in setup.manager.catalog:
            setup.engine.set(name, RUNNING)
        held = setup.engine.hold("wait_stopped", "slow")
        dependents = setup.manager.stops.list_running_dependents(["base"])
        stopping = asyncio.create_task(setup.manager.stops.stop_with_dependents("base", dependents))
        await wait_until(lambda: setup.get("middle").state is STOPPED, "the other chain to stop")
        assert setup.get("base").state is RUNNING, "it waits for the slow one"
        dependents = setup.manager.stops.list_running_dependents(["base"])
        results = await setup.manager.stops.stop_with_dependents("base", dependents, wait_seconds=0)
        assert isinstance(outcome := results["base"], Outcome)
        assert not outcome.finished
        held.set()
        results = await stopping
        assert isinstance(outcome := results["base"], Outcome)
        assert outcome.finished
        assert sorted(results) == ["base", "middle", "slow", "top"]
        order = [name for method, name in setup.engine.calls if method == "begin_stop"]
        assert order.index("top") < order.index("middle") < order.index("base")
        assert order.index("slow") < order.index("base")
        assert setup.get("apart").state is RUNNING

    run(tmp_path, CHAIN | {"slow": "base", "apart": "", "loose": "base::optional"}, scenario)


def test_stops_of_many_go_in_the_reverse_order(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        setup.engine.set("base", RUNNING)
        setup.engine.set("top", RUNNING)  # its own dependency does not run
        held = setup.engine.hold("wait_stopped", "top")
        stopping = asyncio.create_task(setup.manager.stops.stop_many(["base", "middle", "top", "nobody"]))
        await setup.engine.wait_called("wait_stopped", "top")
        assert setup.get("base").state is RUNNING
        held.set()
        results = await stopping
        assert list(results) == ["base", "middle", "top"]
        assert [type(result).__name__ for result in results.values()] == ["Outcome", "NotRunning", "Outcome"]

    run(tmp_path, CHAIN, scenario)


# -- reload


def test_a_reload_of_a_plugin_whose_dependency_is_stopped(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        setup.engine.set("middle", RUNNING)
        outcome = await setup.manager.reload("middle")
        assert (outcome.finished, outcome.process.state) == (False, STOPPING)
        assert outcome.process.queued == "asked", "its start is not lost with the service"
        setup.engine.set("middle", STOPPED)
        await setup.settle("base")
        await setup.settle("middle")

    run(tmp_path, CHAIN, scenario)


def test_a_reload_whose_dependencies_are_met_is_as_ever(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        for name in ("base", "middle"):
            setup.engine.set(name, RUNNING)
        assert (await setup.manager.reload("middle")).finished
        assert [method for method, _ in setup.engine.calls] == ["begin_restart", "wait_spawned", "wait_running"]

    run(tmp_path, CHAIN, scenario)


def test_a_plugin_without_dependencies_costs_no_more(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.manager.start("base", wait_seconds=1)
        await setup.manager.reload("base")
        await setup.manager.stop("base")
        assert setup.engine.calls == [
            *[("start", "base"), ("wait_running", "base")],
            *[(method, "base") for method in ("begin_restart", "wait_spawned", "wait_running")],
            *[("begin_stop", "base"), ("wait_stopped", "base")],
        ]
        (tmp_path / "base" / "plugin.toml").write_text("[plugin")
        with pytest.raises(InvalidManifest):
            await setup.manager.start("base")

    run(tmp_path, {"base": ""}, scenario)


def test_a_stop_that_fails_at_once_is_reported_once(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        results = await setup.manager.stops.stop_many(["base"], wait_seconds=5)
        assert isinstance(results["base"], NotRunning)
        results.clear()
        await let_tasks_run()
        gc.collect()  # an exception that nobody has taken is reported then, and fails the scenario

    run(tmp_path, CHAIN, scenario)
