"""The restorer: plugins whose published files are gone are published again, on an engine in memory."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from plugvisor.errors import StartFailed
from plugvisor.manager import restorer
from plugvisor.manager.manager import Manager
from plugvisor.models.process import ProcessState

from tests.helpers.fake_engine import FakeEngine
from tests.helpers.scenarios import run_scenario, wait_until
from tests.helpers.stores import make_intents

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from plugvisor.engines.engine import Engine


class LookedAt(FakeEngine):
    """Counts how often the restorer has looked."""

    looks = 0

    def find_unpublished(self, plugin_ids: Sequence[str]) -> list[str]:
        """Those of these plugins that are not published."""
        self.looks += 1
        return super().find_unpublished(plugin_ids)


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restorer, "CHECK_SECONDS", 0.005)


def run(plugins_dir: Path, break_it: str) -> LookedAt:
    """Make the published files of a plugin go away for some looks."""
    folder = plugins_dir / "echo"
    folder.mkdir()
    (folder / "plugin.toml").write_text('[plugin]\nid = "echo"\ncommand = "true"\n')
    engine = LookedAt()
    checked: Engine = engine
    manager = Manager(plugins_dir, checked, make_intents())

    async def scenario() -> None:
        await manager.load()
        await manager.refresh()
        if break_it == "the disk is full":
            engine.errors["publish"] = StartFailed("the disk is full")
        elif break_it == "the folder is gone":
            shutil.rmtree(folder)
        engine.published.clear()
        looks = engine.looks
        await wait_until(lambda: engine.looks >= looks + 5, "some looks")
        await manager.close()

    run_scenario(scenario())
    return engine


def test_they_are_published_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert list(run(tmp_path, "").published) == ["echo"]
    assert caplog.messages == ["the files of 1 plugins are gone; they are written again"]


def test_a_failure_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert run(tmp_path, "the disk is full").published == {}
    # others log what becomes of a change that goes on when the manager is closed
    assert [record.getMessage() for record in caplog.records if record.name == restorer.__name__] == [
        "the files of 1 plugins are gone; they are written again",
        "cannot restore 'echo': the disk is full",
    ]


def test_a_plugin_without_a_folder_is_not_missed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert run(tmp_path, "the folder is gone").published == {}
    assert caplog.messages == []


class FallsSilent(LookedAt):
    """Does not answer any more when the restorer has looked at the files."""

    def find_unpublished(self, plugin_ids: Sequence[str]) -> list[str]:
        """Those of these plugins that are not published."""
        missing = super().find_unpublished(plugin_ids)
        self.is_live = False
        return missing


def test_an_engine_that_falls_silent_is_looked_at_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine = FallsSilent()
    checked: Engine = engine
    manager = Manager(tmp_path, checked, make_intents())

    async def scenario() -> None:
        await manager.load()
        engine.set("unlisted", ProcessState.RUNNING)
        for _ in range(3):
            await wait_until(lambda: not engine.is_live, "a look")
            engine.is_live = True
        await manager.close()

    run_scenario(scenario())
    assert caplog.messages == []


def test_what_is_published_again_is_what_the_next_process_is_checked_by(tmp_path: Path) -> None:
    manifest = '[plugin]\nid = "echo"\ncommand = "true"\n[plugin_runtime.checks.web]\ntcp = "127.0.0.1:{}"\n'
    folder = tmp_path / "echo"
    folder.mkdir()
    (folder / "plugin.toml").write_text(manifest.format(1))
    engine = LookedAt()
    checked: Engine = engine
    manager = Manager(tmp_path, checked, make_intents())

    def find_address() -> str:
        published = manager.get_published("echo")
        return published.checks["web"].tcp if published is not None else ""

    async def scenario() -> None:
        await manager.load()
        await manager.refresh()
        (folder / "plugin.toml").write_text(manifest.format(22))
        await manager.refresh()
        assert find_address() == "127.0.0.1:1"
        engine.published.clear()
        await wait_until(lambda: engine.published, "its files")
        await wait_until(lambda: find_address() == "127.0.0.1:22", "its manifest to be known")
        await manager.close()
        assert engine.on_change == [], "nothing follows the processes any more"

    run_scenario(scenario())
