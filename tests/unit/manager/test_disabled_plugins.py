"""Plugins that are disabled, enabled and forgotten: what is remembered of them, and what waits for them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

import pytest
from plugvisor.errors import (
    DependencyFailed,
    NotRunning,
    PluginDisabled,
    PluginNotFound,
    StartFailed,
    SupervisorUnavailable,
)
from plugvisor.models.process import Asked, ProcessState

from tests.helpers.remembering_manager import Setup, run
from tests.helpers.scenarios import let_tasks_run, wait_until

if TYPE_CHECKING:
    from pathlib import Path

RUNNING, STARTING, STOPPED = ProcessState.RUNNING, ProcessState.STARTING, ProcessState.STOPPED


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
