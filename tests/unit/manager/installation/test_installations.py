"""What is refused before an operation begins, on an engine in memory."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from plugvisor.api.problems import make_problem
from plugvisor.errors import (
    InstallationOff,
    NotInstalled,
    OperationInterrupted,
    OperationNotFound,
    PluginNotFound,
    TooManyOperations,
)
from plugvisor.manager.installation import installations as module
from plugvisor.manager.installation.installations import Installations, InstallOptions
from plugvisor.manager.installation.uploads import Package
from plugvisor.manager.manager import Manager
from plugvisor.settings import Settings
from plugvisor.store.store import Store

from tests.helpers.fake_engine import FakeEngine
from tests.helpers.scenarios import run_scenario
from tests.helpers.stores import make_intents

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from plugvisor.engines.engine import Engine
    from plugvisor.manager.journal.recorder import Recorder

    Scenario = Callable[[Installations, FakeEngine], Awaitable[Any]]


def run(folder: Path, scenario: Scenario, *, is_live: bool = True, **environ: str) -> None:
    """Run a scenario with the plugin `echo`, which was put there by hand."""
    plugins = folder / "plugins"
    (plugins / "echo").mkdir(parents=True)
    (plugins / "echo" / "plugin.toml").write_text('[plugin]\nid = "echo"\ncommand = "true"\n')
    settings = Settings.from_env(
        {
            "PLUGVISOR_PLUGINS_DIR": str(plugins),
            "PLUGVISOR_RUN_DIR": str(folder / "run"),
            "PLUGVISOR_STATE_DIR": str(folder / "state"),
            **environ,
        }
    )

    async def opened() -> None:
        engine = FakeEngine(announces=True)
        checked: Engine = engine
        store = Store(settings.state_dir)
        await store.open()
        manager = Manager(plugins, checked, make_intents())
        await manager.load()
        engine.is_live = is_live
        recorder = cast("Recorder", SimpleNamespace(note=lambda _: None))
        installations = Installations(manager, checked, store, recorder, settings, make_problem=make_problem)
        await installations.open()
        await scenario(installations, engine)
        await installations.close()
        await manager.close()
        await store.close()

    run_scenario(opened())


def make_package(folder: Path) -> Package:
    path = folder / "package"
    path.write_bytes(b"PK")
    return Package(os.open(path, os.O_RDONLY), "0" * 64, "echo.zip")


def test_without_a_folder_installation_is_off_and_says_why(tmp_path: Path) -> None:
    async def scenario(installations: Installations, _engine: FakeEngine) -> None:
        assert not installations.is_on
        package = make_package(tmp_path)
        with pytest.raises(InstallationOff, match="No such file or directory; see PLUGVISOR_INSTALL_DIR"):
            await installations.install(package, InstallOptions(), "ada")
        assert package.descriptor == -1
        assert installations.registry.list_all() == []
        (tmp_path / "later").mkdir()
        under_way = await installations.install(make_package(tmp_path), InstallOptions(), "ada")
        assert installations.is_on
        with pytest.raises(OperationInterrupted):  # this engine has no workers
            await under_way.wait(None)

    run(tmp_path, scenario, PLUGVISOR_INSTALL_DIR=str(tmp_path / "later"))


def test_a_folder_that_was_away_at_the_start_is_recovered_before_anything_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RECOVERY_SECONDS", 0.05)

    async def scenario(installations: Installations, _engine: FakeEngine) -> None:
        (tmp_path / "later" / ".staging").mkdir(parents=True)
        with pytest.raises(TooManyOperations, match="not recovered yet"):  # this engine has no workers
            await installations.install(make_package(tmp_path), InstallOptions(), "ada")

    run(tmp_path, scenario, PLUGVISOR_INSTALL_DIR=str(tmp_path / "later"))


def test_nothing_begins_before_the_recovery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECOVERY_SECONDS", 0.05)

    async def scenario(installations: Installations, engine: FakeEngine) -> None:
        with pytest.raises(TooManyOperations, match="not recovered yet") as caught:
            await installations.install(make_package(tmp_path), InstallOptions(), "ada")
        assert caught.value.retry_after_seconds
        engine.is_live = True
        engine.announce_all()
        await installations.install(make_package(tmp_path), InstallOptions(), "ada")

    run(tmp_path, scenario, is_live=False)


def test_what_was_put_there_by_hand_has_no_versions(tmp_path: Path) -> None:
    async def scenario(installations: Installations, _engine: FakeEngine) -> None:
        assert (await installations.list_versions("echo")).installed is False
        with pytest.raises(NotInstalled, match=r"^cannot roll back 'echo': it was put there by hand"):
            await installations.rollback("echo", "ada")
        with pytest.raises(NotInstalled, match=r"^cannot uninstall 'echo': it was put there by hand"):
            await installations.uninstall("echo", "ada", purge=True, dependents=False)
        assert installations.registry.list_all() == []

    run(tmp_path, scenario)


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    async def scenario(installations: Installations, _engine: FakeEngine) -> None:
        with pytest.raises(PluginNotFound):
            await installations.list_versions("nobody")
        with pytest.raises(PluginNotFound):
            await installations.rollback("nobody", "ada")
        for purge in (False, True):
            with pytest.raises(PluginNotFound):
                await installations.uninstall("nobody", "ada", purge=purge, dependents=False)
        with pytest.raises(OperationNotFound):
            await installations.cancel("nope")

    run(tmp_path, scenario)
