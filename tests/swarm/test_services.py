"""The services of plugins beside what somebody does to them past the API."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any

from tests.helpers.plugin_processes import find_plugin
from tests.helpers.stack import QUICK
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from tests.helpers.swarm.stack import SwarmStack

SLOW_TO_STOP = """
import os, signal, time

def end(*_):
    time.sleep(1)
    os._exit(0)

signal.signal(signal.SIGTERM, lambda *_: None)
signal.signal(signal.SIGUSR1, end)
print("ready", flush=True)
while True:
    signal.pause()
"""
"""Stops a while after the signal SIGUSR1, if it was asked to or not."""
PATIENT = f"{QUICK}\nsupervisor.stopwaitsecs = 30"
MANY_REPLICAS = f"{QUICK}\nreplicas = 3\nplacement.max_per_node = 1"


def add(stack: SwarmStack, plugin_id: str, runtime: str = QUICK) -> None:
    stack.write_plugin(plugin_id, runtime=runtime)
    response = stack.post("/plugins/refresh")
    assert response.status_code == 200, response.text


def read_labels(stack: SwarmStack, plugin_id: str) -> dict[str, str]:
    labels: dict[str, str] = stack.inspect_service(plugin_id)["Spec"]["Labels"]
    return labels


def read_intent(stack: SwarmStack, plugin_id: str) -> Any:
    return stack.status(plugin_id).get("intent")


def test_a_plugin_that_is_scaled_by_hand_is_what_somebody_has_asked_for(swarm_shared: SwarmStack) -> None:
    add(swarm_shared, "scaled")
    swarm_shared.start_running("scaled")
    swarm_shared.docker("service", "scale", "--detach", "plugvisor-scaled=0")
    swarm_shared.wait_for_status("scaled", "stopped")
    wait_for(lambda: read_intent(swarm_shared, "scaled")["wanted"] == "stopped", "the intent to follow")
    assert read_intent(swarm_shared, "scaled")["by"] == "docker"
    swarm_shared.docker("service", "scale", "--detach", "plugvisor-scaled=1")
    swarm_shared.wait_for_status("scaled", "running")
    wait_for(lambda: read_intent(swarm_shared, "scaled")["wanted"] == "running", "the intent to follow")
    swarm_shared.change("scaled", "stop")
    assert swarm_shared.status("scaled")["status"] == "stopped"


def test_a_service_that_somebody_has_removed_is_made_again(swarm_shared: SwarmStack) -> None:
    add(swarm_shared, "gone")
    swarm_shared.start_running("gone")
    swarm_shared.docker("service", "rm", "plugvisor-gone")
    swarm_shared.wait_for_status("gone", "stopped")
    assert swarm_shared.post("/plugin/gone/stop").status_code == 409
    swarm_shared.start_running("gone")
    wait_for(lambda: len(find_plugin(swarm_shared, "gone")) == 1, "one process")


def test_no_second_process_is_started_beside_one_whose_service_somebody_has_removed(swarm_shared: SwarmStack) -> None:
    swarm_shared.write_plugin("bereft", SLOW_TO_STOP, runtime=PATIENT)
    swarm_shared.post("/plugins/refresh")
    swarm_shared.start_running("bereft")
    wait_for(lambda: "ready" in swarm_shared.read_log("bereft"), "the plugin to be ready for a signal")
    [process] = find_plugin(swarm_shared, "bereft")
    swarm_shared.docker("service", "rm", "plugvisor-bereft")
    assert swarm_shared.wait_for_status("bereft", "stopping")["tasks"][0]["state"] == "running"
    assert process in find_plugin(swarm_shared, "bereft")
    os.kill(process, signal.SIGUSR1)
    swarm_shared.start_running("bereft")
    found = wait_for(lambda: find_plugin(swarm_shared, "bereft"), "another process")
    assert len(found) == 1
    assert process not in found


def test_services_with_a_plugins_label_and_nothing_else_of_it(swarm_shared: SwarmStack) -> None:
    """They are neither listed nor changed, and the plugin of that id runs beside them."""
    create = ("service", "create", "--detach", "--no-resolve-image", "--label", "plugvisor.id=namesake")
    swarm_shared.docker(*create, "--replicas", "0", "--name", "first", "none")
    swarm_shared.docker(*create, "--replicas", "0", "--name", "second", "none")
    swarm_shared.docker("service", "create", "--detach", "--no-resolve-image", "--replicas", "0", "--label",
                        "plugvisor.id=../odd", "--name", "plugvisor-odd", "none")  # fmt: skip
    add(swarm_shared, "namesake")
    swarm_shared.start_running("namesake")
    swarm_shared.change("namesake", "stop")
    assert "../odd" not in swarm_shared.get("/plugin/status").json()["plugins"]
    for name in ("first", "second", "plugvisor-odd"):
        service = json.loads(swarm_shared.docker("service", "inspect", name))[0]
        assert (service["UpdatedAt"], "PreviousSpec" in service) == (service["CreatedAt"], False)


def test_what_labels_say_by_hand_keeps_no_service_from_starting(swarm_shared: SwarmStack) -> None:
    add(swarm_shared, "labelled")
    odd = {"last": '{"at":1e308,"code":1}', "asked": "nan running", "wanted-at": "x", "ended": "a b c", "folder": "x"}
    options = [word for name, value in odd.items() for word in ("--label-add", f"plugvisor.{name}={value}")]
    swarm_shared.docker("service", "update", "--detach", *options, "plugvisor-labelled")
    swarm_shared.restart_service()
    swarm_shared.start_running("labelled")


def test_a_service_of_somebody_else_is_never_touched(swarm_shared: SwarmStack) -> None:
    swarm_shared.docker(
        "service", "create", "--detach", "--no-resolve-image", "--replicas", "0", "--name", "plugvisor-theirs", "none"
    )
    before = swarm_shared.inspect_service("theirs")
    add(swarm_shared, "theirs")
    listed = {plugin["id"]: plugin for plugin in swarm_shared.get("/plugins").json()["plugins"]}
    assert "choose another id" in listed["theirs"]["detail"]
    for verb in ("start", "reload"):
        response = swarm_shared.post(f"/plugin/theirs/{verb}")
        assert (response.status_code, response.json()["code"]) == (422, "invalid_manifest"), response.text
    assert swarm_shared.inspect_service("theirs") == before
    swarm_shared.docker("service", "rm", "plugvisor-theirs")


def test_labels_of_others_outlive_every_change(swarm_shared: SwarmStack) -> None:
    """Somebody else changes the service at the same time; neither's changes are lost."""
    add(swarm_shared, "busy")
    manager = swarm_shared.lab.find_manager()
    command = "for n in $(seq 20); do docker service update --detach --quiet --label-add n$n=1 plugvisor-busy; done"
    others = subprocess.Popen(
        ["sh", "-c", command],
        env={"DOCKER_HOST": f"unix://{manager.socket}", "PATH": "/usr/bin:/bin"},
        stdout=-3,
        stderr=-3,
    )
    try:
        swarm_shared.start_running("busy")
        for verb in ("reload", "stop", "start"):
            swarm_shared.change("busy", verb, 202)
    finally:
        others.wait(3 * DEADLINE_SECONDS)  # twenty commands, beside other tests
    kept = [name for name in read_labels(swarm_shared, "busy") if name.startswith("n")]
    assert kept  # of those commands, some give up: the swarm has refused them as out of sequence
    swarm_shared.change("busy", "stop")
    assert set(kept) <= read_labels(swarm_shared, "busy").keys()


