"""A manager with plugins that depend on each other, on an engine in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plugvisor.manager.manager import Manager
from plugvisor.models.process import NOT_STARTED, ProcessState

from tests.helpers.fake_engine import FakeEngine
from tests.helpers.scenarios import run_scenario, wait_until
from tests.helpers.stores import make_intents

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from plugvisor.models.process import Process

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
