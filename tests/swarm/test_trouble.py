"""What keeps a plugin from running in a swarm that works, each in words; and a hundred of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from tests.helpers.event_client import open_events
from tests.helpers.plugin_processes import find_plugin
from tests.helpers.stack import QUICK
from tests.helpers.swarm.lab import GATEWAY
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from tests.helpers.swarm.stack import SwarmStack

COUNT = 100
RUNNING = 10
LABEL = "plugvisor-test"
LONG_SECONDS = 120.0


def test_a_registry_that_is_away(swarm_stack: SwarmStack) -> None:
    """What is started is an error in words; `test_carriers.py` has its return."""
    swarm_stack.environ["PLUGVISOR_REGISTRY"] = f"{GATEWAY}:5999"
    swarm_stack.write_plugin("imageless", runtime=QUICK)
    swarm_stack.up()
    failed = swarm_stack.post("/plugin/imageless/start?wait=50")
    assert (failed.status_code, failed.json()["code"]) == (500, "start_failed"), failed.text
    assert "registry" in failed.json()["detail"]
    assert not find_plugin(swarm_stack, "imageless")


def test_an_image_that_does_not_exist(swarm_stack: SwarmStack) -> None:
    swarm_stack.environ["PLUGVISOR_IMAGE"] = f"{GATEWAY}:5999/nothing:1"
    swarm_stack.write_plugin("imageless", runtime=f"{QUICK}\nsupervisor.startretries = 0")
    swarm_stack.up()
    failed = swarm_stack.post("/plugin/imageless/start?wait=50")
    assert (failed.status_code, failed.json()["code"]) == (500, "start_failed"), failed.text
    assert "image" in failed.json()["detail"]
    assert swarm_stack.status("imageless")["status"] in ("error", "stopped")


def test_a_plugin_that_fits_no_node(swarm_stack: SwarmStack) -> None:
    """It starts by itself when a node fits."""
    constraint = f'placement.constraints = ["node.labels.{LABEL} == yes"]'
    swarm_stack.write_plugin("choosy", runtime=f"{QUICK}\n{constraint}")
    swarm_stack.up()
    failed = swarm_stack.post("/plugin/choosy/start?wait=50")
    assert failed.json().get("code") == "start_failed" or failed.json()["status"] == "error", failed.text
    told = swarm_stack.wait_for_status("choosy", "error")
    assert "no node" in told["detail"] or "no suitable node" in told["detail"]
    [task] = told["tasks"]
    assert (task["state"], task["node"]) == ("pending", "")
    node = swarm_stack.lab.nodes[1]
    swarm_stack.docker("node", "update", "--label-add", f"{LABEL}=yes", node.name)
    try:
        assert swarm_stack.wait_for_status("choosy", "running")["node"] == node.name
        swarm_stack.change("choosy", "stop")
    finally:
        swarm_stack.docker("node", "update", "--label-rm", LABEL, node.name)


def test_services_of_others_are_left_alone(swarm_stack: SwarmStack, image: str) -> None:
    """Also one whose name looks like a plugin's."""
    options = ("--detach", "--no-healthcheck", "--init", "--endpoint-mode", "dnsrr", "--entrypoint", "sleep")
    swarm_stack.docker("service", "create", *options, "--name", "plugvisor-other", image, "1000")
    swarm_stack.up()
    assert swarm_stack.http.get("/plugins").json()["plugins"] == []
    assert swarm_stack.http.get("/plugin/status?plugin_id=other").status_code == 404
    swarm_stack.post("/plugins/stop")
    swarm_stack.post("/plugins/refresh")
    swarm_stack.restart_service()
    listed = ("service", "ls", "--format", "{{.Name}} {{.Replicas}}")
    wait_for(lambda: swarm_stack.docker(*listed) == "plugvisor-other 1/1\n", "it to run, and nothing else")


def start_all(stack: SwarmStack, names: list[str]) -> bool:
    """Start plugins; returns whether all are: for some, a swarm on a busy disk may not answer in time."""
    response = stack.post("/plugins/start", json={"plugin_ids": names}, timeout=httpx.Timeout(LONG_SECONDS))
    results = response.json()["results"] if response.status_code == 200 else [{"ok": False, "problem": response.json()}]
    codes = {result["problem"]["code"] for result in results if not result["ok"]}
    assert codes <= {"already_running", "supervisor_unavailable"}, results
    return codes <= {"already_running"}


def test_a_hundred_services(swarm_stack: SwarmStack) -> None:
    names = [f"many-{number:02}" for number in range(COUNT)]
    for name in names:
        swarm_stack.write_plugin(name, runtime=QUICK)
    swarm_stack.up()
    running = names[:RUNNING]
    with open_events(swarm_stack.port) as events:
        assert len(events.wait("snapshot").plugins) == COUNT
        wait_for(lambda: start_all(swarm_stack, running), "all of them to be started", LONG_SECONDS)
        for name in running:
            events.wait("status", plugin_id=name, status="running")
    plugins = swarm_stack.http.get("/plugins").json()["plugins"]
    assert [plugin["id"] for plugin in plugins] == names
    assert [plugin["id"] for plugin in plugins if plugin["status"] == "running"] == running
    assert sum(node["tasks"] for node in swarm_stack.get("/nodes").json()["nodes"]) == RUNNING
    swarm_stack.restart_service()
    statuses = swarm_stack.http.get("/plugin/status").json()["plugins"]
    assert [name for name in names if statuses[name]["status"] == "running"] == running
    wait_for(
        lambda: swarm_stack.post("/plugins/stop", timeout=httpx.Timeout(LONG_SECONDS)).json().get("ok"),
        "all of them to be stopped",
        LONG_SECONDS,
    )
    wait_for(lambda: not any(find_plugin(swarm_stack, name) for name in running), "their end")
