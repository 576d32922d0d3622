"""A swarm of three nodes: how soon the end of a container, of a node and of the leader is known and made good."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from typing import TYPE_CHECKING

import httpx

from benchmarks.result import Goal, Result, Sample
from benchmarks.systems.swarm import THREE
from tests.helpers.background import Background
from tests.helpers.event_client import EventClient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.systems.swarm import SwarmSystem
    from tests.helpers.swarm.node import LabNode

KILLS = 10
NODE_KILLS = 3
PAUSE_SECONDS = 0.005
READ_SECONDS = 0.02
GOAL_EVENT_MS, GOAL_NODE_SECONDS, GOAL_LEADER_SECONDS, GOAL_READ_SECONDS = 400.0, 6.0, 30.0, 5.0
ANSWERS = (http.client.OK, http.client.SERVICE_UNAVAILABLE)


def measure_faults(system: SwarmSystem, plugins: int) -> Iterator[Result]:
    """Kill a container, a node that is not the leader, and the leader."""
    yield _measure_container(system, plugins)
    yield _measure_node(system, plugins)
    yield from _measure_leader(system, plugins)


def _measure_container(system: SwarmSystem, plugins: int) -> Result:
    milliseconds = []
    for name in system.running[:KILLS]:  # each once: the swarm gives up one that keeps dying
        system.wait_until(lambda name=name: system.status(name)["status"] == "running", f"{name} to run")  # type: ignore[misc]
        [(node, container)] = system.find_containers(name)
        process = json.loads(node.docker("inspect", "--format", "{{json .State.Pid}}", container))
        client = EventClient(system.stack.port, plugin_id=name)
        try:
            client.wait("snapshot")
            seen = len(client.events)
            began = time.monotonic()
            node.execute("kill", "-KILL", str(process))
            received = client.wait("status", after=seen, seconds=30)
            milliseconds.append((received.moment - began) * 1000)
        finally:
            client.close()
    name = "swarm: kill of a container until its event is on /events"
    return Result(name, plugins, "ms", Sample.of(milliseconds), goal=Goal(GOAL_EVENT_MS))


def _measure_node(system: SwarmSystem, plugins: int) -> Result:
    seconds = []
    for _ in range(NODE_KILLS):
        leader = system.lab.leader
        node = next(node for node in system.lab.nodes if node is not leader)
        name = _find_plugin(system, node)
        began = time.perf_counter()
        node.kill()
        system.wait_until(lambda name=name, node=node: _runs_elsewhere(system, name, node), name, PAUSE_SECONDS)  # type: ignore[misc]
        seconds.append(time.perf_counter() - began)
        _bring_back(system, node)
    name = "swarm: kill of a node, not the leader, until its plugin runs elsewhere"
    return Result(name, plugins, "s", Sample.of(seconds), goal=Goal(GOAL_NODE_SECONDS))


def _measure_leader(system: SwarmSystem, plugins: int) -> Iterator[Result]:
    seconds: list[float] = []
    longest = 0.0
    unexpected = 0
    for _ in range(NODE_KILLS):
        node = system.lab.leader
        name = _find_plugin(system, node)
        with _Reader(system) as reader:
            began = time.perf_counter()
            node.kill()
            system.wait_until(lambda name=name, node=node: _runs_elsewhere(system, name, node), name, PAUSE_SECONDS)  # type: ignore[misc]
            seconds.append(time.perf_counter() - began)
        longest, unexpected = max(longest, reader.longest_seconds), unexpected + reader.unexpected
        _bring_back(system, node)
    yield Result(
        "swarm: kill of the leader until its plugin runs elsewhere",
        plugins,
        "s",
        Sample.of(seconds),
        goal=Goal(GOAL_LEADER_SECONDS),
    )
    yield Result(
        "swarm: kill of the leader, the longest read meanwhile",
        plugins,
        "s",
        Sample(longest, None, NODE_KILLS),
        goal=Goal(GOAL_READ_SECONDS),
    )
    yield Result(
        "swarm: kill of the leader, reads that were answered neither 200 nor 503",
        plugins,
        "reads",
        Sample(unexpected, None, NODE_KILLS),
        goal=Goal(0),
    )


class _Reader(Background):
    """Reads again and again, from `with` to its end."""

    def __init__(self, system: SwarmSystem) -> None:
        super().__init__()
        self.longest_seconds = 0.0
        self.unexpected = 0
        self._url = system.stack.url

    def _run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=60, trust_env=False, verify=False) as client:
            while not self._end.wait(READ_SECONDS):
                began = time.perf_counter()
                status = 0
                with contextlib.suppress(httpx.TransportError):
                    status = client.get("/plugin/status").status_code
                self.longest_seconds = max(self.longest_seconds, time.perf_counter() - began)
                self.unexpected += status not in ANSWERS


def _find_plugin(system: SwarmSystem, node: LabNode) -> str:
    """A plugin that runs on a node; one is made to, if there is none."""
    found = ""

    def look() -> bool:
        nonlocal found
        with contextlib.suppress(RuntimeError):  # 503: the managers are busy
            for name, status in system.api.read_statuses().items():
                if name != THREE and status["status"] == "running" and status.get("node") == node.name:
                    found = name
        return bool(found)

    if not look():
        for one in system.lab.nodes:
            system.lab.set_availability(one, "active" if one is node else "drain")
        system.wait_until(look, f"a plugin on {node.name}")
        for one in system.lab.nodes:
            system.lab.set_availability(one, "active")
    return found


def _runs_elsewhere(system: SwarmSystem, name: str, node: LabNode) -> bool:
    with contextlib.suppress(RuntimeError):  # 503: no manager answers yet
        status = system.status(name)
        return status["status"] == "running" and status.get("node") not in (None, node.name)
    return False


def _bring_back(system: SwarmSystem, node: LabNode) -> None:
    system.lab.start(node)
    system.lab.wait_until_whole()
    system.wait_until(lambda: _all_run(system), "all plugins to run again")


def _all_run(system: SwarmSystem) -> bool:
    with contextlib.suppress(RuntimeError):
        return not [one for one in system.api.read_statuses().values() if one["status"] in ("starting", "error")]
    return False
