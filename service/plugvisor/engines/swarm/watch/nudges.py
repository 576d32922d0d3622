"""Events of the Engines: the swarm has none for tasks, but what happens to services, nodes and containers is a hint."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from plugvisor.engines.swarm.docker.errors import DockerError
from plugvisor.errors import SupervisorUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugvisor.engines.swarm.docker.client import DockerClient

logger = logging.getLogger(__name__)

RECONNECT_SECONDS = 1.0
_FILTERS = {
    "type": ["service", "node", "container"],
    "event": ["create", "update", "remove", "start", "die"],
}


async def follow_events(client: DockerClient, url: str, nudge: Callable[[bytes], object]) -> None:
    """Call `nudge` for each event of one of the Engines, for ever; without events, polling goes on.

    Args:
        url: of the Engine: each knows the containers of its own node.
    """
    while True:
        try:
            async with client.stream("GET", "/events", query={"filters": _FILTERS}, url=url) as chunks:
                nudge(b"")  # what happened before is not told
                async for chunk in chunks:
                    nudge(chunk)
        except (SupervisorUnavailable, DockerError) as error:
            logger.debug("the events of a Docker Engine cannot be followed: %s", error)
        except Exception:
            logger.exception("the events of a Docker Engine cannot be followed")
        await asyncio.sleep(RECONNECT_SECONDS)
