"""Keeps identities, intents and what is disabled with the engine, for the service on another machine.

The store of each machine has them too. After a change of either, both are made the same: what has changed here since
they were the same the last time is written there, and everything else is taken over from there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from plugvisor.errors import StoreUnavailable, SupervisorUnavailable
from plugvisor.manager.kept_state.rival import Rival
from plugvisor.manager.kept_state.rows import (
    CODE,
    IDENTITY,
    NewerFormat,
    Rows,
    apply_changes,
    find_changes,
    make_rows,
    merge,
    pack,
    read_changes,
    unpack,
)
from plugvisor.store.tables import identities as stored_identities
from plugvisor.store.tables import intents as stored_intents
from plugvisor.store.tables import kept_state as stored

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from plugvisor.engines.kept_state import KeptState
    from plugvisor.manager.identities.identities import Identities
    from plugvisor.manager.intents.intents import Intents
    from plugvisor.store.store import Store
    from plugvisor.store.tables.identities import StoredCode, StoredIdentity

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 0.1
"""How long changes that nobody waits for are collected."""
LOOK_SECONDS = 5.0
"""How often to look whether another service has written something."""
SYNC_SECONDS = 3.0
"""How long a start, an end and the answer to a change of an identity wait for the engine."""
RETRY_SECONDS = 1.0
_MOST_ATTEMPTS = 5


class StateKeeper:
    """Works from `open` to `close`; without a `KeptState` it does nothing."""

    def __init__(self, kept: KeptState | None, store: Store, identities: Identities, intents: Intents) -> None:
        self._kept = kept
        self._store = store
        self._identities = identities
        self._intents = intents
        self._base: Rows | None = None
        """The rows when both were the same the last time; None: they were not read yet."""
        self._attempt: Rows | None = None
        """The rows that were written without an answer: they may be kept."""
        self._number = 0
        """Of the newest that was seen."""
        self.rival = Rival()
        self._due = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._problem = ""

    async def open(self) -> None:
        """Take over what is kept; nothing is raised, and it is done later if the engine does not answer."""
        if self._kept is None:
            return
        self._identities.persistence.share = self._share
        self._identities.on_change.append(self._due.set)
        self._intents.on_change.append(self._note_change)
        self._store.on_replaced.append(self._save)
        await self._sync_safely()
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Keep what is due."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait((self._task,))
        self._identities.persistence.share = None
        self._identities.on_change.remove(self._due.set)
        self._intents.on_change.remove(self._note_change)
        self._store.on_replaced.remove(self._save)
        await self._sync_safely()  # in any case: what was cancelled may have been under way

    # -- when

    def _note_change(self, _plugin_id: str | None) -> None:
        self._due.set()

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._due.wait()
            await asyncio.sleep(FLUSH_SECONDS)
            await self._sync_safely()
            if self._problem:
                await asyncio.sleep(RETRY_SECONDS)

    async def _sync_safely(self) -> None:
        self._due.clear()
        try:
            # a change of an identity has the turn until it is in force here
            async with self._identities.persistence.turn, asyncio.timeout(SYNC_SECONDS):
                await self._sync(self._identities.list_all(), self._identities.stored_code)
        except (StoreUnavailable, SupervisorUnavailable, TimeoutError) as error:
            problem = str(error) or "the swarm does not answer"
            if problem != self._problem:
                logger.warning("what is remembered is not kept in the swarm yet: %s", problem)
            self._problem = problem
            self._due.set()
        except Exception:
            logger.exception("cannot keep what is remembered in the swarm")
            self._problem = "a defect"
        else:
            if self._problem:
                logger.info("what is remembered is kept in the swarm again")
            self._problem = ""

    async def _share(self, identities: Iterable[StoredIdentity], code: StoredCode | None) -> None:
        """Keep identities that are to be in force here; raises `StoreUnavailable`. Called in the turn of identities."""
        try:
            async with asyncio.timeout(SYNC_SECONDS):
                await self._sync(identities, code)
        except SupervisorUnavailable as error:
            raise StoreUnavailable(f"it cannot be remembered now: {error}") from error
        except TimeoutError:
            raise StoreUnavailable("it cannot be remembered now: the swarm does not answer") from None
        finally:
            self._due.set()  # whatever became of it: what is in force here is what counts

    # -- what

    async def _sync(self, identities: Iterable[StoredIdentity], code: StoredCode | None) -> None:
        """Make both the same, of which one is these identities and the intents."""
        assert self._kept is not None
        if not (self._identities.persistence.is_loaded and self._intents.persistence.is_loaded):
            raise StoreUnavailable("what is remembered on this machine cannot be read now")
        if self._base is None:
            self._base = await self._load_base()
        taken: Rows = {}
        for _ in range(_MOST_ATTEMPTS):
            number, theirs = await self._load()
            is_claimed = self.rival.note(time.monotonic(), is_own=self._kept.is_own)
            # now: what is wanted may be another since
            mine = apply_changes(make_rows(identities, code, self._intents.list_all()), taken)
            base = self._base
            if theirs is None:
                base = theirs = {}  # somebody has removed it: all that is here counts
            elif theirs == self._attempt:
                base = theirs
            merged = merge(base, mine, theirs)
            if changes := find_changes(mine, merged):
                await self._take_over(changes)
                taken |= {key: row for key, row in changes.items() if key.startswith((f"{IDENTITY}/", f"{CODE}/"))}
                self._base = apply_changes(base, changes)  # even if nothing can be kept now
                self._save()
            if merged != theirs or is_claimed:
                self._attempt = merged
                is_kept = await self._kept.save(number + 1, pack(merged))
                self._attempt = None
                if not is_kept:
                    continue
                self._number = number + 1
            self._attempt = None
            if merged != self._base:
                self._base = merged
                self._save()
            return
        raise StoreUnavailable("another service writes all the time")

    async def _load(self) -> tuple[int, Rows | None]:
        assert self._kept is not None
        number, data = await self._kept.load() or (0, b"")
        if number < self._number:  # somebody has removed the newest; an older one would undo what was changed since
            return self._number, None
        self._number = number
        if not data:
            return number, None
        try:
            return number, await asyncio.to_thread(unpack, data)
        except NewerFormat:
            raise StoreUnavailable("what the swarm keeps was written by a later version of Plugvisor") from None
        except ValueError as error:
            logger.error("what the swarm keeps is damaged, and is written anew: %s", error)
            return number, None

    async def _load_base(self) -> Rows:
        data = await self._store.read(stored.load)
        try:
            return unpack(data) if data else {}
        except (ValueError, NewerFormat):
            return {}

    def _save(self) -> None:
        """Store what both have agreed on, and what is in force here, in one transaction.

        The next service would take any difference between them for a change that was made here.
        """
        if self._base is None:
            return
        base = pack(self._base)
        identities, code = self._identities.list_all(), self._identities.stored_code
        intents = self._intents.list_all().copy()

        def write(connection: sqlite3.Connection) -> None:
            stored_identities.save_all(connection, identities, code)
            stored_intents.save_all(connection, intents)
            stored.save(connection, base)

        self._store.post(write)

    async def _take_over(self, rows: Rows) -> None:
        changes = read_changes(rows)
        await self._identities.take_over(changes.identities, changes.code)
        self._intents.take_over(changes.intents, changes.disabled, changes.asked)
        logger.info("changes taken over from the swarm: %d", len(rows))
