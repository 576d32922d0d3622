"""The folders whose changes the system reports."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from watchfiles import Change

    Changes = set[tuple[Change, str]]
    """The kinds and the paths of changes."""

ADDED, MODIFIED = 1, 2
"""Kinds of changes: something was made, or renamed to this; something is other than before."""

_GROUP_MS = 200
_STEP_MS = 50
_SILENCE_MS = 250
_PAUSE_SECONDS = 0.5
"""Before folders are watched again after a change that `watchfiles` cannot report: there may be many of these."""
_CLOCK_SECONDS = 0.02
"""By how much the times of files may be behind the clock."""


class WatchesExhausted(Exception):
    """The system allows no more watches; its text names the limit."""


class FolderWatches:
    """Watches a set of folders, without what is below them, in a thread of its own.

    One thread and one inotify instance do for all plugins: a user has 128 instances, as a rule. Every method is called
    in the event loop.

    Args:
        on_changes: called in the event loop.
        on_failure: called there if nothing is watched any more, which is not to be expected.
    """

    def __init__(self, on_changes: Callable[[Changes], object], on_failure: Callable[[], object]) -> None:
        self._on_changes = on_changes
        self._on_failure = on_failure
        self._present: _Watching | None = None

    async def watch(self, folders: Sequence[str]) -> None:
        """Watch these folders instead of those before; no change meanwhile is missed, unless watches are scarce.

        Raises:
            WatchesExhausted
            OSError: one has just gone, or become unreadable; the former ones are still watched.
        """
        before = self._present
        if not folders:
            await self.close()
            return
        try:
            self._present = await self._open(folders)
        except WatchesExhausted:
            if before is None:
                raise
            await self.close()  # which makes room
            self._present = await self._open(folders)
        if before is not None:
            await before.end()

    async def close(self) -> None:
        """Watch nothing any more."""
        if self._present is not None:
            present, self._present = self._present, None
            await present.end()

    async def _open(self, folders: Sequence[str]) -> _Watching:
        watching = _Watching(folders, asyncio.get_running_loop(), self._on_changes, self._on_failure)
        try:
            await asyncio.wrap_future(watching.opened)
        except BaseException:
            watching.finish.set()
            raise
        return watching


class _Watching:
    """One set of folders, from the beginning to the end."""

    def __init__(
        self,
        folders: Sequence[str],
        loop: asyncio.AbstractEventLoop,
        on_changes: Callable[[Changes], object],
        on_failure: Callable[[], object],
    ) -> None:
        self.opened: Future[None] = Future()
        self.finish = threading.Event()
        self._ended: Future[None] = Future()
        for future in (self.opened, self._ended):
            future.set_running_or_notify_cancel()  # who waits for it may be cancelled, and it has a result all the same
        self._folders = folders
        self._loop = loop
        self._on_changes = on_changes
        self._on_failure = on_failure
        threading.Thread(target=self._run, name="watch", daemon=True).start()

    async def end(self) -> None:
        """Pass on what has been seen until now, and end."""
        self.finish.set()
        await asyncio.wrap_future(self._ended)

    def _run(self) -> None:
        logging.getLogger("watchfiles").setLevel(logging.WARNING)
        since = time.time()
        changes = self._begin()
        has_failed = False
        try:
            first = next(changes)
        except BaseException as error:  # noqa: BLE001 - passed on
            if not _is_undecodable(error):
                self.opened.set_exception(_translate(error))
                return
            first, has_failed, changes = set(), True, self._begin()
        self.opened.set_result(None)
        self._pass_on(first)
        try:
            is_last = False
            while not is_last:
                is_last = self.finish.is_set()  # then once more, for what the next one has not seen
                had_failed = has_failed
                try:
                    found, has_failed = next(changes), False
                except RuntimeError as error:
                    if not _is_undecodable(error):
                        raise
                    found, has_failed, changes = set(), True, self._begin()
                    self.finish.wait(_PAUSE_SECONDS)
                until = time.time()
                if has_failed or had_failed:
                    found |= _find_changed(self._folders, since - _CLOCK_SECONDS)
                self._pass_on(found)
                since = until
        except Exception:
            logging.getLogger(__name__).exception("cannot watch files any more")
            self._call(self._on_failure)
        finally:
            changes.close()
            self._ended.set_result(None)

    def _begin(self) -> Generator[Changes, None, None]:
        from watchfiles import watch  # noqa: PLC0415 - most need it never

        return watch(
            *self._folders,
            watch_filter=None,
            debounce=_GROUP_MS,
            step=_STEP_MS,
            rust_timeout=_SILENCE_MS,
            yield_on_timeout=True,
            raise_interrupt=False,
            recursive=False,
            ignore_permission_denied=False,  # it would ignore that there are no more watches, too
        )

    def _pass_on(self, changes: Changes) -> None:
        if changes:
            self._call(self._on_changes, changes)

    def _call(self, callback: Callable[..., object], *arguments: Changes) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(callback, *arguments)


def _is_undecodable(error: BaseException) -> bool:
    """Whether a name that is not UTF-8 has ended `watchfiles`, with all other changes that it had seen."""
    return isinstance(error, RuntimeError) and "Unable to decode path" in str(error)


def _find_changed(folders: Sequence[str], since: float) -> Changes:
    """Find what is new or has changed in some folders since a time; what was removed cannot be found."""
    from watchfiles import Change  # noqa: PLC0415 - as above

    watched = set(folders)
    found: Changes = set()
    for folder in folders:
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                is_folder = entry.is_dir(follow_symlinks=False)
                if is_utf8(entry.name) and entry.path not in watched and _find_ctime(entry) >= since:
                    found.add((Change.added if is_folder else Change.modified, entry.path))
    return found


def _find_ctime(entry: os.DirEntry[str]) -> float:
    with contextlib.suppress(OSError):  # it has just gone
        return entry.stat(follow_symlinks=False).st_ctime
    return 0.0


def is_utf8(path: str) -> bool:
    """Whether a path is one that `watchfiles` can have: every byte of it belongs to a character."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _translate(error: BaseException) -> BaseException:
    """watchfiles passes errors of the system on as words alone."""
    words = str(error)
    if "watch limit" in words or "os error 28" in words:
        return WatchesExhausted("fs.inotify.max_user_watches")
    if "os error 24" in words:
        return WatchesExhausted("fs.inotify.max_user_instances, or the number of open files")
    return error
