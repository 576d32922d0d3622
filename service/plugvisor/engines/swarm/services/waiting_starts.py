"""Starts that wait for the plugin's dependencies: a label of its service remembers them, whatever becomes of us."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from plugvisor.engines.swarm.services import labels
from plugvisor.engines.swarm.services.spec import get_replicas, set_replicas, start_replicas
from plugvisor.errors import PlugvisorError
from plugvisor.models.process import STARTED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from plugvisor.engines.swarm.services.changes import Services
    from plugvisor.engines.swarm.services.deployment import Deployment
    from plugvisor.engines.swarm.watch.table import SwarmTable

    Spec = dict[str, Any]

logger = logging.getLogger(__name__)


class WaitingStarts:
    """Queues starts and gives them up; see `plugvisor.engines.engine.Engine`."""

    def __init__(self, services: Services, table: SwarmTable, deployment: Deployment) -> None:
        self._services = services
        self._table = table
        self._deployment = deployment

    async def queue(self, plugin_ids: Sequence[str], restart: str = "") -> None:
        """Have the starts of plugins wait; what was done is undone if one cannot."""
        waiting = [name for name in plugin_ids if name != restart and self._table.get(name).state not in STARTED]
        if restart:
            waiting.append(restart)
        await asyncio.gather(*map(self._deployment.carry, waiting))  # first, for it is what can fail
        before = {name: self._table.get_service(name) for name in waiting}
        done: list[str] = []
        try:
            for name in waiting:
                await self._deployment.put(name, _make_queue(before[name], stops=name == restart))
                done.append(name)
        except PlugvisorError:
            for name in done:
                await self._take_back(name, before[name])
            raise

    async def fail(self, plugin_id: str, reason: str) -> None:
        """Give up a queued start."""

        def give_up(spec: Spec) -> Spec | None:
            if spec["Labels"].pop(labels.QUEUED, None) is None:
                return None
            spec["Labels"][labels.FAILED] = reason
            return spec

        await self._deployment.settle(plugin_id)
        if await self._services.change(plugin_id, give_up):
            await self._table.poll()

    async def _take_back(self, plugin_id: str, service: Mapping[str, Any] | None) -> None:
        """Queue a plugin no more; one that ran is started again."""
        replicas = get_replicas(service["Spec"]) if service is not None else 0

        def change(spec: Spec) -> Spec | None:
            return start_replicas(spec, replicas) if labels.QUEUED in spec["Labels"] else None

        try:
            await self._services.change(plugin_id, change)
        except PlugvisorError as error:
            logger.error("%r stays queued: %s", plugin_id, error)


def _make_queue(before: Mapping[str, Any] | None, *, stops: bool) -> Callable[[Spec], Spec | None]:
    """The change by which a start waits.

    Args:
        before: the service as it was; None if there was none.
        stops: whether a plugin that somebody has started since is stopped, instead of left alone.
    """

    def queue(spec: Spec) -> Spec | None:
        is_same = before is not None and _read_wanted(spec) == _read_wanted(before["Spec"])
        return set_replicas(spec, 0, "asked") if stops or is_same or not get_replicas(spec) else None

    return queue


def _read_wanted(spec: Mapping[str, Any]) -> str | None:
    wanted: str | None = spec["Labels"].get(labels.WANTED_AT)
    return wanted
