"""Installing with real workers, on an engine in memory."""

from __future__ import annotations

import hashlib
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from plugvisor.api.problems import make_problem
from plugvisor.errors import NotInstalled, OperationInterrupted, StartFailed
from plugvisor.manager.installation.installations import Installations, InstallOptions
from plugvisor.manager.installation.uploads import Package
from plugvisor.manager.installation.worker import Worker
from plugvisor.manager.manager import Manager
from plugvisor.models.process import ProcessState
from plugvisor.settings import Settings
from plugvisor.store.store import Store

from tests.helpers.installation import find_current, read_record
from tests.helpers.packages import make_plugin_package
from tests.helpers.scenarios import run_scenario
from tests.helpers.stores import make_intents
from tests.helpers.workers import WorkingEngine, install, open_worker, update

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from plugvisor.engines.engine import Engine
    from plugvisor.manager.journal.recorder import Recorder
    from plugvisor.models.installation.operation import Operation
    from plugvisor.models.installation.record import Record

RUNNING, STOPPED, FATAL = ProcessState.RUNNING, ProcessState.STOPPED, ProcessState.FATAL


class Setup:
    """Installations in an empty folder, beside the plugins folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plugins, self.install_dir = folder / "plugins", folder / "installed"
        self.plugins.mkdir()
        self.install_dir.mkdir()
        settings = Settings.from_env(
            {
                "PLUGVISOR_PLUGINS_DIR": str(self.plugins),
                "PLUGVISOR_INSTALL_DIR": str(self.install_dir),
                "PLUGVISOR_RUN_DIR": str(folder / "run"),
                "PLUGVISOR_STATE_DIR": str(folder / "state"),
            }
        )
        self.engine = WorkingEngine()
        checked: Engine = self.engine
        self.store = Store(settings.state_dir)
        self.manager = Manager(self.plugins, checked, make_intents(), self.install_dir)
        recorder = cast("Recorder", SimpleNamespace(note=lambda _: None))
        self.installations = Installations(
            self.manager, checked, self.store, recorder, settings, make_problem=make_problem
        )

    async def install(self, data: bytes, **options: Any) -> Operation:
        """Install a package, and wait for the end."""
        path = self.folder / hashlib.sha256(data).hexdigest()
        path.write_bytes(data)
        package = Package(os.open(path, os.O_RDONLY), path.name, "echo.zip")
        under_way = await self.installations.install(package, InstallOptions(**options), "ada")
        operation = await under_way.wait(None)
        assert operation
        return operation

    def write_by_hand(self, plugin_id: str) -> None:
        """Put a plugin into the plugins folder."""
        (self.plugins / plugin_id).mkdir()
        (self.plugins / plugin_id / "plugin.toml").write_text(f'[plugin]\nid = "{plugin_id}"\ncommand = "true"\n')


def run(folder: Path, scenario: Callable[[Setup], Awaitable[Any]]) -> None:
    """Run a scenario."""

    async def opened() -> None:
        setup = Setup(folder)
        await setup.store.open()
        await setup.manager.load()
        await setup.installations.open()
        await scenario(setup)
        await setup.installations.close()
        await setup.manager.close()
        await setup.engine.close()
        await setup.store.close()

    run_scenario(opened())


def test_a_worker_that_is_killed_while_it_makes_the_first_version_current(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has written the record alone, by which the plugin is installed; another worker does the rest."""
    swap, failures = Worker.swap, [OperationInterrupted("killed")]

    async def write_record_and_fail(worker: Worker, plugin_id: str, version: str, record: Record) -> None:
        if failures:
            await worker.write_record(record)
            raise failures.pop()
        await swap(worker, plugin_id, version, record)

    async def scenario(setup: Setup) -> None:
        monkeypatch.setattr(Worker, "swap", write_record_and_fail)
        operation = await setup.install(make_plugin_package("echo", version="1"))
        assert operation.state == "succeeded"
        assert find_current(setup.install_dir, "echo") == read_record(setup.install_dir, "echo")["current"]
        assert setup.manager.catalog["echo"].version_folder

    run(tmp_path, scenario)


@pytest.mark.parametrize(("state", "is_confirmed"), [(RUNNING, True), (STOPPED, True), (FATAL, False)])
def test_the_package_of_an_update_that_could_neither_be_confirmed_nor_undone(
    tmp_path: Path, state: ProcessState, is_confirmed: bool
) -> None:
    """As on a disk that was full for long: it is confirmed only if it works."""

    async def scenario(setup: Setup) -> None:
        async with open_worker(setup.install_dir) as worker:
            await update(worker, await install(worker, "1"), "2")
        await setup.manager.refresh()
        setup.engine.set("echo", state)
        data = make_plugin_package("echo", version="2")
        if is_confirmed:
            assert (await setup.install(data)).unchanged is True
        else:
            setup.engine.errors["wait_running"] = StartFailed("it has ended")
            with pytest.raises(StartFailed):
                await setup.install(data)
        record = read_record(setup.install_dir, "echo")
        assert record["current"].startswith("2-")
        assert bool(record.get("pending")) is not is_confirmed

    run(tmp_path, scenario)


def test_a_plugin_that_was_put_there_by_hand_after_one_of_its_id_was_removed(tmp_path: Path) -> None:
    """The data of the other one was kept; that does not make this one installed."""

    async def scenario(setup: Setup) -> None:
        await setup.install(make_plugin_package("echo", version="1"))
        removed = await setup.installations.uninstall("echo", "ada", purge=False, dependents=False)
        assert await removed.wait(None)
        setup.write_by_hand("echo")
        await setup.manager.refresh()
        setup.engine.set("echo", ProcessState.RUNNING)
        setup.engine.calls.clear()
        for purge in (False, True):
            with pytest.raises(NotInstalled, match=r"^cannot uninstall 'echo': it was put there by hand"):
                await setup.installations.uninstall("echo", "ada", purge=purge, dependents=False)
        with pytest.raises(NotInstalled, match=r"^cannot roll back 'echo': it was put there by hand"):
            await setup.installations.rollback("echo", "ada")
        assert setup.engine.calls == []
        assert setup.engine.get("echo").state is ProcessState.RUNNING

    run(tmp_path, scenario)
