"""Checks of the swarm that the plugins run on."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from plugvisor.cli.doctor.finding import Finding, from_error, ok, problem, warning
from plugvisor.errors import ConfigurationError, SupervisorUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plugvisor.engines.swarm.docker.client import DockerClient
    from plugvisor.settings import Settings

_SECONDS = 10.0
_MOST_SECONDS_APART = 30.0
_ADVICE = "see PLUGVISOR_DOCKER_HOST in docs/configuration.md, and `docker info` and `docker node ls` on a manager"


def check_swarm(settings: Settings) -> Iterator[Finding]:
    """A manager answers, has a quorum, and can do what the settings ask of it."""
    if settings.engine == "swarm":
        yield from asyncio.run(_check(settings))


async def _check(settings: Settings) -> list[Finding]:
    from plugvisor.engines.swarm.docker.client import DockerClient, DockerError  # noqa: PLC0415 - it imports httpx

    logging.getLogger("plugvisor").addHandler(logging.NullHandler())  # what is wrong is a finding
    client = DockerClient(settings.swarm)
    try:
        info = await client.call("GET", "/info", timeout_seconds=_SECONDS)
        nodes = await client.call("GET", "/nodes", timeout_seconds=_SECONDS)
        found = [ok(f"Docker {info['ServerVersion']} at {client.urls[0]} is a manager of a swarm")]
        found += [*_check_clock(info), *_check_nodes(nodes), *await _check_hosts(settings)]
        found += await _check_network(client, settings)
        found += await _check_registry(client, settings)
    except SupervisorUnavailable as error:
        return [problem(str(error), _ADVICE)]
    except DockerError as error:
        return [problem(f"the Docker Engine answers {error.status}: {error}", _ADVICE)]
    finally:
        await client.close()
    return found


def _check_clock(info: dict[str, Any]) -> list[Finding]:
    apart = abs(datetime.fromisoformat(info["SystemTime"]).timestamp() - time.time())
    if apart > _MOST_SECONDS_APART:
        detail = f"the clock of that machine and the one of this are {apart:.0f} seconds apart"
        return [warning(detail, "set the clocks of all machines by NTP")]
    return []


async def _check_hosts(settings: Settings) -> list[Finding]:
    """Each of several managers answers: any of them may be needed."""
    from plugvisor.engines.swarm.docker.client import DockerClient, DockerError  # noqa: PLC0415 - it imports httpx

    found = []
    hosts = settings.swarm.docker_hosts if len(settings.swarm.docker_hosts) > 1 else ()
    for url in hosts:
        client = DockerClient(replace(settings.swarm, docker_hosts=(url,)))
        try:
            await client.call("GET", "/nodes", timeout_seconds=_SECONDS)
        except (SupervisorUnavailable, DockerError) as error:
            found.append(warning(f"{url}: {error}", _ADVICE))
        finally:
            await client.close()
    return found


def _check_nodes(nodes: list[dict[str, Any]]) -> list[Finding]:
    managers = [node["ManagerStatus"] for node in nodes if node.get("ManagerStatus")]
    up = sum(manager.get("Reachability") == "reachable" for manager in managers)
    down = [node["Description"]["Hostname"] for node in nodes if node["Status"]["State"] != "ready"]
    found = []
    if 2 * up <= len(managers):
        found.append(problem(f"{up} of {len(managers)} managers can be reached: the swarm has no quorum", _ADVICE))
    elif up < len(managers) and 2 * (up - 1) <= len(managers):
        found.append(
            warning(f"{up} of {len(managers)} managers can be reached: one less, and the swarm has no quorum", _ADVICE)
        )
    if down:
        found.append(warning(f"nodes that are down: {', '.join(down)}", "start them again, or `docker node rm` them"))
    return found or [ok(f"{len(nodes)} nodes are ready, {up} of them managers")]


async def _check_network(client: DockerClient, settings: Settings) -> list[Finding]:
    name = settings.swarm.network
    if name in ("", "host"):
        return []
    networks = await client.call("GET", "/networks", query={"filters": {"name": [name]}}, timeout_seconds=_SECONDS)
    network = next((each for each in networks if each["Name"] == name), None)
    if network is None or network["Scope"] != "swarm":
        return [
            problem(
                f"there is no network {name!r} in the swarm", f"docker network create -d overlay --attachable {name}"
            )
        ]
    return [ok(f"the network {name}")]


async def _check_registry(client: DockerClient, settings: Settings) -> list[Finding]:
    """The Engine itself asks the registry, for an image that need not be there."""
    from plugvisor.engines.swarm.carriers.registry_auth import read_registry_auth  # noqa: PLC0415 - only for this
    from plugvisor.engines.swarm.docker.client import DockerError  # noqa: PLC0415 - it imports httpx

    registry = settings.swarm.registry
    if not registry:
        return []
    image = f"{registry}/plugvisor-doctor:none"
    try:
        headers = await asyncio.to_thread(read_registry_auth, settings.swarm, image)
        await client.call("GET", f"/distribution/{image}/json", headers=headers, timeout_seconds=_SECONDS)
    except ConfigurationError as error:
        return [from_error(error, "mend the file")]
    except DockerError as error:
        if error.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN) and "unauthorized" in str(error):
            advice = "see PLUGVISOR_REGISTRY_AUTH_FILE"
            return [warning(f"the registry {registry} wants a user, or does not show images that are missing", advice)]
        if error.status not in (HTTPStatus.NOT_FOUND, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return [
                problem(
                    f"the Docker Engine does not reach the registry {registry}", "see `docker pull` on that machine"
                )
            ]
    return [ok(f"the registry {registry}")]
