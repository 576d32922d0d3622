"""Starts, stops and restarts plugins: changes their services, and waits for the swarm to follow."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING

from plugvisor.engines.process_reads import check_started
from plugvisor.engines.swarm.services import labels
from plugvisor.engines.swarm.services.deployment import GRACE_SECONDS
from plugvisor.engines.swarm.services.spec import (
    find_replicas,
    force_update,
    get_replicas,
    set_replicas,
    start_replicas,
)
from plugvisor.engines.swarm.services.verdicts import (
    describe_remains,
    is_at_rest,
    is_begun,
    is_gone,
    is_lost,
    is_spawned,
)
from plugvisor.errors import AlreadyRunning, NotRunning, PlugvisorError, StartFailed, StopTimeout
from plugvisor.models.process import STARTED, Process, ProcessState

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal

    from plugvisor.engines.swarm.services.changes import Services
    from plugvisor.engines.swarm.services.deployment import Deployment
    from plugvisor.engines.swarm.watch.table import SwarmTable

    Spec = dict[str, Any]
    Finish = Callable[[Spec], Spec | None]

logger = logging.getLogger(__name__)

SPAWN_SECONDS = 30.0
"""How long a start is waited for; a node may take longer to have the image, and then it is STARTING."""
BEGIN_SECONDS = 2.0
"""How long the swarm may take to make a task that was asked for."""
LONGEST_REPLACEMENT_SECONDS = 50
"""The swarm waits for the end of a task that it replaces for a minute, and then starts the other one beside it."""
LOOK_SECONDS = 0.1
"""How often to look whether a stop has ended: the swarm forgets how a task has ended a quarter of a second later."""


class Actions:
    """Changes of one plugin come one after another, in its turn, but for `end`.

    Each method may raise `SupervisorUnavailable`; the swarm may have taken the change over all the same.
    """

    def __init__(self, services: Services, table: SwarmTable, deployment: Deployment) -> None:
        self._services = services
        self._table = table
        self._deployment = deployment
        self._launches: dict[str, int] = {}  # the launch that each plugin had before the start that is awaited
        self._stops: dict[str, int] = {}  # how often each plugin was stopped

    # -- starts

    async def add(self, plugin_id: str) -> None:
        """Create a plugin's service, if there is none, without starting it."""
        await self._deployment.create(plugin_id, is_started=False)
        await self._table.poll()

    async def start(self, plugin_id: str) -> Process:
        """Start a published plugin when nothing of it is alive any more."""
        if self._table.get(plugin_id).state in STARTED:
            raise AlreadyRunning("it is running already")
        was_wanted = await self._wait_clear(plugin_id)
        self._launches[plugin_id] = self._table.get(plugin_id).launches

        def begin(spec: Spec) -> Spec:
            if get_replicas(spec) and not was_wanted:
                raise AlreadyRunning("it is running already")
            return start_replicas(spec, find_replicas(spec))

        await self._deployment.put(plugin_id, begin)
        return await self.wait_spawned(plugin_id)

    async def begin_restart(self, plugin_id: str) -> None:
        """Have the swarm replace every task of a plugin, or start it."""
        was_wanted = await self._wait_clear(plugin_id)
        process = self._table.get(plugin_id)
        before = self._launches[plugin_id] = process.launches
        if was_wanted and process.stop_seconds > LONGEST_REPLACEMENT_SECONDS and not is_at_rest(process):
            await self._deployment.put(plugin_id, lambda spec: set_replicas(spec, 0, "asked"))
            self._deployment.begin(self._start_queued(plugin_id))
            return

        def begin(spec: Spec) -> Spec:
            return start_replicas(spec, find_replicas(spec))

        def is_seen(process: Process) -> bool:
            return process.start_pending or is_begun(process, before)

        await self._deployment.put(plugin_id, begin)
        # until then a process that has failed is shown as if nobody had asked
        await self._table.wait_for(plugin_id, is_seen, BEGIN_SECONDS)

    async def wait_spawned(self, plugin_id: str) -> Process:
        """Wait until a task of the start that was asked for last has a process, or has failed."""
        before = self._launches.get(plugin_id, 0)
        has_check = self._has_healthcheck(plugin_id)

        def is_met(process: Process) -> bool:
            return not self._is_wanted(plugin_id) or (
                is_begun(process, before) and is_spawned(process, has_check=has_check)
            )

        seconds = self._table.get(plugin_id).stop_seconds + GRACE_SECONDS + SPAWN_SECONDS
        process = await self._table.wait_for(plugin_id, is_met, seconds)
        if not self._is_wanted(plugin_id):
            check_started(process)  # it was given up, or ended
            raise StartFailed("it was stopped while it was starting")
        if not is_begun(process, before):
            raise StopTimeout(describe_remains(process))
        check_started(process)
        return process

    # -- stops

    async def begin_stop(self, plugin_id: str) -> None:
        """Have the swarm end every task of a plugin."""
        process = self._table.get(plugin_id)
        rests = is_at_rest(process)
        has_ended = rests and process.state is not ProcessState.STOPPED

        def stop(spec: Spec) -> Spec | None:
            if not get_replicas(spec) and labels.QUEUED not in spec["Labels"]:
                return None
            return set_replicas(spec, 0)

        self._stops[plugin_id] = self._stops.get(plugin_id, 0) + 1
        if process.queued:
            await self._deployment.settle(plugin_id)
        was_changed = await self._services.change(plugin_id, stop)
        await self._table.poll()
        if has_ended and was_changed:  # a new leader of the swarm might have started it again
            self._deployment.remember_exit(plugin_id, process)
        if has_ended or (rests and not was_changed):
            raise NotRunning("it is not running")

    async def wait_stopped(self, plugin_id: str) -> Process:
        """Wait until nothing of a plugin is alive, or somebody else has started it again."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._table.get(plugin_id).stop_seconds + GRACE_SECONDS
        while True:
            process = self._table.get(plugin_id)
            if process.state in STARTED or (process.queued and is_gone(process)):
                return Process(ProcessState.STOPPED)  # as it was in between
            if is_gone(process):
                self._deployment.remember_exit(plugin_id, process)
                return process
            if is_lost(process) or loop.time() > deadline:
                raise StopTimeout(describe_remains(process))
            await self._table.wait_for(plugin_id, lambda now: now != process, LOOK_SECONDS)  # noqa: B023
            await self._table.poll()

    async def end(
        self, plugin_id: str, launches: int, reason: str, restart: Literal["always", "never", "policy"]
    ) -> None:
        """Begin to end a process that does not work."""
        process = self._table.get(plugin_id)
        service = self._table.get_service(plugin_id)
        if service is None or process.launches != launches or process.state not in STARTED:
            return
        policy = service["Spec"]["TaskTemplate"].get("RestartPolicy", {}).get("Condition")
        is_restarted = restart == "always" or (restart == "policy" and policy != "none")
        wanted_at = service["Spec"]["Labels"].get(labels.WANTED_AT)
        task_id = next((task.id for task in process.tasks if task.pid and task.pid == process.pid), "")

        def change(spec: Spec) -> Spec | None:
            if not get_replicas(spec) or spec["Labels"].get(labels.WANTED_AT) != wanted_at:
                return None
            if is_restarted:
                force_update(spec)
            else:
                set_replicas(spec, 0)
            spec["Labels"][labels.ENDED] = f"{time.time():.3f} {task_id or '-'} {reason}"
            return spec

        if await self._services.change(plugin_id, change):
            await self._table.poll()
            if not is_restarted:
                self._deployment.begin(self._follow_end(plugin_id))

    # -- removal

    async def remove(self, plugin_id: str) -> None:
        """Delete the service of a plugin that does not run, and all that it has needed."""
        service = await self._services.read(plugin_id)
        is_wanted = service is not None and (
            get_replicas(service["Spec"]) or labels.QUEUED in service["Spec"]["Labels"]
        )
        if is_wanted and not is_at_rest(self._table.get(plugin_id)):
            raise AlreadyRunning("somebody has started it again")
        await self._deployment.delete(plugin_id)
        self._launches.pop(plugin_id, None)
        self._stops.pop(plugin_id, None)

    # -- parts

    async def _wait_clear(self, plugin_id: str) -> bool:
        """Wait until a plugin that was stopped is gone; returns whether it was not: the swarm replaces what runs."""
        stops = self._stops.get(plugin_id, 0)
        was_wanted = not await self._deployment.settle(plugin_id)
        if self._stops.get(plugin_id, 0) != stops:
            raise StartFailed("it was stopped while it was starting")
        return was_wanted

    async def _start_queued(self, plugin_id: str) -> None:
        """Start a plugin when it has ended, unless it is queued no more; a service that is restarted does so, too."""

        def begin(spec: Spec) -> Spec | None:
            return start_replicas(spec, find_replicas(spec)) if labels.QUEUED in spec["Labels"] else None

        try:
            await self.wait_stopped(plugin_id)
            await self._services.change(plugin_id, begin)
            await self._table.poll()
        except PlugvisorError as error:
            logger.error("%r was stopped, and cannot be started again yet: %s", plugin_id, error)

    async def _follow_end(self, plugin_id: str) -> None:
        with contextlib.suppress(PlugvisorError):
            await self.wait_stopped(plugin_id)

    def _is_wanted(self, plugin_id: str) -> bool:
        """Whether a plugin is to run, now or when its start is queued no more."""
        service = self._table.get_service(plugin_id)
        return service is not None and bool(get_replicas(service["Spec"]) or labels.QUEUED in service["Spec"]["Labels"])

    def _has_healthcheck(self, plugin_id: str) -> bool:
        service = self._table.get_service(plugin_id)
        if service is None:
            return False
        test = service["Spec"]["TaskTemplate"]["ContainerSpec"].get("Healthcheck", {}).get("Test")
        return test not in (None, [], ["NONE"])
