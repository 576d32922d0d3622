"""What is recovered at the start, on an engine in memory."""

from __future__ import annotations

import json
import os
import shutil
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from plugvisor.errors import PluginDisabled, StartFailed
from plugvisor.manager.installation.site import Site
from plugvisor.manager.installation.use_cases.recovery import Recovery
from plugvisor.manager.installation.workers import Workers
from plugvisor.manager.manager import Manager
from plugvisor.models.process import ProcessState

from tests.helpers.fake_engine import FakeEngine
from tests.helpers.scenarios import let_tasks_run, run_scenario
from tests.helpers.stores import make_intents
from tests.helpers.waiting import DEADLINE_SECONDS
from tests.helpers.workers import WorkingEngine, install, open_worker, update

if TYPE_CHECKING:
    from pathlib import Path

    from plugvisor.engines.engine import Engine
    from plugvisor.manager.journal.recorder import Recorder


def write(folder: Path, plugin_id: str) -> None:
    (folder / plugin_id).mkdir()
    (folder / plugin_id / "plugin.toml").write_text(f'[plugin]\nid = "{plugin_id}"\ncommand = "true"\n')


def make_recovery(manager: Manager, engine: FakeEngine, folder: Path) -> Recovery:
    checked: Engine = engine
    site = Site(manager, checked, Workers(checked, folder, 1.0))
    return Recovery(site, cast("Recorder", SimpleNamespace(note=lambda _: None)))


def test_nothing_is_done_if_nothing_was_installed(tmp_path: Path) -> None:
    """Not even to a plugin whose folder is gone, which waits for a refresh; and no worker is started."""

    async def scenario() -> None:
        engine = FakeEngine(announces=True)
        checked: Engine = engine
        for plugin_id in ("echo", "gone"):
            write(tmp_path, plugin_id)
        manager = Manager(tmp_path, checked, make_intents())
        await manager.load()
        await manager.refresh()
        engine.set("gone", ProcessState.RUNNING)
        shutil.rmtree(tmp_path / "gone")
        await manager.close()

        manager = Manager(tmp_path, checked, make_intents())
        await manager.load()
        engine.calls.clear()
        recovery = make_recovery(manager, engine, tmp_path)
        recovery.open()
        assert await recovery.wait(DEADLINE_SECONDS)
        assert engine.calls == []
        assert engine.get("gone").state is ProcessState.RUNNING
        await recovery.close()
        await manager.close()

    run_scenario(scenario())


def test_it_waits_until_the_engine_answers(tmp_path: Path) -> None:
    async def scenario() -> None:
        engine = FakeEngine(announces=True)
        checked: Engine = engine
        manager = Manager(tmp_path, checked, make_intents())
        engine.is_live = False
        recovery = make_recovery(manager, engine, tmp_path)
        recovery.open()
        await let_tasks_run()
        assert not await recovery.wait(0)
        engine.is_live = True
        engine.announce_all()
        assert await recovery.wait(DEADLINE_SECONDS)
        await recovery.close()

    run_scenario(scenario())


async def load_installed(folder: Path, *, is_updated: bool) -> tuple[WorkingEngine, Manager]:
    """A manager that knows `echo`, which was installed, and perhaps updated without being confirmed, and runs."""
    engine = WorkingEngine()
    checked: Engine = engine
    async with open_worker(folder) as worker:
        record = await install(worker, "1")
        if is_updated:
            await update(worker, record, "2")
    manager = Manager(folder, checked, make_intents())
    await manager.load()
    await manager.refresh()
    engine.set("echo", ProcessState.RUNNING)
    engine.calls.clear()
    return engine, manager


def list_versions(folder: Path) -> list[str]:
    return sorted(name.partition("-")[0] for name in os.listdir(folder / "echo" / "versions"))


def test_a_removal_that_was_interrupted_is_completed_and_the_plugin_listed_no_more(tmp_path: Path) -> None:
    """The record was written, `current` was still there, and so the catalog has the plugin."""

    async def scenario() -> None:
        engine, manager = await load_installed(tmp_path, is_updated=False)
        (tmp_path / "echo" / "installed.json").write_text(json.dumps({"id": "echo"}))
        assert "echo" in manager.catalog
        recovery = make_recovery(manager, engine, tmp_path)
        recovery.open()
        assert await recovery.wait(DEADLINE_SECONDS)
        assert "echo" not in manager.catalog
        assert ("begin_stop", "echo") in engine.calls
        assert list_versions(tmp_path) == []
        await recovery.close()
        await manager.close()
        await engine.close()

    run_scenario(scenario())


@pytest.mark.parametrize(
    ("error", "kept"), [(None, ["1"]), (StartFailed("no memory"), ["1", "2"]), (PluginDisabled("by ada"), ["1", "2"])]
)
def test_a_version_that_was_gone_back_from_is_removed_unless_it_may_still_run(
    tmp_path: Path, error: Exception | None, kept: list[str]
) -> None:
    async def scenario() -> None:
        engine, manager = await load_installed(tmp_path, is_updated=True)
        if error is not None:
            engine.errors["begin_restart"] = error
        recovery = make_recovery(manager, engine, tmp_path)
        recovery.open()
        assert await recovery.wait(DEADLINE_SECONDS)
        assert engine.calls[0] == ("begin_restart", "echo")
        assert os.readlink(tmp_path / "echo" / "current").startswith("versions/1-")
        assert list_versions(tmp_path) == kept
        await recovery.close()
        await manager.close()
        await engine.close()

    run_scenario(scenario())


def make_check_of(version: str) -> str:
    return f'[plugin_runtime.checks.up]\nexec = ["test-{version}"]\nperiod = 1000\n'


def test_a_process_that_was_not_restarted_yet_is_checked_when_its_version_is_current_again(tmp_path: Path) -> None:
    """The service was killed after the swap and before the restart: its successor begins with the other manifest."""

    async def scenario() -> None:
        engine = WorkingEngine()
        checked: Engine = engine
        async with open_worker(tmp_path) as worker:
            record = await install(worker, "1", runtime=make_check_of("1"))
        manager = Manager(tmp_path, checked, make_intents())
        await manager.load()
        await manager.refresh()
        manifest = manager.get_published("echo")
        assert manifest is not None
        engine.set("echo", ProcessState.RUNNING, launches=1, checks_digest=manifest.checks_digest)
        assert manager.monitor.get("echo") is not None
        await manager.close()

        async with open_worker(tmp_path) as worker:
            await update(worker, record, "2", runtime=make_check_of("2"))
        manager = Manager(tmp_path, checked, make_intents())
        await manager.load()
        assert manager.monitor.get("echo") is None
        engine.calls.clear()
        recovery = make_recovery(manager, engine, tmp_path)
        recovery.open()
        assert await recovery.wait(DEADLINE_SECONDS)
        assert ("begin_restart", "echo") not in engine.calls
        assert manager.get_published("echo") == manifest
        facts = manager.facts("echo")
        assert facts is not None
        assert facts.health is manager.monitor.get("echo") is not None
        await recovery.close()
        await manager.close()
        await engine.close()

    run_scenario(scenario())
