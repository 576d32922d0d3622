"""A store that counts what it calls back, and what another process finds in its file."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.errors import StoreUnavailable
from plugvisor.models.stored.intent import Intent
from plugvisor.store.schema import open_database
from plugvisor.store.store import FILE_NAME, Store
from plugvisor.store.tables import intents

from tests.helpers.waiting import DEADLINE_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
    from pathlib import Path


class Watched(Store):
    """A store that counts what it calls back."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.changes: list[bool] = []
        self.replaced = 0
        self.on_change.append(lambda: self.changes.append(self.is_available))
        self.on_replaced.append(self.count)

    def count(self) -> None:
        self.replaced += 1

    async def remember(self, plugin_id: str, wanted: Any = "stopped") -> None:
        await self.write(lambda connection: intents.save_intent(connection, plugin_id, Intent(wanted, "ops", 1.0)))

    def remember_soon(self, plugin_id: str) -> None:
        self.post(lambda connection: intents.save_intent(connection, plugin_id, Intent("stopped", "ops", 1.0)))

    async def list_intents(self) -> set[str]:
        return set((await self.read(intents.load)).intents)


@contextlib.asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Watched]:
    store = Watched(folder)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(2 * DEADLINE_SECONDS):
            await test()

    asyncio.run(bounded())


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():  # noqa: ASYNC110 - of files and threads, which set no event
            await asyncio.sleep(0.01)


async def fails(waiting: Awaitable[Any]) -> str:
    with pytest.raises(StoreUnavailable) as caught:
        await waiting
    return str(caught.value)


def read_intents(path: Path) -> set[str]:
    """What another process would find in the file."""
    with closing(sqlite3.connect(path)) as connection:
        return set(intents.load(connection).intents)


def make_store(folder: Path, *names: str) -> Path:
    folder.mkdir(mode=0o700, exist_ok=True)
    with closing(open_database(folder / FILE_NAME)) as connection:
        for name in names:
            intents.save_intent(connection, name, Intent("stopped", "ops", 1.0))
    return folder / FILE_NAME
