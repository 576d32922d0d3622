"""Docker Swarm as an engine: many machines, and every plugin one of its services."""

from __future__ import annotations

import logging
from types import MappingProxyType
from typing import TYPE_CHECKING

from plugvisor.engines.engine import EngineInfo, Execution
from plugvisor.engines.process_reads import ProcessReads
from plugvisor.engines.swarm.carriers.carrier import Carrier
from plugvisor.engines.swarm.docker.client import DockerClient, DockerError
from plugvisor.engines.swarm.docker.late_answers import ignore_late_answers
from plugvisor.engines.swarm.logs.spool import Spool
from plugvisor.engines.swarm.services.actions import Actions
from plugvisor.engines.swarm.services.boot import Boot
from plugvisor.engines.swarm.services.by_hand import RequestsByHand
from plugvisor.engines.swarm.services.changes import FOREIGN_SERVICE, Services
from plugvisor.engines.swarm.services.deployment import Deployment
from plugvisor.engines.swarm.services.names import Names
from plugvisor.engines.swarm.services.options import EXEC_READY, list_differences
from plugvisor.engines.swarm.services.program import render_program
from plugvisor.engines.swarm.services.published import Published
from plugvisor.engines.swarm.services.state import SwarmState
from plugvisor.engines.swarm.services.waiting_starts import WaitingStarts
from plugvisor.engines.swarm.summary import count
from plugvisor.engines.swarm.watch.addresses import locate_tasks
from plugvisor.engines.swarm.watch.table import SwarmTable
from plugvisor.engines.swarm.workers import LocalWorkers
from plugvisor.errors import NotRunning, PlugvisorError, SupervisorConfused
from plugvisor.layout import find_root
from plugvisor.models.manifest import ManifestError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path
    from socket import socket
    from typing import Literal

    from plugvisor.engines.engine import Address
    from plugvisor.engines.kept_state import KeptState
    from plugvisor.engines.swarm.services.program import SwarmProgram
    from plugvisor.models.cluster.node import Node
    from plugvisor.models.manifest import Manifest
    from plugvisor.models.process import Process
    from plugvisor.settings import Settings

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
"""How long `open` waits for a manager that does not answer yet."""
LACKS: Mapping[str, str] = MappingProxyType(
    {
        "metrics": "a plugin's process runs on another node, where nothing measures it",
        "exec_ready_checks": EXEC_READY,
        "restart_factor": "a swarm waits the same time before each restart",
        "boot_order": "a swarm that starts itself starts all plugins at once; a start by the service keeps the order",
    }
)


