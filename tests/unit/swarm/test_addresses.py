"""Where the tasks of a plugin are reached, by what a real swarm says of them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from plugvisor.engines.engine import Address
from plugvisor.engines.swarm.watch.addresses import find_address, locate_tasks
from plugvisor.engines.swarm.watch.answers import SwarmNode, SwarmTask
from plugvisor.errors import NotRunning, NotSupported
from plugvisor.models.cluster.task import Task
from plugvisor.models.process import NEVER_ADDED, Process, ProcessState

TASK = {"ID": "t", "CreatedAt": "2026-01-01T00:00:00Z", "Status": {"Timestamp": "2026-01-01T00:00:00Z"}}
NODE = {"Status": {"State": "ready", "Addr": "10.99.0.3"}, "ManagerStatus": {"Addr": "10.99.0.3:2377"}}
OVERLAY = {"Network": {"Spec": {"Name": "plugins"}}, "Addresses": ["10.0.1.2/24"]}
NODES_OWN = {"Network": {"Spec": {"Name": "host"}}, "Addresses": None}


@pytest.mark.parametrize(
    ("task", "node", "address"),
    [
        ({"NetworksAttachments": [OVERLAY]}, NODE, "10.0.1.2"),
        ({"NetworksAttachments": [OVERLAY]}, None, "10.0.1.2"),
        ({"NetworksAttachments": [NODES_OWN]}, NODE, "10.99.0.3"),
        ({"NetworksAttachments": [NODES_OWN]}, None, ""),
        ({"NetworksAttachments": [NODES_OWN]}, NODE | {"Status": {"Addr": "0.0.0.0"}}, "10.99.0.3"),
        (
            {"NetworksAttachments": [NODES_OWN]},
            {"Status": {"Addr": "0.0.0.0"}, "ManagerStatus": {"Addr": "[fd00::3]:2377"}},
            "fd00::3",
        ),
        ({"NetworksAttachments": [{"Network": {}}]}, NODE, ""),
        ({"NetworksAttachments": None}, NODE, ""),
        ({}, NODE, ""),
    ],
)
def test_the_address_of_a_task(task: dict[str, Any], node: dict[str, Any] | None, address: str) -> None:
    one = TASK | task
    found = find_address(
        msgspec.convert(one, SwarmTask), None if node is None else msgspec.convert({"ID": "n"} | node, SwarmNode)
    )
    assert found == address


def make_task(slot: int, address: str = "", state: str = "running", *, is_lost: bool = False) -> Task:
    return Task(f"t{slot}", f"n{slot}", f"node{slot}", state, "running", 0.0, slot, 1, None, "", address, is_lost)


def make_process(*tasks: Task) -> Process:
    return Process(ProcessState.RUNNING, 1, tasks=tasks)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.0.0.53", "::1"])
def test_what_listens_on_the_tasks_own_machine(host: str) -> None:
    assert locate_tasks(make_process(make_task(1, "10.0.1.2")), host, "plugins") == [Address("10.0.1.2")]


def test_each_of_several_tasks_that_run() -> None:
    process = make_process(
        make_task(1, "10.0.1.2"),
        make_task(2, "10.0.1.3"),
        make_task(3, "10.0.1.4", "failed"),
        make_task(4, "10.0.1.5", is_lost=True),
    )
    found = [Address("10.0.1.2", "node1"), Address("10.0.1.3", "node2")]
    assert locate_tasks(process, "localhost", "plugins") == found


def test_another_host_is_where_it_says() -> None:
    assert list(locate_tasks(NEVER_ADDED, "db.example.com", "")) == [Address("db.example.com")]


def test_there_is_no_task() -> None:
    for process in (NEVER_ADDED, make_process(make_task(1, "10.0.1.2", "preparing"))):
        with pytest.raises(NotRunning):
            locate_tasks(process, "localhost", "plugins")


def test_nothing_connects_a_task_with_the_service() -> None:
    with pytest.raises(NotSupported, match="PLUGVISOR_NETWORK is not set"):
        locate_tasks(make_process(make_task(1)), "localhost", "")
    with pytest.raises(NotSupported, match="reload it"):
        locate_tasks(make_process(make_task(1, "10.0.1.2"), make_task(2)), "localhost", "plugins")
