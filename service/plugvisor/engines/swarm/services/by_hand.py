"""Starts and stops that did not come from the service: `docker service scale` is to a swarm what supervisorctl is here.

A change of the service notes how many replicas it has asked for. If the service has another number, somebody else has
asked for that; it is noted in turn, so that each request is seen once.
"""

from __future__ import annotations

import logging
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from plugvisor.engines.swarm.services import labels
from plugvisor.engines.swarm.services.spec import REMEMBERED, get_replicas, note_replicas, read_noted_replicas
from plugvisor.errors import PlugvisorError, SupervisorUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plugvisor.engines.swarm.services.changes import Services
    from plugvisor.engines.swarm.services.deployment import Deployment
    from plugvisor.engines.swarm.watch.table import SwarmTable

    Spec = dict[str, Any]

logger = logging.getLogger(__name__)


class RequestsByHand:
    """Looks at each service that changes, from `open` to `close`."""

    def __init__(self, services: Services, table: SwarmTable, deployment: Deployment) -> None:
        self._services = services
        self._table = table
        self._deployment = deployment
        self._noting: set[str] = set()

    def open(self) -> None:
        """Begin to look."""
        self._table.on_change.append(self._look)
        self._look(None)

    def close(self) -> None:
        """Look no more."""
        self._table.on_change.remove(self._look)

    def _look(self, plugin_id: str | None) -> None:
        services = self._table.list_services()
        for name in services if plugin_id is None else [plugin_id]:
            service = services.get(name)
            if service is not None and name not in self._noting and _is_by_hand(service["Spec"]):
                self._noting.add(name)
                self._deployment.begin(self._note(name, _read_time(service)))

    async def _note(self, plugin_id: str, at: float) -> None:
        def change(spec: Spec) -> Spec | None:
            if not _is_by_hand(spec):
                return None
            replicas = get_replicas(spec)
            spec["Labels"][labels.ASKED] = f"{at:.6f} {'running' if replicas else 'stopped'}"
            for name in REMEMBERED if replicas else ():
                spec["Labels"].pop(name, None)
            return note_replicas(spec)

        try:
            await self._deployment.settle(plugin_id)
            if await self._services.change(plugin_id, change):
                logger.info("%r was scaled by somebody else", plugin_id)
                await self._table.poll()
        except SupervisorUnavailable:
            pass  # the state with which it is back is looked at
        except PlugvisorError as error:
            logger.warning("a request by hand for %r cannot be noted: %s", plugin_id, error)
        finally:
            self._noting.discard(plugin_id)


def _is_by_hand(spec: Mapping[str, Any]) -> bool:
    noted = read_noted_replicas(spec)
    return noted is not None and bool(noted) is not bool(get_replicas(spec))


def _read_time(service: Mapping[str, Any]) -> float:
    """When a service was changed last; now if that is not said."""
    try:
        return datetime.fromisoformat(str(service.get("UpdatedAt"))).timestamp()
    except ValueError:
        return time.time()
