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
RETRY_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""The pauses before what must be done is tried again."""
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

    async def persist(self, action: Callable[[Worker], Awaitable[None]]) -> None:
        """Do what may be repeated and must not be left undone, again and again for a while, if it fails."""
        for pause in (*RETRY_SECONDS, None):
            try:
                async with self.open() as worker:
                    await action(worker)
            except _PASSING as error:
                if pause is None:
                    raise
                logger.warning("the install folder cannot be changed, which is tried again: %s", error)
                await asyncio.sleep(pause)
            else:
                return
