"""What may happen while a start waits for dependencies."""

from __future__ import annotations

import asyncio
import logging
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.errors import DependencyFailed, StartFailed, SupervisorUnavailable
from plugvisor.manager.catalog_keeper import CatalogKeeper
from plugvisor.models.process import ProcessState

from tests.helpers.dependent_plugins import CHAIN, Setup, run
from tests.helpers.scenarios import let_tasks_run, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from plugvisor.plugins.catalog import Plugin

STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED, FATAL, UNKNOWN = ProcessState


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
