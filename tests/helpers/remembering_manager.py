"""A manager with an engine in memory, which remembers in a real store."""

from __future__ import annotations

import sqlite3
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from plugvisor.manager.intents.intents import Intents
from plugvisor.manager.manager import Manager
from plugvisor.store.store import FILE_NAME, Store

from tests.helpers.fake_engine import FakeEngine
from tests.helpers.scenarios import run_scenario

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from plugvisor.engines.engine import Engine


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
