"""Hands out workers of the install folder, few at a time."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from plugvisor.errors import OperationInterrupted, StorageFull, SupervisorUnavailable
from plugvisor.manager.installation.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from plugvisor.engines.engine import Engine

logger = logging.getLogger(__name__)

MOST_BUILDS = 2
"""At the same time."""
_MOST_OTHERS = 4
BRIEF_SECONDS = 120.0
"""As long as what is no build may take."""
SPARE_SECONDS = 3600.0
"""How much longer a worker may live than its build takes: it unpacks, and waits for its turn."""
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0
PERSIST_SECONDS = 600.0
"""How long, and after which pauses, what must be done is tried again: a disk that is full may be cleaned up."""
_PASSING = (OperationInterrupted, StorageFull, SupervisorUnavailable)


class Workers:
    """Workers of one install folder."""

    def __init__(self, engine: Engine, install_dir: Path, build_seconds: float) -> None:
        self.install_dir = install_dir
        self.build_seconds = build_seconds
        self.builds = asyncio.Semaphore(MOST_BUILDS)
        """Held while a package is unpacked and its environment is made."""
        self._others = asyncio.Semaphore(_MOST_OTHERS)
        self._engine = engine

    def make_builder(self) -> Worker:
        """A worker for a build."""
        return Worker(self._engine, self.install_dir, self.build_seconds + SPARE_SECONDS)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Worker]:
        """A worker for what takes a moment."""
        async with self._others, Worker(self._engine, self.install_dir, BRIEF_SECONDS) as worker:
            yield worker

    async def persist(self, action: Callable[[Worker], Awaitable[None]], on_failure: Callable[[str], object]) -> None:
        """Have a worker do what may be repeated and must not be left undone; see `persist`."""

        async def act() -> None:
            async with self.open() as worker:
                await action(worker)

        await persist(act, on_failure)


async def persist(action: Callable[[], Awaitable[None]], on_failure: Callable[[str], object]) -> None:
    """Do what may be repeated and must not be left undone, again and again for some minutes if it fails.

    Args:
        on_failure: called with why, once, if it is tried again.
    """
    loop = asyncio.get_running_loop()
    deadline, pause, reported = loop.time() + PERSIST_SECONDS, FIRST_PAUSE_SECONDS, False
    while True:
        try:
            await action()
        except _PASSING as error:
            if loop.time() > deadline:
                raise
            if not reported:
                reported = True
                logger.warning("the install folder cannot be changed, which is tried again: %s", error)
                on_failure(f"{error}; trying again")
        else:
            return
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
