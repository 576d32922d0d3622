"""What breaks in a swarm, and mends: containers, nodes, the leader, a network cable, the majority."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.helpers.background import Background
from tests.helpers.event_client import open_events
from tests.helpers.plugin_processes import find_plugin
from tests.helpers.stack import QUICK
from tests.helpers.swarm.node import LabError
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.helpers.swarm.lab import SwarmLab
    from tests.helpers.swarm.node import LabNode
    from tests.helpers.swarm.stack import SwarmStack

MOVES_SECONDS = 60.0
LINGERS = """\
import os, signal
signal.signal(signal.SIGUSR1, lambda *_: os._exit(0))
signal.signal(signal.SIGTERM, lambda *_: print("asked to stop", flush=True))
print("ready", flush=True)
while True:
    signal.pause()
"""


@pytest.fixture(autouse=True)
def mended(swarm_lab: SwarmLab) -> Iterator[None]:
    """The lab is whole again after each test."""
    yield
    swarm_lab.repair()


def find_followers(lab: SwarmLab) -> list[LabNode]:
    """The managers that do not lead."""
    leader = lab.leader
    return [node for node in lab.nodes if node is not leader]


def start_on(stack: SwarmStack, node: LabNode, plugin_id: str = "moves") -> None:
    """Add a plugin and start it on a node, which it may leave."""
    stack.write_plugin(plugin_id, runtime=f"{QUICK}\nrestart.delay = 0.1")
    if stack.process is None:
        stack.up()
    stack.post("/plugins/refresh")
    others = [other for other in stack.lab.nodes if other is not node]
    for other in others:
        stack.lab.set_availability(other, "pause")
    stack.start_running(plugin_id)
    assert stack.status(plugin_id)["node"] == node.name
    for other in others:
        stack.lab.set_availability(other, "active")


def wait_until_moved(stack: SwarmStack, node: LabNode, plugin_id: str = "moves") -> dict[str, Any]:
    """Wait until a plugin runs on another node; returns its status."""

    def look() -> dict[str, Any] | None:
        with contextlib.suppress(httpx.TransportError):
            response = stack.http.get("/plugin/status", params={"plugin_id": plugin_id}, timeout=5)
            told: dict[str, Any] = response.json() if response.status_code == 200 else {}
            return told if told.get("status") == "running" and told.get("node") != node.name else None
        return None

    told: dict[str, Any] = wait_for(look, f"{plugin_id} to run elsewhere", MOVES_SECONDS)
    return told


def wait_for_one(stack: SwarmStack, plugin_id: str = "moves") -> None:
    """Wait until one process of a plugin is there: a container that runs has to unpack its folder first."""
    wait_for(lambda: len(find_plugin(stack, plugin_id)) == 1, f"one process of {plugin_id}")


class Reader(Background):
    """Reads the list all the time, and notes each answer; no answer may take longer than 5 seconds."""

    def __init__(self, stack: SwarmStack) -> None:
        super().__init__()
        self.answers: list[str] = []
        self._url = stack.url

    def _run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=5, trust_env=False) as http:
            while not self._end.wait(0.05):
                try:
                    response = http.get("/plugins")
                    self.answers.append(f"{response.status_code} {response.json().get('code', '')}".strip())
                except httpx.HTTPError as error:
                    self.answers.append(repr(error))


READ_OR_TOLD_SO = {"200", "503 supervisor_unavailable"}


def test_a_container_that_is_killed(swarm_stack: SwarmStack) -> None:
    start_on(swarm_stack, swarm_stack.lab.nodes[0])
    with open_events(swarm_stack.port) as events:
        events.wait("snapshot")
        swarm_stack.kill_container("moves")
        failed = events.wait("status", plugin_id="moves", restarts=1)
        assert failed.data["last_exit"]["signal"] == "SIGKILL"
        wait_for(lambda: swarm_stack.status("moves")["status"] == "running", "it to run again")
    wait_for_one(swarm_stack)


def test_a_node_that_is_not_the_leader_is_lost(swarm_stack: SwarmStack) -> None:
    victim = find_followers(swarm_stack.lab)[0]
    start_on(swarm_stack, victim)
    with Reader(swarm_stack) as reader:
        victim.kill()
        wait_until_moved(swarm_stack, victim)
    wait_for_one(swarm_stack)
    assert set(reader.answers) <= READ_OR_TOLD_SO
    nodes = {node["name"]: node for node in swarm_stack.get("/nodes").json()["nodes"]}
    assert nodes[victim.name]["state"] == "down"
    assert nodes[victim.name]["detail"]
    swarm_stack.lab.start(victim)
    swarm_stack.lab.wait_until_whole()

    def is_back() -> bool:
        response = swarm_stack.get("/nodes")
        return response.is_success and {node["state"] for node in response.json()["nodes"]} == {"ready"}

    wait_for(is_back, "it to be back")
    assert len(find_plugin(swarm_stack, "moves")) == 1


def test_the_leader_is_lost(swarm_stack: SwarmStack) -> None:
    victim = swarm_stack.lab.leader
    start_on(swarm_stack, victim)
    with Reader(swarm_stack) as reader:
        victim.kill()
        wait_until_moved(swarm_stack, victim)
    assert set(reader.answers) <= READ_OR_TOLD_SO
    wait_for_one(swarm_stack)
    problem = swarm_stack.post("/plugin/moves/stop")
    assert (problem.status_code, problem.json()["code"]) == (504, "stop_timeout"), "the first may still run"
    swarm_stack.lab.start(victim)
    swarm_stack.wait_for_status("moves", "stopped")
    assert not find_plugin(swarm_stack, "moves")


def test_the_leader_is_lost_while_a_plugin_is_stopped(swarm_stack: SwarmStack) -> None:
    """The swarm forgets the container, which has not ended; a second one beside it is not started."""
    lab = swarm_stack.lab
    victim, stays = lab.leader, find_followers(lab)[0]
    placement = f'placement.constraints = ["node.hostname == {stays.name}"]'
    swarm_stack.write_plugin("lingers", LINGERS, runtime=f"{QUICK}\nsupervisor.stopwaitsecs = 100\n{placement}")
    swarm_stack.up()
    swarm_stack.start_running("lingers")
    [container] = stays.docker("ps", "--quiet", "--filter", "label=com.docker.swarm.task").split()
    assert swarm_stack.post("/plugin/lingers/stop?wait=0").status_code == 202
    wait_for(lambda: "asked to stop" in stays.docker("logs", container), "the stop")
    victim.kill()
    wait_for(lambda: is_forgotten(swarm_stack, "lingers"), "another leader", MOVES_SECONDS)
    assert swarm_stack.status("lingers")["status"] == "stopping"
    with ThreadPoolExecutor(1) as pool:
        started = pool.submit(wait_for, lambda: try_start(swarm_stack, "lingers"), "an answer", MOVES_SECONDS)
        stays.docker("kill", "--signal", "USR1", container)
        assert started.result().status_code == 200, started.result().text
    wait_for(lambda: len(find_plugin(swarm_stack, "lingers")) == 1, "one process")
    assert swarm_stack.post("/plugin/lingers/stop?wait=0").status_code == 202
    swarm_stack.kill_container("lingers")  # else it lingers far longer than the end of a test may take


def test_the_leader_is_lost_with_a_plugin_that_is_being_stopped_on_it(swarm_stack: SwarmStack) -> None:
    """Its Engine has no event of the end when it is back, and is asked."""
    victim = swarm_stack.lab.leader
    placement = f'placement.constraints = ["node.hostname == {victim.name}"]'
    swarm_stack.write_plugin("lingers", LINGERS, runtime=f"{QUICK}\nsupervisor.stopwaitsecs = 600\n{placement}")
    swarm_stack.up()
    swarm_stack.start_running("lingers")
    assert swarm_stack.post("/plugin/lingers/stop?wait=0").status_code == 202
    swarm_stack.wait_for_status("lingers", "stopping")
    victim.kill()
    wait_for(lambda: is_forgotten(swarm_stack, "lingers"), "another leader", MOVES_SECONDS)
    swarm_stack.wait_for_status("lingers", "stopping")  # it may still run
    swarm_stack.lab.start(victim)
    swarm_stack.wait_for_status("lingers", "stopped")
    assert not find_plugin(swarm_stack, "lingers")


def is_forgotten(stack: SwarmStack, plugin_id: str) -> bool:
    """Whether there is a leader, and the swarm lists no task of a plugin."""
    with contextlib.suppress(LabError, httpx.TransportError):
        answers = stack.lab.living_manager is not None and stack.get("/plugin/status", timeout=5).is_success
        return answers and not stack.docker("service", "ps", "--quiet", f"plugvisor-{plugin_id}")
    return False


def try_start(stack: SwarmStack, plugin_id: str) -> httpx.Response | None:
    """The answer to a start; None while no manager answers."""
    response = stack.post(f"/plugin/{plugin_id}/start", timeout=MOVES_SECONDS)
    return None if response.status_code == 503 else response


def test_a_lost_node_is_removed_from_the_swarm(swarm_stack: SwarmStack) -> None:
    """Until then nothing is started beside what may run there; afterwards nobody will ever hear of it."""
    victim = find_followers(swarm_stack.lab)[0]
    start_on(swarm_stack, victim)
    victim.kill()
    wait_until_moved(swarm_stack, victim)
    for change in ("stop", "start"):
        problem = swarm_stack.post(f"/plugin/moves/{change}")
        assert (problem.status_code, problem.json()["code"]) == (504, "stop_timeout"), problem.text
    swarm_stack.lab.remove(victim)
    try:
        wait_for(lambda: swarm_stack.post("/plugin/moves/start").status_code == 200, "it to be started", MOVES_SECONDS)
        swarm_stack.wait_for_status("moves", "running")
        wait_for_one(swarm_stack)
        swarm_stack.change("moves", "stop")
        wait_for(lambda: not find_plugin(swarm_stack, "moves"), "its end")
    finally:
        swarm_stack.lab.return_removed(victim)


def test_a_plugin_that_can_run_on_the_lost_node_alone(swarm_stack: SwarmStack) -> None:
    """Its status says so in words, and it is back with the node."""
    victim = find_followers(swarm_stack.lab)[0]
    constraint = f'placement.constraints = ["node.hostname == {victim.name}"]'
    swarm_stack.write_plugin("pinned", runtime=f"{QUICK}\nrestart.delay = 0.1\n{constraint}")
    swarm_stack.up()
    swarm_stack.start_running("pinned")
    victim.kill()
    told = wait_for(
        lambda: (told := swarm_stack.status("pinned"))["status"] == "error" and "node" in told["detail"] and told,
        "it to be in error",
    )
    assert "suitable" in told["detail"] or "lost" in told["detail"] or "fits" in told["detail"], told
    swarm_stack.lab.start(victim)
    swarm_stack.wait_for_status("pinned", "running")
    wait_for_one(swarm_stack, "pinned")


def test_a_cable_is_cut_and_healed(swarm_stack: SwarmStack) -> None:
    """There is no fencing: two may run until it is healed, one on each side, and one afterwards."""
    victim = find_followers(swarm_stack.lab)[0]
    start_on(swarm_stack, victim)
    with Reader(swarm_stack) as reader:
        swarm_stack.lab.cut(victim)
        wait_until_moved(swarm_stack, victim)
        wait_for(lambda: len(find_plugin(swarm_stack, "moves")) == 2, "two of them")
        swarm_stack.lab.heal(victim)
        wait_for(lambda: len(find_plugin(swarm_stack, "moves")) == 1, "one of them to end")
    assert set(reader.answers) <= READ_OR_TOLD_SO
    assert wait_until_moved(swarm_stack, victim)["node"] != victim.name


def test_a_node_is_drained(swarm_stack: SwarmStack) -> None:
    victim = find_followers(swarm_stack.lab)[0]
    start_on(swarm_stack, victim)
    swarm_stack.lab.set_availability(victim, "drain")
    wait_until_moved(swarm_stack, victim)
    wait_for(lambda: len(find_plugin(swarm_stack, "moves")) == 1, "the first one to end")

    def is_empty() -> bool:
        [node] = [node for node in swarm_stack.get("/nodes").json()["nodes"] if node["name"] == victim.name]
        assert node["availability"] == "drain"
        return node["plugins"] == []

    wait_for(is_empty, "the node to report the end")


def test_the_manager_that_is_asked_is_one_no_more(swarm_stack: SwarmStack) -> None:
    """Another one is asked at once. What runs on the demoted one stays, or is replaced if it was silent too long."""
    asked, other = swarm_stack.lab.nodes[:2]
    start_on(swarm_stack, asked)
    with Reader(swarm_stack) as reader:
        other.docker("node", "demote", asked.name)
        try:
            wait_for(lambda: not asked.is_manager(), "it to be demoted")
            swarm_stack.wait_for_status("moves", "running")
            wait_for_one(swarm_stack)
            for change in ("stop", "start", "reload"):
                done = wait_for(lambda: try_change(swarm_stack, change), f"a {change}")  # noqa: B023
                assert done.status_code in (200, 409), done.text  # 409: it was made, and the answer was lost
            wait_for_one(swarm_stack)
        finally:
            other.docker("node", "promote", asked.name)
            wait_for(asked.is_manager, "it to be promoted", MOVES_SECONDS)
    assert set(reader.answers) <= READ_OR_TOLD_SO


def try_change(stack: SwarmStack, change: str) -> httpx.Response | None:
    """The answer to a change; None while the managers are agreeing on who they are, or have lost the demoted one."""
    response = stack.post(f"/plugin/moves/{change}")
    is_passing = response.status_code == 503 or response.json().get("code") == "stop_timeout"
    return None if is_passing else response


def test_a_lost_majority_and_its_return(swarm_stack: SwarmStack) -> None:
    """Nothing that is read is old: what cannot be known is an error, until it is known again."""
    stays = swarm_stack.lab.leader
    start_on(swarm_stack, stays)
    [process] = find_plugin(swarm_stack, "moves")
    lost = find_followers(swarm_stack.lab)
    with Reader(swarm_stack) as reader, open_events(swarm_stack.port) as events:
        events.wait("snapshot")
        for node in lost:
            node.kill()
        events.wait("unavailable")
        for response in (swarm_stack.get("/plugins", timeout=5), swarm_stack.post("/plugin/moves/stop", timeout=10)):
            assert (response.status_code, response.json()["code"]) == (503, "supervisor_unavailable")
            assert response.headers["Retry-After"]
        assert swarm_stack.http.get("/health", timeout=5).status_code == 200
        assert find_plugin(swarm_stack, "moves") == [process]
        after = len(events.events)
        for node in lost:
            swarm_stack.lab.start(node)
        events.wait("snapshot", after=after, seconds=MOVES_SECONDS)
    assert set(reader.answers) == READ_OR_TOLD_SO
    swarm_stack.wait_for_status("moves", "running")
    assert len(find_plugin(swarm_stack, "moves")) == 1
    swarm_stack.change("moves", "stop")
