"""Makes a plugin's service that of its published program."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import TYPE_CHECKING, Any

from plugvisor.engines.swarm.services import labels
from plugvisor.engines.swarm.services.spec import apply_program, get_replicas, set_replicas
from plugvisor.engines.swarm.services.verdicts import describe_remains, is_gone, is_lost
from plugvisor.errors import PlugvisorError, StartFailed, StopTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from plugvisor.engines.swarm.carriers.carrier import Carried, Carrier
    from plugvisor.engines.swarm.services.changes import Services
    from plugvisor.engines.swarm.services.program import SwarmProgram
    from plugvisor.engines.swarm.services.published import Published
    from plugvisor.engines.swarm.watch.table import SwarmTable
    from plugvisor.models.process import Process

    Spec = dict[str, Any]
    Finish = Callable[[Spec], Spec | None]

logger = logging.getLogger(__name__)

GRACE_SECONDS = 10.0
"""How much longer than `stopwaitsecs` the swarm may take to end a task, and to say so."""


class Deployment:
    """Creates and changes services, with all that their tasks need. Every method may raise `SupervisorUnavailable`."""

    def __init__(self, services: Services, table: SwarmTable, carrier: Carrier, published: Published) -> None:
        self._services = services
        self._table = table
        self._carrier = carrier
        self._published = published
        self._background: set[asyncio.Task[None]] = set()
        self._turns: dict[str, asyncio.Lock] = {}
        """Nothing of what a change is about to refer to may be removed as unused."""

    async def close(self) -> None:
        """Do nothing more in the background."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    async def carry(self, plugin_id: str, *, is_started: bool = True) -> tuple[SwarmProgram, Carried] | None:
        """Bring what a plugin's next start needs to where its tasks find it; None: what its service has, remains.

        Raises:
            StartFailed
        """
        program = self._published.get(plugin_id)
        return None if program is None else (program, await self._carrier.carry(program, is_started=is_started))

    async def settle(self, plugin_id: str) -> bool:
        """Wait until nothing of a plugin that was stopped is alive; returns False if it is to run, and was not stopped.

        Until then its service must not be changed: the swarm would forget a task that still runs, and a start would be
        the second one.

        Raises:
            StopTimeout
        """
        await self._table.poll()  # somebody may have stopped it by hand
        service = self._table.get_service(plugin_id)
        if service is not None and get_replicas(service["Spec"]):
            return False
        process = self._table.get(plugin_id)
        if not is_gone(process) and not is_lost(process):
            seconds = process.stop_seconds + GRACE_SECONDS
            process = await self._table.wait_for(plugin_id, lambda now: is_gone(now) or is_lost(now), seconds)
        if not is_gone(process):
            raise StopTimeout(describe_remains(process))
        return True

    async def create(self, plugin_id: str, *, is_started: bool, queued: str = "") -> bool:
        """Create the service of a published plugin; returns False, having changed nothing, if there is one already.

        Raises:
            StartFailed, InvalidManifest, StopTimeout
        """
        async with self._get_turn(plugin_id):
            if is_started:
                await self.settle(plugin_id)
            if await self._services.read(plugin_id) is not None:
                return False
            if (found := await self.carry(plugin_id, is_started=is_started)) is None:
                return False
            replicas = found[0].replicas if is_started else 0
            spec = set_replicas(apply_program(None, *found), replicas, queued)
            return await self._services.create(plugin_id, spec, found[1].headers)

    async def put(self, plugin_id: str, finish: Finish) -> None:
        """Change a plugin's service to that of the published program, or create it.

        Args:
            finish: makes the spec of one that has everything but the replicas, which are as they were.

        Raises:
            StartFailed, InvalidManifest, StopTimeout
        """
        async with self._get_turn(plugin_id):
            found = await self.carry(plugin_id)  # first, for it may take long
            is_wanted = not await self.settle(plugin_id)

            def change(spec: Spec) -> Spec | None:
                if is_wanted and not get_replicas(spec):  # a check, or somebody by hand
                    raise StartFailed("it was stopped while it was starting")
                return finish(spec if found is None else apply_program(spec, *found))

            headers = None if found is None else found[1].headers
            if await self._services.change(plugin_id, change, headers) is None:
                if found is None:
                    raise StartFailed("its service is gone; refresh, and start it again")
                await self._table.poll()
                await self.settle(plugin_id)  # what ran until somebody has deleted the service
                created = finish(apply_program(None, *found))
                if created is not None and not await self._services.create(plugin_id, created, headers):
                    await self._services.change(plugin_id, change, headers)
        await self._table.poll()
        self.begin(self._clean(plugin_id))

    async def delete(self, plugin_id: str) -> None:
        """Delete a service, and all that it has needed."""
        async with self._get_turn(plugin_id):
            await self._services.delete(plugin_id)
            await self._table.poll()
            await self._carrier.clean(plugin_id)
        self._published.forget(plugin_id)

    def remember_exit(self, plugin_id: str, process: Process) -> None:
        """Have a label keep how a process has ended: the swarm forgets the tasks of a service without replicas."""
        service, last = self._table.get_service(plugin_id), process.last_exit
        if service is None or last is None:
            return
        value = json.dumps({"code": last.code, "signal": last.signal, "at": last.at, "node": process.node})
        known = service["Spec"]["Labels"]
        if known.get(labels.LAST) != value:
            self.begin(self._note_exit(plugin_id, value, known.get(labels.WANTED_AT, "")))

    def begin(self, work: Coroutine[None, None, None]) -> None:
        """Do something in the background, until `close`; it raises nothing."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a change in the background has failed", exc_info=error)

    async def clean_removed(self) -> None:
        """Remove what plugins have needed that have no service any more; nothing is raised.

        A service that was killed between the two has removed the one and left the other.
        """
        with contextlib.suppress(PlugvisorError):  # the next service cleans, too
            for plugin_id in await self._carrier.list_plugins():
                if plugin_id not in self._table.list_services():
                    await self._clean(plugin_id)

    async def _note_exit(self, plugin_id: str, value: str, wanted_at: str) -> None:
        def change(spec: Spec) -> Spec | None:
            if spec["Labels"].get(labels.WANTED_AT, "") != wanted_at:
                return None  # it was started again meanwhile
            spec["Labels"][labels.LAST] = value
            return spec

        try:
            await self._services.change(plugin_id, change)
        except PlugvisorError as error:
            logger.warning("it cannot be remembered how %r has ended: %s", plugin_id, error)

    async def _clean(self, plugin_id: str) -> None:
        with contextlib.suppress(PlugvisorError):  # the next change cleans, too
            async with self._get_turn(plugin_id):
                service = await self._services.read(plugin_id)
                await self._carrier.clean(plugin_id, [] if service is None else [service])

    def _get_turn(self, plugin_id: str) -> asyncio.Lock:
        return self._turns.setdefault(plugin_id, asyncio.Lock())
