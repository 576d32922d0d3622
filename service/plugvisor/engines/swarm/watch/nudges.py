"""Events of the Engines: the swarm has none for tasks, but what happens to services, nodes and containers is a hint.

That the kernel has killed a process for its memory limit is in no task: the Engine of its node alone reports it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

import msgspec
from msgspec import field

from plugvisor.engines.swarm.docker.errors import DockerError
from plugvisor.errors import SupervisorUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from plugvisor.engines.swarm.docker.client import DockerClient

logger = logging.getLogger(__name__)

RECONNECT_SECONDS = 1.0
_REPEATED_SECONDS = 600
"""How far back an Engine repeats its events to a service that was just started; it keeps 256."""
_LONGEST_LINE = 1024 * 1024
_FILTERS = {
    "type": ["service", "node", "container"],
    "event": ["create", "update", "remove", "start", "die", "oom"],
}


class _Actor(msgspec.Struct, frozen=True):
    attributes: dict[str, str] | None = field(name="Attributes", default=None)


class Event(msgspec.Struct, frozen=True):
    """An event of an Engine."""

    type: str = field(name="Type", default="")
    action: str = field(name="Action", default="")
    actor: _Actor = field(name="Actor", default=_Actor())

    @property
    def task_id(self) -> str:
        """The task that a container belongs to; empty if it belongs to none."""
        return (self.actor.attributes or {}).get("com.docker.swarm.task.id", "")


async def follow_events(client: DockerClient, url: str, notice: Callable[[Event], object]) -> None:
    """Call `notice` for each event of one of the Engines, for ever; without events, polling goes on.

    Args:
        url: of the Engine: each knows the containers of its own node.
    """
    since = time.time() - _REPEATED_SECONDS
    while True:
        try:
            query = {"filters": _FILTERS, "since": f"{since:.0f}"}
            async with client.stream("GET", "/events", query=query, url=url) as chunks:
                notice(Event())  # what happened while nobody listened may not be repeated
                async for line in _split(chunks):
                    notice(msgspec.json.decode(line, type=Event))
                    since = time.time()
        except (SupervisorUnavailable, DockerError) as error:
            logger.debug("the events of a Docker Engine cannot be followed: %s", error)
        except msgspec.DecodeError as error:
            logger.warning("the events of a Docker Engine are not understood: %s", error)
        except Exception:
            logger.exception("the events of a Docker Engine cannot be followed")
        await asyncio.sleep(RECONNECT_SECONDS)


async def _split(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                yield line
        if len(rest) > _LONGEST_LINE:
            raise msgspec.DecodeError("a line is too long")
