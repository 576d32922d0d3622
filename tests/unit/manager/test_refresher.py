"""Refreshes: what they add, change and remove, also beside other operations."""

from __future__ import annotations

import asyncio
import shutil
import threading
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.errors import (
    AlreadyRunning,
    InvalidManifest,
    PluginsUnreadable,
    StartFailed,
    StopTimeout,
)
from plugvisor.manager import catalog_reader
from plugvisor.manager import refresher as module
from plugvisor.manager.manager import Manager
from plugvisor.manager.refresher import Refreshed
from plugvisor.models.process import ProcessState

from tests.helpers.managers import Plugins, run
from tests.helpers.scenarios import let_tasks_run, wait_until
from tests.helpers.stores import make_intents
from tests.helpers.waiting import DEADLINE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helpers.fake_engine import FakeEngine

STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED, FATAL, UNKNOWN = ProcessState


def test_a_refresh_adds_notes_changes_and_removes(tmp_path: Path) -> None:
    async def scenario(manager: Manager, engine: FakeEngine, plugins: Plugins) -> None:
        for name in ("gone", "running", "spoilt", "same"):
            plugins.write(name)
        assert (await manager.refresh()).added == ["gone", "running", "same", "spoilt"]
        engine.set("running", RUNNING)
        engine.set("spoilt", RUNNING)
        engine.calls.clear()
        plugins.write("echo", version="2")
        plugins.write("new")
        for name in ("gone", "running"):
            plugins.remove(name)
        plugins.spoil("spoilt")
        plugins.write("broken")
        plugins.spoil("broken")
        refreshed = await manager.refresh()
        assert refreshed == Refreshed(["new"], ["echo"], ["gone", "running"], ["broken", "spoilt"])
        assert set(engine.calls) == {
            ("add", "new"),
            *[("begin_stop", name) for name in ("gone", "running")],
            ("wait_stopped", "running"),
            *[("remove", name) for name in ("gone", "running")],
        }
        assert engine.get("spoilt").state is RUNNING, "it goes on as it was"
        assert engine.published["echo"][0].version == "1", "it is applied at the next start"
        assert manager.catalog["echo"].manifest.version == "2"  # type: ignore[union-attr]
        assert list(manager.catalog) == ["broken", "echo", "new", "same", "spoilt"]
        assert await manager.refresh() == Refreshed([], [], [], ["broken", "spoilt"])

    run(tmp_path, scenario)


DEPENDS_ON_ECHO = "[plugin_runtime.depends_on.echo]"


DEPENDS_ON_OTHER = "[plugin_runtime.depends_on.other]"


@pytest.mark.parametrize("verb", ["start", "reload"])
def test_a_start_that_would_close_a_cycle_changes_nothing(tmp_path: Path, verb: str) -> None:
    async def scenario(manager: Manager, engine: FakeEngine, plugins: Plugins) -> None:
        plugins.write("other", runtime=DEPENDS_ON_ECHO)
        assert (await manager.refresh()).added == ["other"]
        assert manager.catalog["echo"].dependents == ("other",)
        engine.calls.clear()
        before = dict(engine.published)
        plugins.write("echo", runtime=DEPENDS_ON_OTHER)
        with pytest.raises(InvalidManifest, match="it depends on itself: echo -> other -> echo"):
            await getattr(manager, verb)("echo")
        assert (engine.calls, engine.published) == ([], before)
        assert manager.catalog["other"].program is None, "it is in the cycle too"
        plugins.write("echo")
        await getattr(manager, verb)("echo")
        assert manager.catalog["other"].program is not None

    run(tmp_path, scenario)


def test_a_refresh_adds_no_plugin_of_a_cycle_until_it_is_gone(tmp_path: Path) -> None:
    async def scenario(manager: Manager, engine: FakeEngine, plugins: Plugins) -> None:
        plugins.write("echo", runtime=DEPENDS_ON_OTHER)
        plugins.write("other", runtime=DEPENDS_ON_ECHO)
        plugins.write("same")
        assert await manager.refresh() == Refreshed(["same"], [], [], ["echo", "other"])
        assert "other" not in engine.published
        plugins.write("echo", version="2")
        assert await manager.refresh() == Refreshed(["other"], ["echo"], [], [])
        same = manager.catalog["same"]
        assert await manager.refresh() == Refreshed([], [], [], [])
        assert manager.catalog["same"] is same, "what is rendered of it stays as it is"

    run(tmp_path, scenario)


