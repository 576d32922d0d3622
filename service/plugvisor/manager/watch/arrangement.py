"""Has the folders of all plugins that are watched watched, or of as many of them as the system allows."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

from plugvisor.manager.watch.folder_watches import FolderWatches, WatchesExhausted
from plugvisor.manager.watch.rules import MOST_FOLDERS
from plugvisor.manager.watch.sorting import list_readable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

    from plugvisor.manager.watch.folder_watches import Changes
    from plugvisor.manager.watch.plugin_watch import PluginWatch

logger = logging.getLogger(__name__)

RETRY_SECONDS = 30.0
"""The pause before folders are watched again that could not be."""
PAUSE_SECONDS = 0.5
"""Folders that keep coming and going are not followed more often: opening 4,000 watches takes 30 ms."""
MOST_ATTEMPTS = 5
"""Folders may go while they are looked for."""
_TOO_MANY = (
    f"its files are not watched: it has more than {MOST_FOLDERS} folders; list some of them in `ignore`, or name "
    "others in `paths`"
)


class Arrangement:
    """Which folders are watched for which plugins; it is made again by `begin`, and by itself after a failure.

    Args:
        make_watches: makes and returns a watch for each plugin that is to be watched now.
        on_changes: called with what has changed.
        on_note: called with the id of a plugin whose watch may have another `state`.
    """

    def __init__(
        self,
        make_watches: Callable[[], Awaitable[Collection[PluginWatch]]],
        on_changes: Callable[[Changes], object],
        on_note: Callable[[str], object],
    ) -> None:
        self.by_folder: Mapping[str, Sequence[PluginWatch]] = {}
        """The watches that a change in each folder concerns."""
        self._make_watches = make_watches
        self._on_note = on_note
        self._folder_watches = FolderWatches(on_changes, self._retry_later)
        self._logged: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self._is_done = True
        self._retry: asyncio.TimerHandle | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether what is wanted now may not be watched yet."""
        return self._task is not None

    def begin(self) -> None:
        """Watch what is wanted, soon."""
        self._is_done = False
        if self._task is None:
            self._task = asyncio.create_task(self._arrange_all())

    async def close(self) -> None:
        """Watch no more."""
        if self._retry is not None:
            self._retry.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._folder_watches.close()

    async def _arrange_all(self) -> None:
        try:
            while not self._is_done:
                self._is_done = True
                await self._watch_folders()
                await asyncio.sleep(PAUSE_SECONDS)
        except Exception:
            logger.exception("cannot watch files")
            self._retry_later()
        finally:
            self._task = None

    async def _watch_folders(self) -> None:
        for attempt in range(MOST_ATTEMPTS):
            trees = await self._list_folders(await self._make_watches())
            try:
                await self._watch_as_many_as_possible(trees)
                return
            except OSError:
                if attempt == MOST_ATTEMPTS - 1:
                    raise
                for watch in trees:
                    watch.watched_tree = 0

    async def _list_folders(self, watches: Collection[PluginWatch]) -> dict[PluginWatch, int]:
        """Find the folders of each watch; returns the number of these of each (`tree`)."""
        trees = {watch: watch.tree for watch in watches}  # what changes meanwhile is looked for again
        stale = [watch for watch, tree in trees.items() if tree != watch.watched_tree]
        rules_of = [watch.rules for watch in stale]
        listed = await asyncio.to_thread(lambda: [(rules.list_folders(), rules.list_outside()) for rules in rules_of])
        for watch, (found, left_out) in zip(stale, listed, strict=True):
            is_too_large = len(found) > MOST_FOLDERS
            watch.folders = found[:1] if is_too_large else found
            sentence = f"`paths` has what a link leads out of its folder, which is not watched: {len(left_out)}"
            watch.problem = _TOO_MANY if is_too_large else sentence if left_out else ""
        return trees

    async def _watch_as_many_as_possible(self, trees: Mapping[PluginWatch, int]) -> None:
        """Watch the smallest trees if the system does not allow all."""
        chosen = sorted(trees, key=lambda watch: len(watch.folders))
        limit = ""
        while True:
            by_folder: dict[str, list[PluginWatch]] = {}
            for watch in chosen:
                # what is above the folder says when that is put back
                for folder in {*watch.folders, os.path.dirname(watch.rules.root)}:
                    by_folder.setdefault(folder, []).append(watch)
            self.by_folder = by_folder  # before the first change in a new folder is noticed
            try:
                await self._folder_watches.watch(await asyncio.to_thread(list_readable, by_folder))
                break
            except WatchesExhausted as error:
                limit = str(error)
                logger.warning("cannot watch the files of %d plugins: raise %s", len(chosen), limit)
                chosen = chosen[: len(chosen) // 2]
        self._log_new(chosen)
        for watch in chosen:
            watch.watched_tree = trees[watch]
        for watch in trees.keys() - set(chosen):
            watch.watched_tree = 0
            watch.problem = f"its files are not watched: the system allows no more; raise {limit}"
        for watch in trees:
            self._on_note(watch.id)
        if limit:
            self._retry_later()

    def _log_new(self, watches: Sequence[PluginWatch]) -> None:
        if new := [repr(watch.id) for watch in watches if watch.id not in self._logged]:
            more = f" and {len(new) - 3} more" if len(new) > 3 else ""
            logger.info("watching the files of %s%s", ", ".join(new[:3]), more)
        self._logged = {watch.id for watch in watches}

    def _retry_later(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
        self._retry = asyncio.get_running_loop().call_later(RETRY_SECONDS, self.begin)
