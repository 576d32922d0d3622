"""A manager of a folder with one plugin, on an engine in memory."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from plugvisor.manager.manager import Manager

from tests.helpers.fake_engine import FakeEngine
from tests.helpers.scenarios import run_scenario
from tests.helpers.stores import make_intents

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from plugvisor.engines.engine import Engine


class Plugins:
    """The plugins folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, plugin_id: str, *, version: str = "1", folder: str = "", runtime: str = "") -> None:
        path = self.folder / (folder or plugin_id)
        path.mkdir(exist_ok=True)
        (path / "plugin.toml").write_text(
            f'[plugin]\nid = "{plugin_id}"\nversion = "{version}"\ncommand = "true"\n[plugin_runtime]\n{runtime}\n'
        )

    def spoil(self, folder: str) -> None:
        (self.folder / folder / "plugin.toml").write_text("[plugin\n")

    def remove(self, folder: str) -> None:
        shutil.rmtree(self.folder / folder)


def run(tmp_path: Path, scenario: Callable[[Manager, FakeEngine, Plugins], Awaitable[Any]]) -> None:
    """Run a scenario with a manager that has loaded the stopped plugin `echo`."""

    async def loaded() -> None:
        plugins, engine = Plugins(tmp_path), FakeEngine()
        plugins.write("echo")
        checked: Engine = engine
        manager = Manager(tmp_path, checked, make_intents())
        await manager.load()
        await manager.refresh()
        engine.calls.clear()
        await scenario(manager, engine, plugins)
        await manager.close()

    run_scenario(loaded())
