"""What a person sees of a real swarm: the nodes, a lost one in words, and where each plugin's tasks run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.event_client import open_events
from tests.helpers.stack import ADMIN_CODE, QUICK
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.helpers.swarm.lab import SwarmLab
    from tests.helpers.swarm.stack import SwarmStack

EVERYWHERE = f"{QUICK}\nreplicas = 3\nplacement.max_per_node = 1"


@pytest.fixture(autouse=True)
def mended(swarm_lab: SwarmLab) -> Iterator[None]:
    """The lab is whole again after each test; what the service has made there, it goes on using."""
    yield
    swarm_lab.mend()


def read_nodes(stack: SwarmStack) -> dict[str, dict[str, Any]]:
    """The nodes by their names."""
    response = stack.get("/nodes")
    return {node["name"]: node for node in response.json()["nodes"]} if response.status_code == 200 else {}


def command(stack: SwarmStack, *arguments: str) -> str:
    """What `plugvisor …` prints about this service."""
    done = stack.command(*arguments, PLUGVISOR_TOKEN=ADMIN_CODE)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_nodes_and_the_tasks_on_them(swarm_shared: SwarmStack, swarm_lab: SwarmLab) -> None:
    swarm_shared.write_plugin("spread", runtime=EVERYWHERE)
    swarm_shared.post("/plugins/refresh")
    nodes = read_nodes(swarm_shared)
    assert sorted(nodes) == ["node1", "node2", "node3"]
    assert [name for name, node in nodes.items() if node["leader"]] == [swarm_lab.leader.name]
    assert all(node["state"] == "ready" and node["role"] == "manager" and node["cpus"] for node in nodes.values())
    assert "engine_version" in nodes["node1"]

    response = swarm_shared.post("/plugin/spread/start?wait=50")
    assert response.json()["status"] == "running", response.text
    status = swarm_shared.status("spread")
    assert sorted(task["node"] for task in status["tasks"]) == ["node1", "node2", "node3"]
    assert all(task["state"] == "running" and task["pid"] and not task["lost"] for task in status["tasks"])
    wait_for(lambda: all("spread" in node["plugins"] for node in read_nodes(swarm_shared).values()), "the nodes")
    [line] = [line for line in command(swarm_shared, "ls").splitlines() if line.startswith("spread ")]
    assert "node1, node2, node3" in line
    assert command(swarm_shared, "status", "spread").count(" running ") == 3
    swarm_shared.change("spread", "stop")


def test_a_node_that_is_drained_and_one_that_is_lost(swarm_shared: SwarmStack, swarm_lab: SwarmLab) -> None:
    """Streams learn of both, without a plugin on the node."""
    node = next(node for node in swarm_lab.nodes if node is not swarm_lab.leader)
    with open_events(swarm_shared.port) as events:
        wait_for(lambda: [event.kind for event in events.events[:2]] == ["snapshot", "nodes"], "the first events")

        def find_last() -> dict[str, Any]:
            told = [event for event in events.events if event.kind == "nodes"][-1]
            return next(shown for shown in told.data["nodes"] if shown["name"] == node.name)

        swarm_lab.set_availability(node, "drain")
        wait_for(lambda: find_last()["availability"] == "drain", "an event of the drain")
        assert read_nodes(swarm_shared)[node.name]["availability"] == "drain"
        node.kill()
        wait_for(lambda: find_last()["state"] == "down", "an event of the loss")
        lost = find_last()
        assert lost["detail"]
    printed = command(swarm_shared, "nodes").splitlines()
    [row] = [line for line in printed if line.startswith(f"{node.name} ")]
    assert row.split()[1] == "lost"
    assert f"{node.name}: {lost['detail']}" in printed


def test_what_a_swarm_lacks(swarm_shared: SwarmStack) -> None:
    engine = swarm_shared.get("/server/info").json()["engine"]
    assert engine["name"] == "swarm"
    assert engine["state"].startswith("leader node")
    response = swarm_shared.get("/plugin/metrics")
    assert (response.status_code, response.json()["code"]) == (501, "not_supported")
    assert engine["lacks"]["metrics"] in response.json()["detail"]
    assert "plugvisor_supervisord_up 1.0" in swarm_shared.get("/metrics").text
    assert not os.path.exists(swarm_shared.root / "run" / "supervisor.sock")