def test_a_removed_plugin_is_no_dependent_any_more(tmp_path: Path) -> None:
    async def scenario(manager: Manager, engine: FakeEngine, plugins: Plugins) -> None:
        plugins.write("other", runtime=DEPENDS_ON_ECHO)
        await manager.refresh()
        plugins.remove("other")
        assert (await manager.refresh()).removed == ["other"]
        assert manager.catalog["echo"].dependents == ()

    run(tmp_path, scenario)


def test_a_removed_plugin_that_is_started_again_and_again(tmp_path: Path) -> None:
    async def scenario(manager: Manager, engine: FakeEngine, plugins: Plugins) -> None:
        plugins.remove("echo")
        engine.errors["remove"] = AlreadyRunning("somebody has started it again")
        with pytest.raises(StopTimeout, match=r"^cannot remove 'echo': somebody starts it again and again"):
            await manager.refresh()
        assert engine.calls.count(("remove", "echo")) == module.REMOVE_TRIES
        del engine.errors["remove"]
        assert (await manager.refresh()).removed == ["echo"]

    run(tmp_path, scenario)


def test_a_plugin_whose_files_are_removed_before_they_are_read_is_published_again(tmp_path: Path) -> None:
    async def scenario(manager: Manager, engine: FakeEngine, plugins: Plugins) -> None:
        plugins.write("new")
        engine.errors["add"] = StartFailed("supervisord rejects its program")
        held = engine.hold("add", "new")
        refreshing = asyncio.create_task(manager.refresh())
        await engine.wait_called("add", "new")
        del engine.published["new"]
        held.set()
        await engine.wait_called("add", "new", times=2)
        assert "new" in engine.published
        with pytest.raises(StartFailed):  # once more is enough
            await refreshing

    run(tmp_path, scenario)


def test_one_plugin_that_cannot_be_changed_keeps_nothing_else_from_being_done(tmp_path: Path) -> None:
    async def scenario(manager: Manager, engine: FakeEngine, plugins: Plugins) -> None:
        plugins.write("gone")
        await manager.refresh()
        plugins.remove("gone")
        plugins.write("new")
        engine.errors["add"] = StartFailed("supervisord has a program of this name")
        with pytest.raises(StartFailed, match=r"^cannot add 'new': supervisord has"):
            await manager.refresh()
        assert "gone" not in engine.processes
        del engine.errors["add"]
        engine.set("echo", RUNNING)
        plugins.remove("echo")
        engine.errors["wait_stopped"] = StopTimeout("its process is still alive")
        with pytest.raises(StopTimeout, match=r"^cannot remove 'echo': its process"):
            await manager.refresh()
        assert "new" in engine.processes
        assert "echo" in manager.catalog, "what may be alive is shown"
        del engine.errors["wait_stopped"]
        assert (await manager.refresh()).removed == ["echo"]
        assert list(manager.catalog) == ["new"]

    run(tmp_path, scenario)


def test_additions_and_removals_wait_for_the_plugins_turn(tmp_path: Path) -> None:
    async def scenario(manager: Manager, engine: FakeEngine, plugins: Plugins) -> None:
        held = engine.hold("start", "echo")
        starting = asyncio.create_task(manager.start("echo"))
        await engine.wait_called("start", "echo")
        plugins.remove("echo")
        refreshing = asyncio.create_task(manager.refresh())
        await wait_until(lambda: manager.catalog["echo"].folder is None)
        await let_tasks_run()
        assert engine.calls == [("start", "echo")]
        held.set()
        await starting
        assert (await refreshing).removed == ["echo"]
        assert engine.calls[1:] == [("begin_stop", "echo"), ("wait_stopped", "echo"), ("remove", "echo")]

    run(tmp_path, scenario)


def test_two_refreshes_are_done_one_after_another(tmp_path: Path) -> None:
    async def scenario(manager: Manager, engine: FakeEngine, plugins: Plugins) -> None:
        plugins.write("new")
        held = engine.hold("add", "new")
        first = asyncio.create_task(manager.refresh())
        await engine.wait_called("add", "new")
        second = asyncio.create_task(manager.refresh())
        first.cancel()  # its client goes away
        await let_tasks_run()
        assert not second.done()
        held.set()
        assert (await second).added == []
        assert engine.calls == [("add", "new")]

    run(tmp_path, scenario)


