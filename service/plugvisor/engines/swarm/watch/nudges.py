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
    from collections.abc import AsyncIterator, Callable, Mapping

    from plugvisor.engines.swarm.docker.client import DockerClient
    from plugvisor.engines.swarm.watch.answers import SwarmTask

logger = logging.getLogger(__name__)

RECONNECT_SECONDS = 1.0
SILENCE_SECONDS = 60.0
"""After this time without an event the Engine is connected to again: its machine may have lost its power."""
ASK_SECONDS = 1.0
"""How often an Engine is asked for the containers of tasks that the swarm has forgotten, while there are any."""
_REPEATED_SECONDS = 600
"""How far back an Engine repeats its events to a service that was just started; it keeps 256."""
_LONGEST_LINE = 1024 * 1024
_FILTERS = {
    "type": ["service", "node", "container"],
    "event": ["create", "update", "remove", "start", "die", "oom"],
}
_TASK = "com.docker.swarm.task.id"
_HAVE_ENDED = frozenset({"exited", "dead", "removing"})


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
        return (self.actor.attributes or {}).get(_TASK, "")


async def follow_events(client: DockerClient, url: str, notice: Callable[[Event], object]) -> None:
    """Call `notice` for each event of one of the Engines, for ever; without events, polling goes on.

    Args:
        url: of the Engine: each knows the containers of its own node.
    """
    since = time.time() - _REPEATED_SECONDS
    while True:
        try:
            query = {"filters": _FILTERS, "since": f"{since:.0f}"}
            async with client.stream("GET", "/events", query=query, url=url, silence_seconds=SILENCE_SECONDS) as chunks:
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


async def follow_forgotten(
    client: DockerClient,
    url: str,
    list_forgotten: Callable[[], Mapping[str, SwarmTask]],
    notice: Callable[[Event], object],
) -> None:
    """Call `notice` when the container of a task that the swarm has forgotten has ended without an event.

    An Engine that was started again has no events of before.

    Args:
        list_forgotten: returns such tasks by the ids of their containers.
    """
    while True:
        await asyncio.sleep(ASK_SECONDS)
        if not (forgotten := list_forgotten()):
            continue
        try:
            for task in await _find_ended(client, url, forgotten):
                notice(Event("container", "die", _Actor({_TASK: task.id})))
        except (SupervisorUnavailable, DockerError, msgspec.DecodeError) as error:
            logger.debug("a Docker Engine does not list the containers of its node: %s", error)
        except Exception:
            logger.exception("a Docker Engine cannot be asked for the containers of its node")


class _Membership(msgspec.Struct, frozen=True):
    node_id: str = field(name="NodeID", default="")


class _Info(msgspec.Struct, frozen=True):
    swarm: _Membership = field(name="Swarm", default=_Membership())


class _Container(msgspec.Struct, frozen=True, rename={"id": "Id", "state": "State"}):
    id: str
    state: str


async def _find_ended(client: DockerClient, url: str, forgotten: Mapping[str, SwarmTask]) -> list[SwarmTask]:
    """Those whose containers have ended, as the Engine of their node says; it removes them soon afterwards."""
    node_id = msgspec.json.decode(await client.fetch("/info", url=url), type=_Info).swarm.node_id
    own = {container_id: task for container_id, task in forgotten.items() if task.node_id == node_id}
    if not own:
        return []
    query = {"all": "true", "filters": {"id": [*own]}}
    listed = msgspec.json.decode(await client.fetch("/containers/json", query=query, url=url), type=list[_Container])
    alive = {container.id for container in listed if container.state not in _HAVE_ENDED}
    return [task for container_id, task in own.items() if container_id not in alive]


async def _split(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                yield line
        if len(rest) > _LONGEST_LINE:
            raise msgspec.DecodeError("a line is too long")