def test_every_replica_is_replaced_by_a_reload(swarm_shared: SwarmStack) -> None:
    add(swarm_shared, "many", MANY_REPLICAS)
    swarm_shared.start_running("many")
    # a task runs before its container has become the plugin
    before = wait_for(lambda: len(found := set(find_plugin(swarm_shared, "many"))) == 3 and found, "three processes")
    swarm_shared.change("many", "reload")
    after = wait_for(lambda: len(found := set(find_plugin(swarm_shared, "many"))) == 3 and found, "three processes")
    assert not before & after
    swarm_shared.change("many", "stop")
    assert not find_plugin(swarm_shared, "many")


def test_a_plugin_that_was_stopped_is_not_started_beside_one_on_a_lost_node(swarm_shared: SwarmStack) -> None:
    victim = next(node for node in swarm_shared.lab.nodes if node is not swarm_shared.lab.leader)
    add(swarm_shared, "lost", f'{QUICK}\nplacement.constraints = ["node.hostname == {victim.name}"]')
    swarm_shared.start_running("lost")
    swarm_shared.lab.cut(victim)
    try:
        swarm_shared.wait_for_status("lost", "error")
        for verb in ("stop", "start", "reload"):
            response = swarm_shared.post(f"/plugin/lost/{verb}", timeout=30)
            assert (response.status_code, response.json()["code"]) == (504, "stop_timeout"), response.text
            assert f"node {victim.name} is lost" in response.json()["detail"]
        assert len(find_plugin(swarm_shared, "lost")) == 1
    finally:
        swarm_shared.lab.heal(victim)
    wait_for(lambda: not find_plugin(swarm_shared, "lost"), "the process to end")
    swarm_shared.lab.wait_until_whole()
    swarm_shared.wait_for_status("lost", "stopped")
    swarm_shared.start_running("lost")
    assert len(find_plugin(swarm_shared, "lost")) == 1


def test_a_plugin_that_is_being_stopped_by_hand_is_not_forgotten_while_it_lives(swarm_shared: SwarmStack) -> None:
    """The swarm forgets a task that still runs if its service is changed meanwhile, and a start would be the second."""
    swarm_shared.write_plugin("slow", SLOW_TO_STOP, runtime=PATIENT)
    swarm_shared.post("/plugins/refresh")
    swarm_shared.start_running("slow")
    wait_for(lambda: "ready" in swarm_shared.read_log("slow"), "the plugin to be ready for a signal")
    [process] = find_plugin(swarm_shared, "slow")
    swarm_shared.docker("service", "scale", "--detach", "plugvisor-slow=0")
    swarm_shared.wait_for_status("slow", "stopping")
    os.kill(process, signal.SIGUSR1)
    response = swarm_shared.post("/plugin/slow/start")
    assert response.status_code == 200, response.text
    found = wait_for(lambda: find_plugin(swarm_shared, "slow"), "another process")
    assert len(found) == 1
    assert process not in found
    wait_for(lambda: read_intent(swarm_shared, "slow")["wanted"] == "running", "the last request to be the intent")
