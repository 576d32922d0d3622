"""Where the services of several machines keep what they remember, in memory."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NoReturn

from plugvisor.admin_code import AdminCode
from plugvisor.errors import StoreUnavailable, SupervisorUnavailable
from plugvisor.manager.identities.identities import Identities
from plugvisor.manager.intents.intents import Intents
from plugvisor.manager.kept_state.keeper import StateKeeper
from plugvisor.manager.kept_state.rows import unpack
from plugvisor.store.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CODE = "an-admin-code-of-a-test"


class FakeKeptState:
    """What every machine reaches, unless the test says otherwise."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []
        self.number = 0
        """Of the newest."""
        self.is_away = False
        """Whether no manager answers."""
        self.loses_answers = False
        """Whether something is kept and then no manager answers."""
        self.has_changed = asyncio.Event()
        self.writer: object = None
        """The machine that has written the newest."""

    async def load(self) -> tuple[int, bytes] | None:
        """The newest."""
        self._check()
        return (self.number, self.kept[-1]) if self.kept else None

    async def save(self, number: int, data: bytes) -> bool:
        """Keep some data."""
        self._check()
        await asyncio.sleep(0)
        if self.kept and number <= self.number:
            return False
        self.number = number
        self.kept.append(data)
        self.has_changed.set()
        self.is_away = self.loses_answers
        self._check()
        return True

    def _check(self) -> None:
        if self.is_away:
            raise SupervisorUnavailable("no manager of the swarm answers")

    def list_rows(self) -> set[str]:
        """The keys of the rows that are kept."""
        return set(unpack(self.kept[-1])) if self.kept else set()


class KeptStateOfOne:
    """The same, as one machine sees it."""

    def __init__(self, kept: FakeKeptState) -> None:
        self._kept = kept

    @property
    def is_own(self) -> bool:
        """Whether it has written the newest."""
        return self._kept.writer is self

    async def load(self) -> tuple[int, bytes] | None:
        """The newest."""
        return await self._kept.load()

    async def save(self, number: int, data: bytes) -> bool:
        """Keep some data."""
        is_kept = await self._kept.save(number, data)
        if is_kept:
            self._kept.writer = self
        return is_kept


class Machine:
    """A service with a store of its own."""

    def __init__(self, kept: FakeKeptState, folder: Path, code: str) -> None:
        self.store = Store(folder)
        self.identities = Identities(self.store, AdminCode(code))
        self.intents = Intents(self.store, remembers=True)
        self.keeper = StateKeeper(KeptStateOfOne(kept), self.store, self.identities, self.intents)


async def refuse(_work: object) -> NoReturn:
    """A write that the disk does not take."""
    raise StoreUnavailable("it cannot be remembered now: the disk is full")


@asynccontextmanager
async def run_machine(
    kept: FakeKeptState, folder: Path, code: str = CODE, *, writes: bool = True
) -> AsyncIterator[Machine]:
    """Run the service on a machine, whose disk is a folder, from its start to its orderly end.

    Args:
        writes: whether the disk takes what is waited for, and not only what the keeper posts.
    """
    machine = Machine(kept, folder, code)
    await machine.store.open()
    await asyncio.gather(machine.identities.load(), machine.intents.load())
    if not writes:
        machine.store.write = refuse  # type: ignore[method-assign]
    await machine.keeper.open()
    try:
        yield machine
    finally:
        await machine.intents.close()
        await machine.keeper.close()
        machine.identities.close()
        await machine.store.close()
