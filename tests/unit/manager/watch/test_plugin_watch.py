"""One plugin that is watched: which changes reload it, and when."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from plugvisor.errors import NotRunning, StartFailed, SupervisorUnavailable
from plugvisor.manager.watch import plugin_watch
from plugvisor.manager.watch.plugin_watch import PluginWatch, Wanted
from plugvisor.manager.watch.rules import Rules
from plugvisor.models.lifecycle import Watch

from tests.helpers.scenarios import in_loop, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest
    from plugvisor.models.stored.journal import NewEntry

FOLDER = Path("/plugins/a")
FILE = f"{FOLDER}/main.py"
PAUSE_SECONDS = 0.2
"""Long enough for a reload that should not be made."""


class Plugin:
    """A plugin that is watched, and what becomes of it."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        """What the next reloads raise."""
        self.reloads = 0
        self.entries: list[tuple[str, str]] = []
        """The verbs and outcomes in the journal."""
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()
        self.is_paused = self.awaits_folders = False
        wanted = Wanted(FOLDER, Watch((".",), debounce=0.05))
        self.watch = PluginWatch(
            "a",
            Rules.make(str(FOLDER), wanted.watch),
            wanted,
            self._reload,
            cast("Any", self),
            is_paused=lambda: self.is_paused,
            awaits_folders=lambda: self.awaits_folders,
            name_code=lambda error: type(error).__name__,
            on_note=lambda: None,
        )

    def note(self, entry: NewEntry) -> None:
        """As `Recorder.note`."""
        self.entries.append((str(entry.facts.verb), str(entry.facts.outcome)))

    async def _reload(
        self,
        _plugin_id: str,
        _wait_seconds: float | None,
        on_begun: Callable[[], object],
        *,
        is_wanted: Callable[[], bool],
    ) -> Any:
        self.reloads += 1
        await self.may_go_on.wait()
        if not is_wanted():
            raise NotRunning("it was stopped meanwhile")
        if self.errors:
            raise self.errors.pop(0)
        on_begun()


@in_loop
async def test_a_silent_engine_is_asked_again_and_is_no_reason_to_suspend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin_watch, "RETRY_SECONDS", 0.01)
    plugin = Plugin()
    plugin.errors = [SupervisorUnavailable("it is silent") for _ in range(20)]
    plugin.watch.take([FILE], by_person=False)
    await wait_until(lambda: plugin.entries)
    assert plugin.entries == [("reload", "ok")]
    assert (plugin.reloads, plugin.watch.state) == (21, ("active", ""))


@in_loop
async def test_a_stop_ends_the_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin_watch, "RETRY_SECONDS", 0.01)
    plugin = Plugin()
    plugin.errors = [SupervisorUnavailable("it is silent") for _ in range(1000)]
    plugin.watch.take([FILE], by_person=False)
    await wait_until(lambda: plugin.reloads > 2)
    plugin.is_paused = True
    await wait_until(lambda: not plugin.watch.is_beginning)
    assert plugin.entries == []


@in_loop
async def test_a_reload_that_fails_is_noted() -> None:
    plugin = Plugin()
    plugin.errors = [StartFailed("no")]
    plugin.watch.take([FILE], by_person=False)
    await wait_until(lambda: plugin.entries)
    assert plugin.entries == [("reload", "StartFailed")]


@in_loop
async def test_a_stop_that_comes_first_is_not_noted_as_a_failure() -> None:
    plugin = Plugin()
    plugin.may_go_on.clear()
    plugin.watch.take([FILE], by_person=False)
    await wait_until(lambda: plugin.reloads)
    plugin.is_paused = True
    plugin.may_go_on.set()
    await wait_until(lambda: not plugin.watch.is_beginning)
    assert plugin.entries == []


@in_loop
async def test_what_changes_during_a_reload_makes_another() -> None:
    plugin = Plugin()
    plugin.may_go_on.clear()
    plugin.watch.take([FILE], by_person=False)
    await wait_until(lambda: plugin.reloads == 1)
    plugin.watch.take([FILE], by_person=False)
    plugin.may_go_on.set()
    await wait_until(lambda: plugin.reloads == 2)


@in_loop
async def test_a_plugin_that_is_no_longer_watched_is_reloaded_no_more() -> None:
    """Though files have changed during its last reload."""
    plugin = Plugin()
    plugin.may_go_on.clear()
    plugin.watch.take([FILE], by_person=False)
    await wait_until(lambda: plugin.reloads == 1)
    plugin.watch.take([FILE], by_person=False)
    plugin.watch.close()
    plugin.may_go_on.set()
    await wait_until(lambda: plugin.entries)
    await asyncio.sleep(PAUSE_SECONDS)
    assert plugin.reloads == 1


@in_loop
async def test_a_reload_waits_until_new_folders_are_watched() -> None:
    plugin = Plugin()
    plugin.awaits_folders = True
    plugin.watch.take([FILE], by_person=False)
    await asyncio.sleep(PAUSE_SECONDS)
    assert plugin.reloads == 0
    plugin.awaits_folders = False
    await wait_until(lambda: plugin.reloads == 1)


@in_loop
async def test_folders_that_keep_coming_do_not_put_it_off_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin_watch, "FOLDERS_SECONDS", 0.1)
    plugin = Plugin()
    plugin.awaits_folders = True

    def add_folder() -> bool:
        plugin.watch.take([str(FOLDER / "new")], by_person=False)
        return plugin.reloads > 0

    await wait_until(add_folder)


@in_loop
async def test_watching_is_suspended_once() -> None:
    plugin = Plugin()
    for number in range(1, 4):
        plugin.watch.take([FILE], by_person=False)
        await wait_until(lambda number=number: len(plugin.entries) == number)
    for _ in range(2):
        plugin.watch.take([FILE], by_person=False)
        await wait_until(lambda: plugin.watch.state[0] == "suspended")
    await asyncio.sleep(PAUSE_SECONDS)
    assert plugin.entries[3:] == [("suspend", "UNSET")]
