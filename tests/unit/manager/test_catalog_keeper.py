"""The catalog, as plugins change one after another, on an engine in memory."""

from __future__ import annotations

import asyncio
import shutil
import threading
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.manager import catalog_keeper
from plugvisor.manager.catalog_keeper import CatalogKeeper
from plugvisor.plugins.catalog import load_catalog
from plugvisor.plugins.dependencies import resolve

from tests.helpers.fake_engine import FakeEngine
from tests.helpers.scenarios import run_scenario, wait_until
from tests.helpers.waiting import DEADLINE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from plugvisor.models.manifest import Manifest


def write(plugins_dir: Path, plugin_id: str, *dependencies: str, version: str = "1") -> None:
    folder = plugins_dir / plugin_id
    folder.mkdir(exist_ok=True)
    text = f'[plugin]\nid = "{plugin_id}"\ncommand = "true"\nversion = "{version}"\n'
    for name in dependencies:
        text += f'[[plugin.dependency]]\nid = "{name}"\nsupported = "<3"\n'
    (folder / "plugin.toml").write_text(text)


def test_a_change_of_a_plugin_that_nothing_depends_on_costs_no_look_at_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        for name in ("a", "b", "c"):
            write(tmp_path, name)
        keeper = CatalogKeeper(tmp_path, FakeEngine())
        await keeper.load()
        version = keeper.version
        monkeypatch.setattr(catalog_keeper, "resolve", lambda *_: pytest.fail("the others were looked at"))
        write(tmp_path, "b", version="2")
        await keeper.read(["b"])
        assert [plugin.manifest and plugin.manifest.version for plugin in keeper.catalog.values()] == ["1", "2", "1"]
        keeper.forget("b")
        assert list(keeper.catalog) == ["a", "c"]
        assert keeper.version == version + 2

    run_scenario(scenario())


def test_whatever_changes_the_catalog_is_that_of_a_new_reading(tmp_path: Path) -> None:
    async def scenario() -> None:
        engine = FakeEngine()
        write(tmp_path, "a")
        write(tmp_path, "b")
        write(tmp_path, "c", "a")
        keeper = CatalogKeeper(tmp_path, engine)
        await keeper.load()
        changes: list[tuple[str, tuple[str, ...], str]] = [
            ("b", ("a",), "1"),  # gets a dependency
            ("a", (), "2"),  # is depended on
            ("a", (), "3"),  # is not supported any more
            ("a", ("b",), "1"),  # makes a cycle
            ("c", (), "1"),  # loses its dependency
            ("b", ("d",), "1"),  # depends on what is not there
            ("b", (), "1"),
        ]
        for plugin_id, dependencies, version in changes:
            write(tmp_path, plugin_id, *dependencies, version=version)
            await keeper.read([plugin_id])
            assert keeper.catalog == resolve(load_catalog(tmp_path, {}, engine.render)), (plugin_id, dependencies)

    run_scenario(scenario())


def test_a_plugin_that_is_removed_while_it_is_read_stays_away(tmp_path: Path) -> None:
    class SlowEngine(FakeEngine):
        is_held = False
        begun, go = threading.Event(), threading.Event()

        def render(self, manifest: Manifest, folder: Path) -> Any:
            """Wait for the test."""
            if self.is_held:
                self.begun.set()
                assert self.go.wait(DEADLINE_SECONDS)
            return super().render(manifest, folder)

    async def scenario() -> None:
        write(tmp_path, "a")
        engine = SlowEngine()
        keeper = CatalogKeeper(tmp_path, engine)
        await keeper.load()
        write(tmp_path, "a", version="2")
        engine.is_held = True
        reading = asyncio.create_task(keeper.read(["a"]))
        await wait_until(engine.begun.is_set, "the reading to begin")
        shutil.rmtree(tmp_path / "a")
        keeper.forget("a")
        engine.go.set()
        await reading
        assert keeper.catalog == {}

    run_scenario(scenario())