@pytest.mark.parametrize("first_to_begin", ["refresh", "start"])
def test_a_refresh_never_overwrites_what_a_start_has_read_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first_to_begin: str
) -> None:
    catalog_is_read, plugin_may_be_read, catalog_may_be_returned = (threading.Event() for _ in range(3))
    load_catalog, load_plugin = catalog_reader.load_catalog, catalog_reader.load_plugin

    def load_slowly(*arguments: Any) -> Any:
        catalog = load_catalog(*arguments)
        catalog_is_read.set()
        assert catalog_may_be_returned.wait(DEADLINE_SECONDS)
        return catalog

    def load_later(*arguments: Any) -> Any:
        assert plugin_may_be_read.wait(DEADLINE_SECONDS)
        return load_plugin(*arguments)

    async def scenario(manager: Manager, engine: FakeEngine, plugins: Plugins) -> None:
        monkeypatch.setattr(catalog_reader, "load_catalog", load_slowly)
        monkeypatch.setattr(catalog_reader, "load_plugin", load_later)
        begin = {"refresh": manager.refresh, "start": lambda: manager.start("echo")}
        tasks = []
        for name in sorted(begin, key=lambda name: name != first_to_begin):
            tasks.append(asyncio.create_task(begin[name]()))
            await let_tasks_run()
        await wait_until(catalog_is_read.is_set)
        plugins.write("echo", version="2")
        plugin_may_be_read.set()
        await engine.wait_called("start", "echo")
        catalog_may_be_returned.set()
        await asyncio.gather(*tasks)
        assert manager.catalog["echo"].manifest.version == "2"  # type: ignore[union-attr]

    run(tmp_path, scenario)


@pytest.mark.parametrize("read", ["before", "after"])
def test_a_refresh_removes_what_is_gone_although_it_is_read_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    """Such as by a reload of a plugin that is being uninstalled; its process would run on otherwise."""
    catalog_is_read, plugin_is_stored, plugin_is_read, plugin_may_be_returned = (threading.Event() for _ in range(4))
    load_catalog, load_plugin = catalog_reader.load_catalog, catalog_reader.load_plugin

    def load_slowly(*arguments: Any) -> Any:
        catalog = load_catalog(*arguments)
        catalog_is_read.set()
        assert plugin_is_stored.wait(DEADLINE_SECONDS)
        return catalog

    def load_and_wait(*arguments: Any) -> Any:
        plugin = load_plugin(*arguments)
        plugin_is_read.set()
        assert plugin_may_be_returned.wait(DEADLINE_SECONDS)
        return plugin

    async def scenario(manager: Manager, engine: FakeEngine, plugins: Plugins) -> None:
        engine.set("echo", RUNNING)
        monkeypatch.setattr(catalog_reader, "load_catalog", load_slowly)
        monkeypatch.setattr(catalog_reader, "load_plugin", load_and_wait)
        if read == "before":
            reading = asyncio.create_task(manager.reread("echo"))
            await wait_until(plugin_is_read.is_set)
        plugins.remove("echo")
        refreshing = asyncio.create_task(manager.refresh())
        await wait_until(catalog_is_read.is_set)
        plugin_may_be_returned.set()
        await (reading if read == "before" else manager.reread("echo"))
        plugin_is_stored.set()
        assert (await refreshing).removed == ["echo"]
        assert not manager.catalog
        assert not engine.processes

    run(tmp_path, scenario)


def test_a_plugins_folder_that_cannot_be_read_changes_nothing(tmp_path: Path) -> None:
    async def scenario(manager: Manager, engine: FakeEngine, plugins: Plugins) -> None:
        shutil.rmtree(tmp_path)
        with pytest.raises(PluginsUnreadable, match=r"^cannot read the plugins folder: No such file or directory"):
            await manager.refresh()
        assert list(manager.catalog) == ["echo"]
        assert engine.calls == []
        restarted = Manager(tmp_path, engine, make_intents())
        await restarted.load()
        engine.set("echo", RUNNING)
        assert (await restarted.stop("echo")).finished, "what runs can still be stopped"
        with pytest.raises(InvalidManifest, match="the plugins folder cannot be read"):
            await restarted.start("echo")

    run(tmp_path, scenario)