class SwarmEngine(ProcessReads):
    """See `plugvisor.engines.engine.Engine`, which says what each method does."""

    name = "swarm"
    is_cluster = True
    lacks = LACKS

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client = DockerClient(settings.swarm)
        names = Names(settings.swarm.name)
        self.on_call = self._client.on_call
        self._table = SwarmTable(self._client, names)
        super().__init__(self._table, settings.log_dir)
        self.on_nodes = self._table.on_nodes
        self._carrier = Carrier(self._client, settings)
        self._spool = Spool(self._client, self._table, settings.log_dir)
        self._workers = LocalWorkers(settings)
        self.kept_state: KeptState | None = SwarmState(self._client, names)
        self._published = Published(self._table)
        self._services = Services(self._client, names)
        self._deployment = Deployment(self._services, self._table, self._carrier, self._published)
        self._actions = Actions(self._services, self._table, self._deployment)
        self._waiting = WaitingStarts(self._services, self._table, self._deployment)
        self._boot = Boot(self._deployment, self._table)
        self._by_hand = RequestsByHand(self._services, self._table, self._deployment)

    async def open(self) -> None:
        """Connect to a manager, and bring here the folders of services that were started from another one."""
        ignore_late_answers()
        await self._table.open(CONNECT_SECONDS)
        self._by_hand.open()
        try:
            await self.bring_folders()
        except PlugvisorError as error:
            logger.error("folders of plugins that run cannot be brought here yet: %s", error)
        self._deployment.begin(self._deployment.clean_removed())

    async def close(self) -> None:
        """Disconnect."""
        self._by_hand.close()
        await self._boot.close()
        await self._deployment.close()
        await self._workers.end()
        await self._spool.close()
        await self._table.close()
        await self._client.close()

    async def describe(self) -> EngineInfo:
        """Ask a manager for its version; the rest is known."""
        try:
            version = await self._client.call("GET", "/version")
        except DockerError as error:
            logger.error("the Docker Engine does not describe itself: %s", error)
            raise SupervisorConfused("the Docker Engine does not describe itself; the log says more") from error
        nodes = self._table.list_nodes()
        managers = sum(node.role == "manager" for node in nodes)
        leader = next((node.name for node in nodes if node.leader), "none")
        state = f"leader {leader}, {count(managers, 'manager')}, {count(len(nodes), 'node')}"
        return EngineInfo(self.name, version["Version"], 0, state)

    # -- reading

    def list_nodes(self) -> Sequence[Node]:
        """The nodes of the swarm."""
        return self._table.list_nodes()

    def locate(self, plugin_id: str, host: str) -> Sequence[Address]:
        """Where to reach what the machines or containers of a plugin's tasks call `host`."""
        return locate_tasks(self._table.get(plugin_id), host, self._settings.swarm.network)

    async def bring_log(self, plugin_id: str) -> None:
        """Bring here what a plugin has printed until now."""
        await self._spool.bring(plugin_id)

    def following_log(self, plugin_id: str) -> AbstractAsyncContextManager[None]:
        """While it is open, what a plugin prints is brought here at once."""
        return self._spool.following(plugin_id)

    def list_awaited(self) -> Collection[str]:
        """The plugins that were started from another machine, and whose folders are not here yet."""
        return self._carrier.list_awaited(self._table.list_services())

    async def bring_folders(self) -> Collection[str]:
        """Bring those folders here that can be had now."""
        self._table.read()  # else there would be no services
        return await self._carrier.restore(self._table.list_services())

    # -- publishing

    def render(self, manifest: Manifest, directory: Path) -> SwarmProgram:
        """Make a plugin's program."""
        if self._services.is_foreign(manifest.id):
            raise ManifestError(FOREIGN_SERVICE)
        program = render_program(manifest, directory, self._settings)
        self._carrier.check(program)
        return program

    def list_ignored(self, manifest: Manifest) -> Sequence[str]:
        """Sentences about the keys that have no effect on a swarm."""
        return list_differences(manifest)

    def read_published(self) -> Mapping[str, Path | None]:
        """The folder that each service's plugin came from."""
        return {
            name: type(directory)(find_root(str(directory))) if directory is not None else None
            for name, directory in self.read_directories().items()
        }

    def read_directories(self) -> Mapping[str, Path | None]:
        """The folder that each service's process works in."""
        return self._published.read_directories()

    def is_published(self, program: SwarmProgram) -> bool:
        """Whether the next start uses a program."""
        return self._published.is_published(program)

    def find_unpublished(self, plugin_ids: Sequence[str]) -> list[str]:
        """Those of these plugins that have no program here and no service."""
        return self._published.find_unpublished(plugin_ids)

    def publish(self, program: SwarmProgram) -> None:
        """Have the next start use a program."""
        self._published.publish(program)

    def publish_starts(self, _starts: Mapping[str, bool]) -> None:
        """The swarm itself remembers what runs."""

    # -- changing

    async def boot(
        self, programs: Sequence[SwarmProgram], starts: Callable[[str], bool], queued: Collection[str]
    ) -> None:
        """Create the services of plugins that have none."""
        for program in programs:
            self._published.publish(program)
        await self._boot.begin(programs, starts, queued)

    async def add(self, plugin_id: str) -> None:
        """Create a plugin's service with no replicas."""
        await self._actions.add(plugin_id)

    async def start(self, plugin_id: str) -> Process:
        """Start a published plugin."""
        return await self._actions.start(plugin_id)

    async def begin_stop(self, plugin_id: str) -> None:
        """Begin to stop a plugin; what it has printed, and prints until its end, is brought here."""
        await self._spool.bring_last(plugin_id)
        await self._actions.begin_stop(plugin_id)

    async def wait_stopped(self, plugin_id: str) -> Process:
        """Wait until nothing of a plugin is alive."""
        return await self._actions.wait_stopped(plugin_id)

    async def begin_restart(self, plugin_id: str) -> None:
        """Have the swarm replace a plugin's tasks, or start it."""
        await self._actions.begin_restart(plugin_id)

    async def wait_spawned(self, plugin_id: str) -> Process:
        """Wait until a start that was asked for has been made."""
        return await self._actions.wait_spawned(plugin_id)

    async def end(
        self, plugin_id: str, launches: int, reason: str, restart: Literal["always", "never", "policy"]
    ) -> None:
        """Begin to end a process that does not work."""
        await self._spool.bring_last(plugin_id)
        await self._actions.end(plugin_id, launches, reason, restart)

    async def queue(self, plugin_ids: Sequence[str], restart: str = "") -> None:
        """Have the starts of published plugins wait."""
        if restart:
            await self._spool.bring_last(restart)
        await self._waiting.queue(plugin_ids, restart)

    async def fail(self, plugin_id: str, reason: str) -> None:
        """Give up a queued start."""
        await self._waiting.fail(plugin_id, reason)

    async def remove(self, plugin_id: str) -> None:
        """Delete a plugin's service, and what only that has needed."""
        await self._actions.remove(plugin_id)

    async def execute(self, plugin_id: str, launches: int, _check: str, _timeout_seconds: float) -> Execution:
        """Nodes make `exec` checks themselves: a task runs once it has passed, and is ended when it fails."""
        process = self._table.get(plugin_id)
        if not process.is_alive or process.launches != launches:
            raise NotRunning("that launch is over")
        return Execution(code=0)

    async def open_worker(self, timeout_seconds: float) -> socket:
        """Start a worker of the install folder."""
        return await self._workers.open(timeout_seconds)

    async def end_workers(self, connection: socket | None = None) -> None:
        """Kill a worker, or all."""
        await self._workers.end(connection)
