"""What is recovered at the start, on an engine in memory that has no workers."""

from __future__ import annotations

import shutil
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from plugvisor.manager.installation.site import Site
from plugvisor.manager.installation.use_cases.recovery import Recovery
from plugvisor.manager.installation.workers import Workers
from plugvisor.manager.manager import Manager
from plugvisor.models.process import ProcessState

from tests.helpers.fake_engine import FakeEngine
from tests.helpers.scenarios import let_tasks_run, run_scenario
from tests.helpers.stores import make_intents

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
        recovery.open(is_on=True)
        assert await recovery.wait(5)
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
        recovery.open(is_on=True)
        await let_tasks_run()
        assert not await recovery.wait(0)
        engine.is_live = True
        engine.announce_all()
        assert await recovery.wait(5)
        await recovery.close()

    run_scenario(scenario())


def test_there_is_nothing_to_wait_for_without_a_folder(tmp_path: Path) -> None:
    async def scenario() -> None:
        engine = FakeEngine()
        checked: Engine = engine
        recovery = make_recovery(Manager(tmp_path, checked, make_intents()), engine, tmp_path)
        recovery.open(is_on=False)
        assert await recovery.wait(0)
        await recovery.close()

    run_scenario(scenario())
