"""The manager: start, stop and reload, on an engine in memory and manifests on disk."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from plugvisor.errors import (
    AlreadyRunning,
    InvalidManifest,
    NotRunning,
    PluginDisabled,
    PluginNotFound,
    StartFailed,
    SupervisorUnavailable,
)
from plugvisor.models.process import ProcessState

from tests.helpers.managers import Plugins, run
from tests.helpers.scenarios import let_tasks_run, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from plugvisor.manager.manager import Manager

    from tests.helpers.fake_engine import FakeEngine

STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED, FATAL, UNKNOWN = ProcessState


# -- start


def test_a_start_publishes_the_manifest_as_it_is_now(tmp_path: Path) -> None:
    async def scenario(manager: Manager, engine: FakeEngine, plugins: Plugins) -> None:
        version, announced = manager.version, []
        manager.on_change.append(lambda: announced.append(manager.catalog["echo"].manifest))
        plugins.write("echo", version="2")
        outcome = await manager.start("echo")
        assert (outcome.process.state, outcome.finished) == (STARTING, True)
        assert engine.published["echo"][0].version == "2"
        assert [manifest.version for manifest in announced if manifest] == ["2"]
        assert manager.version > version
        assert engine.calls == [("start", "echo")]

    run(tmp_path, scenario)


def test_a_start_may_wait_until_it_runs(tmp_path: Path) -> None:
    async def scenario(manager: Manager, engine: FakeEngine, plugins: Plugins) -> None:
        assert (await manager.start("echo", wait_seconds=5)).process.state is RUNNING
        engine.set("echo", STOPPED)
        assert (await manager.start("echo", wait_seconds=0)).process.state is STARTING
        engine.set("echo", STOPPED)
        engine.errors["wait_running"] = StartFailed("it died")
        with pytest.raises(StartFailed, match=r"^cannot start 'echo': it died"):
            await manager.start("echo", wait_seconds=5)

    run(tmp_path, scenario)


@pytest.mark.parametrize("verb", ["start", "reload"])
@pytest.mark.parametrize(
    ("spoil", "error", "text"),
    [
        (lambda plugins: plugins.spoil("echo"), InvalidManifest, "its manifest is invalid: plugin.toml line 1"),
        (lambda plugins: plugins.remove("echo"), InvalidManifest, "the folder is gone"),
        (lambda plugins: plugins.write("echo", runtime="enabled = false"), PluginDisabled, "`enabled = false`"),
        (lambda plugins: plugins.write("other", folder="echo"), InvalidManifest, "its id is now 'other'; refresh"),
    ],
)
def test_what_may_not_be_started_is_rejected_before_anything_is_stopped(
    tmp_path: Path, verb: str, spoil: Callable[[Plugins], None], error: type[Exception], text: str
) -> None:
    async def scenario(manager: Manager, engine: FakeEngine, plugins: Plugins) -> None:
        before = dict(engine.published)
        if verb == "reload":
            engine.set("echo", RUNNING)
        spoil(plugins)
        with pytest.raises(error) as raised:
            await getattr(manager, verb)("echo")
        assert str(raised.value).startswith(f"cannot {verb} 'echo': ")
        assert text in str(raised.value)
        assert (engine.calls, engine.published) == ([], before)
        assert list(manager.catalog) == ["echo"], "it keeps its id until a refresh"

    run(tmp_path, scenario)


@pytest.mark.parametrize("state", ProcessState)
def test_a_start_in_every_state(tmp_path: Path, state: ProcessState) -> None:
    async def scenario(manager: Manager, engine: FakeEngine, plugins: Plugins) -> None:
        engine.set("echo", state)
        if state in (STARTING, RUNNING):
            with pytest.raises(AlreadyRunning, match=f"cannot start 'echo': it is {state.name.lower()} already"):
                await manager.start("echo")
            assert engine.calls == []
        else:
            assert (await manager.start("echo")).process.state is STARTING

    run(tmp_path, scenario)


@pytest.mark.parametrize("verb", ["start", "stop", "reload"])
def test_an_unknown_plugin(tmp_path: Path, verb: str) -> None:
    async def scenario(manager: Manager, engine: FakeEngine, plugins: Plugins) -> None:
        with pytest.raises(PluginNotFound, match="there is no plugin 'nobody'"):
            await getattr(manager, verb)("nobody")

    run(tmp_path, scenario)


# -- stop and reload


def test_a_stop_answers_when_it_has_ended(tmp_path: Path) -> None:
    async def scenario(manager: Manager, engine: FakeEngine, plugins: Plugins) -> None:
        engine.set("echo", RUNNING)
        held = engine.hold("wait_stopped", "echo")
        stopping = asyncio.create_task(manager.stop("echo"))
        second = asyncio.create_task(manager.stop("echo"))
        await engine.wait_called("wait_stopped", "echo")
        outcome = await manager.stop("echo", wait_seconds=0)
        assert (outcome.process.state, outcome.finished) == (STOPPING, False)
        held.set()
        for task in (stopping, second):
            outcome = await task
            assert (outcome.process.state, outcome.finished) == (STOPPED, True)
        assert engine.calls == [("begin_stop", "echo"), ("wait_stopped", "echo")], "three clicks are one stop"
        with pytest.raises(NotRunning, match=r"^cannot stop 'echo': it is not running$"):
            await manager.stop("echo", wait_seconds=5)

    run(tmp_path, scenario)


def test_a_stop_needs_no_manifest(tmp_path: Path) -> None:
    async def scenario(manager: Manager, engine: FakeEngine, plugins: Plugins) -> None:
        engine.set("echo", RUNNING)
        plugins.spoil("echo")
        assert (await manager.stop("echo")).finished

    run(tmp_path, scenario)


def test_a_reload_answers_when_it_runs(tmp_path: Path) -> None:
    async def scenario(manager: Manager, engine: FakeEngine, plugins: Plugins) -> None:
        engine.set("echo", RUNNING)
        plugins.write("echo", version="2")
        outcome = await manager.reload("echo")
        assert (outcome.process.state, outcome.finished) == (RUNNING, True)
        assert [method for method, _ in engine.calls] == ["begin_restart", "wait_spawned", "wait_running"]
        assert engine.published["echo"][0].version == "2"

    run(tmp_path, scenario)


def test_a_reload_that_is_waited_for_a_time(tmp_path: Path) -> None:
    async def scenario(manager: Manager, engine: FakeEngine, plugins: Plugins) -> None:
        held = engine.hold("wait_spawned", "echo")
        outcome = await manager.reload("echo", wait_seconds=0)
        assert (outcome.process.state, outcome.finished) == (STOPPING, False)
        held.set()
        await wait_until(lambda: engine.get("echo").state is STARTING, "it to go on")
        outcome = await manager.reload("echo", wait_seconds=0.000001)
        assert outcome.finished == (outcome.process.state is RUNNING)

    run(tmp_path, scenario)


def test_what_only_waits_until_it_runs_keeps_no_other_operation_waiting(tmp_path: Path) -> None:
    async def scenario(manager: Manager, engine: FakeEngine, plugins: Plugins) -> None:
        held = engine.hold("wait_running", "echo")
        waiting = [asyncio.create_task(manager.reload("echo")), asyncio.create_task(manager.reload("echo"))]
        await engine.wait_called("wait_running", "echo", times=2)
        await manager.stop("echo")
        held.set()
        await asyncio.gather(*waiting)

    run(tmp_path, scenario)


def test_operations_on_one_plugin_are_done_one_after_another(tmp_path: Path) -> None:
    async def scenario(manager: Manager, engine: FakeEngine, plugins: Plugins) -> None:
        held = engine.hold("wait_spawned", "echo")
        reloading = asyncio.create_task(manager.reload("echo"))
        await engine.wait_called("wait_spawned", "echo")
        stopping = asyncio.create_task(manager.stop("echo"))
        await let_tasks_run()
        held.set()
        await stopping
        methods = [method for method, _ in engine.calls if method != "wait_running"]
        assert methods == ["begin_restart", "wait_spawned", "begin_stop", "wait_stopped"]
        await reloading

    run(tmp_path, scenario)


@pytest.mark.parametrize("verb", ["start", "stop", "reload", "refresh"])
def test_an_unavailable_supervisord(tmp_path: Path, verb: str) -> None:
    async def scenario(manager: Manager, engine: FakeEngine, plugins: Plugins) -> None:
        engine.is_live = False
        error = SupervisorUnavailable("the engine is away")
        engine.errors = dict.fromkeys(("start", "begin_stop", "begin_restart"), error)
        with pytest.raises(SupervisorUnavailable, match="the engine is away"):
            await (manager.refresh() if verb == "refresh" else getattr(manager, verb)("echo"))
        assert "echo" in manager.catalog

    run(tmp_path, scenario)


def test_what_cannot_be_published_is_not_started(tmp_path: Path) -> None:
    async def scenario(manager: Manager, engine: FakeEngine, plugins: Plugins) -> None:
        engine.errors["publish"] = StartFailed("its program cannot be written: No space left on device")
        for change in (manager.start, manager.reload):
            with pytest.raises(StartFailed, match="No space left"):
                await change("echo")
        plugins.write("new")
        with pytest.raises(StartFailed, match=r"^cannot add 'new': its program cannot be written"):
            await manager.refresh()
        assert engine.calls == []

    run(tmp_path, scenario)


def test_close_waits_for_what_is_under_way(tmp_path: Path) -> None:
    async def scenario(manager: Manager, engine: FakeEngine, plugins: Plugins) -> None:
        held = engine.hold("start", "echo")
        starting = asyncio.create_task(manager.start("echo"))
        await engine.wait_called("start", "echo")
        closing = asyncio.create_task(manager.close())
        await let_tasks_run()
        assert not closing.done()
        held.set()
        await closing
        assert (await starting).process.state is STARTING

    run(tmp_path, scenario)
