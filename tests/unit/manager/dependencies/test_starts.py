"""Starts of plugins that depend on others, also at boot; what cannot be had changes nothing."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import pytest
from plugvisor.errors import DependencyFailed, InvalidManifest
from plugvisor.manager.manager import Manager
from plugvisor.models.process import ProcessState

from tests.helpers.dependent_plugins import CHAIN, Setup, run
from tests.helpers.scenarios import let_tasks_run, wait_until
from tests.helpers.stores import make_intents

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED, FATAL, UNKNOWN = ProcessState


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
