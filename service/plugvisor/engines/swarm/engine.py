"""Docker Swarm as an engine: many machines, and every plugin one of its services."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugvisor.engines.swarm.carriers.carrier import Carrier
from plugvisor.engines.swarm.docker.client import DockerClient
from plugvisor.engines.swarm.logs.spool import Spool
from plugvisor.engines.swarm.watch.table import SwarmTable
from plugvisor.engines.swarm.workers import LocalWorkers

if TYPE_CHECKING:
    from plugvisor.settings import Settings


class SwarmEngine:
    """See `plugvisor.engines.engine.Engine`, which says what each method does."""

    name = "swarm"
    is_cluster = True

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client = DockerClient(settings.swarm)
        self.on_call = self._client.on_call
        self._table = SwarmTable(self._client)
        self.on_nodes = self._table.on_nodes
        self._carrier = Carrier(self._client, settings)
        self._spool = Spool(self._client, self._table, settings.log_dir)
        self._workers = LocalWorkers(settings)
