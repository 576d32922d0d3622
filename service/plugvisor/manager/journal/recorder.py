"""Writes what happens to the journal."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING

from plugvisor.errors import StoreUnavailable
from plugvisor.manager.journal.open_entry import OpenEntry, make_key
from plugvisor.models.stored.journal import LONGEST_COUNT_SECONDS, Facts, NewEntry
from plugvisor.store.tables import journal as stored

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from plugvisor.manager.journal.open_entry import Key
    from plugvisor.store.store import Store
    from plugvisor.store.tables.journal import StoredEntry

logger = logging.getLogger(__name__)

GATHER_SECONDS = 0.08
"""Entries within this time are written together."""
RETRY_SECONDS = 1.0
"""The pause before a failed write is repeated."""
WINDOW_SECONDS = 300.0
"""An event that repeats within this time is counted on its existing entry."""
MOST_OPEN = 4096
"""The most entries that can be counted up at a time."""
MOST_WAITING = 10_000
"""The most entries that wait for an unavailable store; further ones are only counted."""
MOST_WRITTEN = 1000
"""In one transaction: other writes wait for it."""


class Recorder:
    """Takes entries from anywhere in the event loop and writes them in batches.

    What happens again and again is one entry, with a count. It can be counted up while the entries of other states of
    the same plugin are: a plugin that keeps crashing has one entry for each state that it goes through.

    Args:
        now: the time in seconds since 1970.
    """

    def __init__(self, store: Store, now: Callable[[], float] = time.time) -> None:
        self.on_saved: list[Callable[[Sequence[StoredEntry]], object]] = []
        """Called with entries that were added or counted up, in the order of their sequences, once they are stored."""
        self.entries = 0
        """How many the journal has; they are counted soon after the beginning."""
        self.size_bytes = 0
        """Of the database."""
        self.sequence = 0
        """Of the entry that was written last."""
        self.failures = 0
        """How often the store has not taken what was written."""
        self._store = store
        self._now = now
        self._open: OrderedDict[Key, OpenEntry] = OrderedDict()  # the one that was counted up last is the last
        self._waiting: dict[OpenEntry, None] = {}
        self._lost = 0
        self._set_aside = ""
        self._timer: asyncio.TimerHandle | None = None
        self._has_failed = False
        self._writing: asyncio.Task[None] | None = None
        self._counting: asyncio.Task[None] | None = None
        self._is_closed = False

    @property
    def is_busy(self) -> bool:
        """Whether anything is not stored yet."""
        return bool(self._waiting) or self._writing is not None

    async def load(self) -> None:
        """Go on from what the journal has; nothing is raised."""
        self._store.on_replaced.append(self._on_replaced)
        self._store.on_change.append(self._on_store)
        self._set_aside = self._store.set_aside
        with contextlib.suppress(StoreUnavailable):
            self.sequence = await self._store.read(stored.read_last_sequence)
        self._count_later()

    async def close(self) -> None:
        """Write what is left."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._counting is not None:
            self._counting.cancel()
        if self._writing is not None:
            await self._writing
        while self._waiting and await self._write():
            pass

    def note(self, entry: NewEntry) -> None:
        """Something has happened; nothing is raised, and nothing waited for."""
        try:
            self._note(entry)
        except Exception:
            logger.exception("cannot note in the journal: %s", entry.kind)

    def _note(self, entry: NewEntry) -> None:
        at = entry.at or self._now()
        key = make_key(entry)
        found = self._open.get(key) if key is not None else None
        if found is not None and found.accepts(at, WINDOW_SECONDS, LONGEST_COUNT_SECONDS):
            found.count_up(at, entry.facts)
            self._waiting.pop(found, None)  # to the end: sequences are in the order in which things happened last
        else:
            if len(self._waiting) >= MOST_WAITING:
                self._lost += 1
                return
            found = OpenEntry(entry, at)
            if key is not None:
                self._open[key] = found
                if len(self._open) > MOST_OPEN:
                    self._open.popitem(last=False)
        if key is not None:
            self._open.move_to_end(key)
        self._waiting[found] = None
        self._write_later()

    # -- writing

    def _write_later(self) -> None:
        """Write what waits in a while."""
        if self._writing is None and self._timer is None and not self._is_closed:
            seconds = RETRY_SECONDS if self._has_failed else GATHER_SECONDS
            self._timer = asyncio.get_running_loop().call_later(seconds, self._begin_to_write)

    def _begin_to_write(self) -> None:
        self._timer = None
        self._writing = asyncio.create_task(self._write_and_go_on())

    async def _write_and_go_on(self) -> None:
        try:
            self._has_failed = not await self._write()
        except Exception:
            logger.exception("cannot write the journal")
            self._has_failed = True
        self._writing = None
        if self._waiting:
            self._write_later()

    async def _write(self) -> bool:
        """Write the first of those that wait; returns whether the store has taken them."""
        batch = list(self._waiting)[:MOST_WRITTEN]
        for entry in batch:
            del self._waiting[entry]
        rows = [entry.freeze() for entry in batch]
        try:
            saved = await self._store.write(partial(stored.save, entries=rows, last_sequence=self.sequence))
        except BaseException as error:
            self._waiting = {**dict.fromkeys(batch), **self._waiting}
            self.failures += 1
            if isinstance(error, StoreUnavailable):
                return False
            raise
        for entry, row in zip(batch, saved.entries, strict=True):
            entry.id = row.id
        self.entries += saved.added
        self.size_bytes = saved.size_bytes
        self.sequence = saved.entries[-1].sequence if saved.entries else self.sequence
        for callback in self.on_saved:
            callback(saved.entries)
        if self._lost:
            lost, self._lost = self._lost, 0
            detail = f"{lost} entries were not kept: there was no room for them while nothing could be stored"
            self.note(NewEntry("service", Facts(subject="journal", verb="incomplete", detail=detail)))
        return True

    def count_deleted(self, count: int) -> None:
        """Entries were deleted from the store."""
        self.entries = max(0, self.entries - count)

    # -- the store

    def _on_replaced(self) -> None:
        """There is another database: empty, an older copy, or the same one after all. `save` finds what is in it."""
        self.entries = 0
        detail = "the database was removed or replaced"
        if self._store.set_aside != self._set_aside:
            self._set_aside = self._store.set_aside
            detail = f"the database was broken and is kept as {self._set_aside}; a new one was begun"
        self.note(NewEntry("service", Facts(subject="store", verb="replaced", detail=detail)))
        self._count_later()

    def _on_store(self) -> None:
        verb = "available" if self._store.is_available else "unavailable"
        self.note(NewEntry("service", Facts(subject="store", verb=verb)))
        if self._store.is_available and not self.entries:
            self._count_later()

    def _count_later(self) -> None:
        if self._counting is None or self._counting.done():
            self._counting = asyncio.create_task(self._count())

    async def _count(self) -> None:
        with contextlib.suppress(StoreUnavailable):
            # not as a read: between two writes it is exact
            self.entries, self.size_bytes = await self._store.write(stored.sum_up)
