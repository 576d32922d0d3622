"""Reloads one plugin when its files change: one reload at a time, some time after the last change."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from msgspec import UNSET

from plugvisor.errors import InvalidManifest, NotRunning, PlugvisorError, SupervisorUnavailable
from plugvisor.manager.watch.suspicion import MOST_RELOADS, Suspicion
from plugvisor.models.stored.journal import Facts, NewEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from plugvisor.manager.journal.recorder import Recorder
    from plugvisor.manager.outcome import Outcome
    from plugvisor.manager.watch.rules import Rules
    from plugvisor.models.lifecycle import Watch, WatchState

logger = logging.getLogger(__name__)

ACTOR = "watch"
"""Who has asked for a reload, in the journal."""
RETRY_SECONDS = 1.0
SETTLE_SECONDS = 0.5
"""A change that is noticed so soon after a start may have been written by the process before."""
MOST_DEBOUNCES = 10
"""A reload is put off by so many times the debounce, however long files keep changing."""
FOLDERS_SECONDS = 3.0
"""And by so much more until new folders are watched, however long folders keep coming."""
SUSPENDED = (
    f"watching is suspended: changes that it seems to make itself have reloaded it {MOST_RELOADS} times within ten "
    "seconds; list what it writes in `ignore`, and reload it to resume"
)


@dataclass(frozen=True)
class Wanted:
    """A manifest's options, and the folder that they are about."""

    folder: Path
    watch: Watch


class Reload(Protocol):
    """`Manager.reload`."""

    async def __call__(
        self,
        plugin_id: str,
        wait_seconds: float | None,
        on_begun: Callable[[], object],
        *,
        is_wanted: Callable[[], bool],
    ) -> Outcome:
        """Reload a plugin."""


