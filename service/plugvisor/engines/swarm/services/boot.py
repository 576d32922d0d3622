"""Makes services of plugins that have none, when the service itself has started."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from plugvisor.errors import PlugvisorError, StartFailed, SupervisorUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from plugvisor.engines.swarm.services.deployment import Deployment
    from plugvisor.engines.swarm.services.program import SwarmProgram
    from plugvisor.engines.swarm.watch.table import SwarmTable

logger = logging.getLogger(__name__)

AT_ONCE = 8
WAIT_SECONDS = 2.0
"""How long the start of the service waits for it."""
RETRY_SECONDS = 1.0
"""The pause before it is tried again if no manager has answered."""
FAILED_SECONDS = 30.0
"""The pause before it is tried again if a folder cannot be brought to the nodes: the registry may be away."""


class Boot:
    """Creates what is missing, once; a service that is there is left as it is: the swarm remembers what runs."""

    def __init__(self, deployment: Deployment, table: SwarmTable) -> None:
        self._deployment = deployment
        self._table = table
        self._task: asyncio.Task[None] | None = None
        self._failures: dict[str, str] = {}
        """Why each service could not be made at the last try: that is logged once."""

    async def begin(
        self, programs: Sequence[SwarmProgram], starts: Callable[[str], bool], queued: Collection[str]
    ) -> None:
        """Create the services; go on in the background if that takes long, as making images does. Nothing is raised."""
        self._task = asyncio.create_task(self._create_until_done(programs, starts, queued))
        await asyncio.wait((self._task,), timeout=WAIT_SECONDS)

    async def close(self) -> None:
        """Create nothing more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _create_until_done(
        self, programs: Sequence[SwarmProgram], starts: Callable[[str], bool], queued: Collection[str]
    ) -> None:
        left = await self._create_all(programs, starts, queued)
        while left:
            await asyncio.sleep(FAILED_SECONDS if self._failures else RETRY_SECONDS)
            left = await self._create_all(left, starts, queued)

    async def _create_all(
        self, programs: Sequence[SwarmProgram], starts: Callable[[str], bool], queued: Collection[str]
    ) -> list[SwarmProgram]:
        """Returns those that are to be tried again."""
        if not self._table.is_live:
            return list(programs)
        turns = asyncio.Semaphore(AT_ONCE)
        services = self._table.list_services()

        async def create(program: SwarmProgram) -> SwarmProgram | None:
            try:
                async with turns:
                    is_wanted = starts(program.id)
                    waits = is_wanted and program.id in queued
                    await self._deployment.create(
                        program.id, is_started=is_wanted and not waits, queued="boot" if waits else ""
                    )
            except SupervisorUnavailable:
                return program
            except StartFailed as error:
                if self._failures.get(program.id) != str(error):
                    logger.error("the service of %r cannot be made yet: %s", program.id, error)
                self._failures[program.id] = str(error)
                return program
            except PlugvisorError as error:
                logger.error("the service of %r cannot be made: %s", program.id, error)
            except Exception:
                logger.exception("the service of %r cannot be made", program.id)
            self._failures.pop(program.id, None)
            return None

        missing = [program for program in programs if program.id not in services]
        left = [program for program in await asyncio.gather(*map(create, missing)) if program is not None]
        if missing:
            with contextlib.suppress(SupervisorUnavailable):  # it is polled again
                await self._table.poll()
        return left
