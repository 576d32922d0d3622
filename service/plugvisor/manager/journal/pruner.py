"""Keeps the journal as long and as large as it may be."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from typing import TYPE_CHECKING

from plugvisor.errors import StoreUnavailable
from plugvisor.store.tables import journal as stored

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugvisor.manager.journal.recorder import Recorder
    from plugvisor.store.store import Store

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 60.0
"""How often the size is looked at; the age each time, too."""
STEP_ENTRIES = 500
"""As many are deleted in one transaction …"""
STEP_PAGES = 256
"""… and as much of the file is given back: other writes wait for it."""
PAUSE_SECONDS = 0.05
"""Between two transactions."""
TRUST_SECONDS = 600.0
"""The clock must go as fast as time passes for so long before anything is too old by it."""
TOLERATED_SECONDS = 30.0
_MEGABYTE = 1_000_000
_DAY_SECONDS = 86400.0


class Pruner:
    """Deletes the entries that have changed least recently.

    A clock that is set forward would make every entry too old. So age counts only once the clock was left alone for a
    while; meanwhile the size is still bounded.

    Args:
        now: the time in seconds since 1970.
        monotonic: seconds that nobody sets.
    """

    def __init__(
        self,
        store: Store,
        recorder: Recorder,
        days: int,
        megabytes: int,
        *,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._kept_seconds = days * _DAY_SECONDS
        self._most_bytes = megabytes * _MEGABYTE
        self._now = now
        self._monotonic = monotonic
        self._clock = now() - monotonic()
        self._set_at = monotonic()
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._prune_for_ever())

    async def close(self) -> None:
        """End, between two transactions."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _prune_for_ever(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            try:
                await self.prune()
            except StoreUnavailable:
                pass  # it says so itself
            except Exception:
                logger.exception("cannot prune the journal")

    async def prune(self) -> int:
        """Delete the oldest entries beyond the limits of age and size; returns how many. Raises `StoreUnavailable`."""
        deleted = 0
        while count := await self._delete_some():
            deleted += count
            await asyncio.sleep(PAUSE_SECONDS)
        return deleted

    async def _delete_some(self) -> int:
        before = self._now() - self._kept_seconds if self._is_clock_trusted() else float("-inf")
        delete = partial(
            stored.prune,
            before=before,
            most_bytes=self._most_bytes,
            most_entries=STEP_ENTRIES,
            most_pages=STEP_PAGES,
        )
        count = await self._store.write(delete)
        self._recorder.count_deleted(count)
        return count

    def _is_clock_trusted(self) -> bool:
        clock, monotonic = self._now() - self._monotonic(), self._monotonic()
        if abs(clock - self._clock) > TOLERATED_SECONDS:
            self._clock, self._set_at = clock, monotonic
        return monotonic - self._set_at >= TRUST_SECONDS