class PluginWatch:
    """One plugin that is watched.

    Args:
        is_paused: whether changes are to be ignored, for it was stopped or disabled.
        awaits_folders: whether new folders of it are about to be watched; a change in them would be missed until then.
        name_code: the code of an error.
        on_note: called when `state` has changed.
    """

    def __init__(
        self,
        plugin_id: str,
        rules: Rules,
        wanted: Wanted,
        reload: Reload,
        recorder: Recorder,
        *,
        is_paused: Callable[[], bool],
        awaits_folders: Callable[[], bool],
        name_code: Callable[[PlugvisorError], str],
        on_note: Callable[[], object],
    ) -> None:
        self.id = plugin_id
        self.rules = rules
        self.wanted = wanted
        self.folders: list[str] = []
        """Which are to be watched."""
        self.tree = 1
        """Another number whenever they may be others."""
        self.watched_tree = 0
        """The number of those that are watched."""
        self.problem = ""
        """Why it is not watched."""
        self._reload = reload
        self._recorder = recorder
        self._is_paused = is_paused
        self._awaits_folders = awaits_folders
        self._name_code = name_code
        self._on_note = on_note
        self._suspicion = Suspicion()
        self._timer: asyncio.TimerHandle | None = None
        self._changed: set[str] = set()
        self._changed_at = 0.0
        self._by_person = False
        self.is_beginning = False
        """Whether a reload is under way, and its process has not been started yet."""
        self._begun_at = 0.0
        self._number = 0
        self._is_closed = False
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def state(self) -> tuple[WatchState, str]:
        """Its state, and the sentence about it in the status; empty if there is none."""
        if self._suspicion.is_suspended:
            return "suspended", SUSPENDED
        return "incomplete" if self.problem else "active", self.problem

    def adopt(self, rules: Rules, wanted: Wanted) -> None:
        """Follow another manifest; what was suspended for the one before is no more."""
        self.rules, self.wanted, self.tree = rules, wanted, self.tree + 1
        self.resume("its manifest has changed")

    def close(self) -> None:
        """Reload no more; a reload that is under way goes on."""
        self._is_closed = True
        self._cancel()

    def take(self, paths: Collection[str], *, by_person: bool) -> None:
        """Files have changed.

        Args:
            by_person: whether the plugin has certainly not changed them.
        """
        if not self.is_beginning and self._is_paused():
            return
        by_person = by_person and not self.is_beginning and time.monotonic() > self._begun_at + SETTLE_SECONDS
        if self._suspicion.is_suspended:
            now = time.monotonic()
            if not self._suspicion.ends_by(paths, now, by_person=by_person):
                return
            self.resume("another file was saved", now)
            by_person = True
        if not self._changed:
            self._changed_at = time.monotonic()
        self._changed.update(paths)
        self._by_person |= by_person
        # what a plugin writes again and again must not put off a person's save for ever
        self._wait(min(self.wanted.watch.debounce, max(0.0, self._latest - time.monotonic())))

    @property
    def _latest(self) -> float:
        """When the changes must lead to a reload, on the monotonic clock."""
        return self._changed_at + MOST_DEBOUNCES * self.wanted.watch.debounce

    def resume(self, why: str, saved_at: float | None = None) -> None:
        """Reload it again, if that is suspended."""
        if self._suspicion.is_suspended:
            self._suspicion.resume(saved_at)
            logger.info("watching %r again: %s", self.id, why)
            self._note("resume", detail=why)
            self._on_note()

    def _wait(self, seconds: float) -> None:
        self._cancel()
        if not self._is_closed:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._begin)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _begin(self) -> None:
        self._timer = None
        if self.is_beginning:
            return  # its end begins the next
        if self._awaits_folders() and time.monotonic() < self._latest + FOLDERS_SECONDS:
            self._wait(self.wanted.watch.debounce)
            return
        changed, by_person = self._changed, self._by_person
        self._changed, self._by_person = set(), False
        if self._is_paused():
            return
        if self._suspicion.admits(changed, time.monotonic(), by_person=by_person):
            self._keep(asyncio.create_task(self._run(changed)))
        else:
            self._suspend()

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, changed: set[str]) -> None:
        self.is_beginning = True
        self._number = number = self._number + 1
        began = time.monotonic()
        words, outcome = self._describe(changed), "ok"
        logger.info("%r is reloaded: %s", self.id, words)
        try:
            if not await self._reload_once_it_can_be(number):
                return
        except PlugvisorError as error:
            if number != self._number:
                return  # it was superseded by a later one
            outcome = self._name_code(error)
            # what it says of a manifest is for everyone, of other errors for the log
            words = f"{words}; {error}" if isinstance(error, InvalidManifest) else words
            logger.warning("%s", error)
        except Exception:
            logger.exception("cannot reload %r", self.id)
            outcome = "internal_error"
        finally:
            if number == self._number:
                self._end_beginning()
        self._note("reload", outcome, words, milliseconds=round((time.monotonic() - began) * 1000))

    async def _reload_once_it_can_be(self, number: int) -> bool:
        """Reload it, again as long as the engine is silent; returns False if that is not wanted any more."""
        while True:
            try:
                await self._reload(self.id, None, self._end_beginning, is_wanted=lambda: not self._is_paused())
            except NotRunning:  # it was stopped while the reload waited for its turn
                return False
            except SupervisorUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
                if self._is_closed or number != self._number or self._is_paused():
                    return False
            else:
                return True

    def _end_beginning(self) -> None:
        """The new process was started, or there is none; what comes now is another change."""
        if self.is_beginning:
            self.is_beginning = False
            self._begun_at = time.monotonic()
            self._suspicion.note_end(self._begun_at)
            if self._changed and self._timer is None:
                self._wait(self.wanted.watch.debounce)

    def _suspend(self) -> None:
        self._suspicion.suspend(time.monotonic())
        words = self._describe(self._suspicion.suspects)
        logger.warning("%r: %s (%s)", self.id, SUSPENDED, words)
        self._note("suspend", detail=words)
        self._on_note()
        self._keep(asyncio.create_task(self._list_known()))

    async def _list_known(self) -> None:
        self._suspicion.note_known(await asyncio.to_thread(self.rules.list_files))

    def _describe(self, paths: Collection[str]) -> str:
        names = sorted(os.path.relpath(path, self.rules.root) for path in paths)
        names = [name if name.isprintable() else ascii(name) for name in names]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        return f"{', '.join(names[:3])}{more} changed"

    def _note(self, verb: str, outcome: str = "", detail: str = "", milliseconds: int | None = None) -> None:
        facts = Facts(
            identity=ACTOR,
            verb=verb,
            outcome=outcome or UNSET,
            detail=detail or UNSET,
            milliseconds=UNSET if milliseconds is None else milliseconds,
        )
        self._recorder.note(NewEntry("operation", facts, self.id))
