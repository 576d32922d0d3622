"""The swarm in a few words, for the terminal that starts the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugvisor.engines.swarm.docker.client import DockerClient, DockerError
from plugvisor.errors import SupervisorUnavailable

if TYPE_CHECKING:
    from plugvisor.swarm_settings import SwarmSettings


async def summarise_swarm(settings: SwarmSettings) -> str:
    """How many managers and nodes there are, or why that is not known; nothing is raised."""
    client = DockerClient(settings)
    try:
        nodes = await client.call("GET", "/nodes")
        managers = sum(node["Spec"]["Role"] == "manager" for node in nodes)
    except (SupervisorUnavailable, DockerError) as error:
        return f"not reached yet: {error}"
    finally:
        await client.close()
    return f"{count(managers, 'manager')}, {count(len(nodes), 'node')}"


def count(number: int, noun: str) -> str:
    """A number of things in words: `1 node`, `2 nodes`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
