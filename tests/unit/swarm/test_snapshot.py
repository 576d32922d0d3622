"""Services that somebody has made, changed or deleted by hand, and answers of an Engine that are wrong."""

from __future__ import annotations

import contextlib
import copy
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plugvisor.engines.swarm.services import labels
from plugvisor.engines.swarm.services.names import Names
from plugvisor.engines.swarm.watch.snapshot import Snapshot
from plugvisor.models.process import Exit, ProcessState, Status
from plugvisor.timestamps import format_time

NOW = 1_000_000.0
"""On the monotonic clock, long after everything that happens here."""
TIME = "2026-01-01T00:00:00Z"
RECORDED: dict[str, list[Any]] = msgspec.json.decode((Path(__file__).parent / "recorded/states.json").read_bytes())
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=20),
    st.just([]),
    st.just({}),
    st.just("0001-01-01T00:00:00Z"),
    st.just("9999-12-31T23:59:59.999999Z"),
)


def make_service(plugin_id: str = "echo", replicas: int = 1, name: str = "", **own: str) -> dict[str, Any]:
    return {
        "ID": f"service-{plugin_id}",
        "CreatedAt": TIME,
        "Spec": {
            "Name": name or Names().name_service(plugin_id),
            "Labels": {labels.ID: plugin_id, labels.STARTSECS: "0"} | own,
            "TaskTemplate": {"ContainerSpec": {}, "ForceUpdate": 0},
            "Mode": {"Replicated": {"Replicas": replicas}},
        },
    }


def make_task(plugin_id: str = "echo", state: str = "running", desired: str = "running") -> dict[str, Any]:
    return {
        "ID": f"task-{plugin_id}",
        "CreatedAt": TIME,
        "ServiceID": f"service-{plugin_id}",
        "Slot": 1,
        "NodeID": "n1",
        "DesiredState": desired,
        "Status": {"Timestamp": TIME, "State": state, "ContainerStatus": {"ContainerID": "c", "PID": 42}},
        "Spec": {"ContainerSpec": {"Labels": {labels.ID: plugin_id}, "StopGracePeriod": 8_000_000_000}},
    }


def make_node(state: str = "ready") -> dict[str, Any]:
    return {"ID": "n1", "Description": {"Hostname": "node1"}, "Status": {"State": state}}


def take(snapshot: Snapshot, tasks: Any, services: Any, nodes: Any = None, now: float = NOW) -> set[str]:
    nodes = [make_node()] if nodes is None else nodes
    answers = (msgspec.json.encode(tasks), msgspec.json.encode(services), msgspec.json.encode(nodes))
    return snapshot.take(answers, now, now)


# -- by hand


def test_a_label_alone_makes_no_plugin() -> None:
    everywhere = make_service("everywhere")
    everywhere["Spec"]["Mode"] = {"Global": {}}
    renamed = make_service("echo", name="somebody-elses") | {"ID": "other", "CreatedAt": "2020-01-01T00:00:00Z"}
    outside = make_service("../../etc", name="plugvisor-etc")
    snapshot = Snapshot(Names())
    take(snapshot, [make_task(), make_task("everywhere")], [renamed, everywhere, outside, make_service()])
    assert set(snapshot.processes) == {"echo"}
    assert snapshot.services["echo"]["ID"] == "service-echo"
    assert snapshot.processes["echo"].pid == 42
    for odd in ({}, {"Spec": None}, {"Spec": {"Labels": None}}, {"Spec": {"Labels": {labels.ID: 5}}}):
        assert Names().find_service_plugin(odd) == ""


def test_a_process_whose_service_was_deleted_is_shown_until_it_has_ended() -> None:
    snapshot = Snapshot(Names())
    take(snapshot, [make_task()], [make_service()])
    remains = make_task(desired="remove")
    assert take(snapshot, [remains], []) == {"echo"}
    process = snapshot.processes["echo"]
    assert (process.state, process.pid, process.stop_seconds) == (ProcessState.STOPPING, 42, 8)
    assert snapshot.services == {}
    take(snapshot, [remains], [], [make_node("down")])
    assert "node1 is lost" in snapshot.processes["echo"].detail
    assert take(snapshot, [remains | {"Status": {"Timestamp": TIME, "State": "shutdown"}}], []) == {"echo"}
    assert snapshot.processes == {}


def test_a_service_that_replaces_a_deleted_one_waits_for_the_process_of_that() -> None:
    snapshot = Snapshot(Names())
    remains = make_task(desired="remove") | {
        "ServiceID": "deleted",
        "ID": "task-old",
        "CreatedAt": "2025-01-01T00:00:00Z",
    }
    take(snapshot, [remains], [make_service(replicas=0)])
    assert snapshot.processes["echo"].state is ProcessState.STOPPING
    take(snapshot, [remains, make_task()], [make_service()])
    assert snapshot.processes["echo"].state is ProcessState.RUNNING
    assert [task.id for task in snapshot.processes["echo"].tasks] == ["task-old", "task-echo"]


def test_tasks_of_other_services_are_no_plugins_whatever_their_labels() -> None:
    foreign = make_service("echo", name="somebody-elses")
    snapshot = Snapshot(Names())
    take(snapshot, [make_task()], [foreign])
    assert snapshot.processes == {}


@pytest.mark.parametrize(
    "text",
    [
        '{"at":1e308,"code":1}',
        '{"at":-5}',
        '{"at":1,"code":99999999999999999999}',
        '{"at":1,"signal":"' + "S" * 1000 + '"}',
        '{"at":1,"x":' + "[" * 100_000 + "}",
        "null",
        "{",
    ],
)
def test_a_last_exit_that_somebody_has_written_is_not_taken_for_one(text: str) -> None:
    snapshot = Snapshot(Names())
    take(snapshot, [], [make_service(replicas=0, **{labels.LAST: text})])
    process = snapshot.processes["echo"]
    assert (process.state, process.last_exit, process.node) == (ProcessState.STOPPED, None, "")


def test_the_last_exit_is_read() -> None:
    snapshot = Snapshot(Names())
    take(snapshot, [], [make_service(replicas=0, **{labels.LAST: '{"at":5.0,"code":3,"signal":null,"node":"node2"}'})])
    assert snapshot.processes["echo"].last_exit == Exit(5.0, 3)
    assert snapshot.processes["echo"].node == "node2"


def test_any_number_of_replicas() -> None:
    snapshot = Snapshot(Names())
    take(snapshot, [make_task()], [make_service(replicas=2**60)])
    assert snapshot.processes["echo"].detail == f"1 of {2**60} run"


# -- a new leader, which deletes the tasks that are to be removed

STOPPED_SERVICE = [make_service(replicas=0)]


def lead(leader: str) -> list[dict[str, Any]]:
    """The nodes, of which one leads."""
    return [make_node() | {"ID": one, "ManagerStatus": {"Leader": one == leader}} for one in ("n1", "n2")]


def forget_a_task(*, leader: str = "n2", after_seconds: float = 0.5) -> Snapshot:
    """A task is ending under the leader n1; at the next poll it is listed no more."""
    snapshot = Snapshot(Names())
    take(snapshot, [make_task(desired="remove")], STOPPED_SERVICE, lead("n1"))
    assert snapshot.processes["echo"].state is ProcessState.STOPPING
    take(snapshot, [], STOPPED_SERVICE, lead(leader), NOW + after_seconds)
    return snapshot


@pytest.mark.parametrize("changes", [{"leader": "n2"}, {"leader": "n1", "after_seconds": 3.5}])
def test_what_a_new_leader_has_forgotten_may_still_be_ending(changes: dict[str, Any]) -> None:
    snapshot = forget_a_task(**changes)
    process = snapshot.processes["echo"]
    assert (process.state, process.pid) == (ProcessState.STOPPING, 42)
    assert [(task.state, task.desired) for task in process.tasks] == [("running", "remove")]
    until = snapshot.next_change
    assert until == NOW + changes.get("after_seconds", 0.5) + 8 + 5, "its time to stop, and a few seconds"
    assert snapshot.pass_time(until) == {"echo"}
    assert snapshot.processes["echo"].state is ProcessState.STOPPED
    assert snapshot.next_change is None


@pytest.mark.parametrize(("after_seconds", "is_kept"), [(5.0, True), (15.0, False)])
def test_a_new_leader_forgets_only_after_a_while(after_seconds: float, is_kept: bool) -> None:
    snapshot = Snapshot(Names())
    task = make_task(desired="remove")
    take(snapshot, [task], STOPPED_SERVICE, lead("n1"))
    for second in range(int(after_seconds)):
        take(snapshot, [task], STOPPED_SERVICE, lead("n2"), NOW + second)
    take(snapshot, [], STOPPED_SERVICE, lead("n2"), NOW + after_seconds)
    assert (snapshot.processes["echo"].state is ProcessState.STOPPING) == is_kept


def test_an_engine_reports_the_end_of_what_was_forgotten() -> None:
    snapshot = forget_a_task()
    snapshot.note_death("task-another")
    assert snapshot.processes["echo"].state is ProcessState.STOPPING
    snapshot.note_death("task-echo")
    assert snapshot.pass_time(NOW + 1) == {"echo"}
    assert snapshot.processes["echo"].state is ProcessState.STOPPED


def test_what_has_ended_before_the_new_leader_was_elected_is_not_kept() -> None:
    snapshot = Snapshot(Names())
    take(snapshot, [make_task(desired="remove")], STOPPED_SERVICE, lead("n1"))
    snapshot.note_death("task-echo")
    take(snapshot, [], STOPPED_SERVICE, lead("n2"))
    assert snapshot.processes["echo"].state is ProcessState.STOPPED


def test_a_task_that_the_same_leader_has_deleted_has_ended() -> None:
    assert forget_a_task(leader="n1").processes["echo"].state is ProcessState.STOPPED


# -- wrong


def test_an_answer_that_is_not_understood_is_not_taken_for_known_when_it_comes_again() -> None:
    snapshot = Snapshot(Names())
    take(snapshot, [], [make_service(replicas=0)])
    odd = make_node() | {"Description": {"Hostname": "node1", "Resources": {"NanoCPUs": 10**400}}}
    for _ in range(2):
        with pytest.raises(OverflowError):
            take(snapshot, [make_task()], [make_service()], [odd])
    assert snapshot.processes["echo"].state is ProcessState.STOPPED
    assert take(snapshot, [make_task()], [make_service()]) == {"echo"}
    assert snapshot.processes["echo"].status is Status.RUNNING


def damage(answers: Any, way: list[int], value: object) -> None:
    """Put a value somewhere: each number is a choice on the way to it."""
    place = answers
    for step, number in enumerate(way):
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = keys[number % len(keys)]
        if step == len(way) - 1 or not isinstance(place[key], dict | list) or not place[key]:
            place[key] = value
            return
        place = place[key]


@given(st.lists(st.tuples(st.lists(st.integers(0, 100), min_size=2, max_size=9), ODD), min_size=1, max_size=3))
def test_odd_values_are_an_error_of_the_poll_or_of_one_plugin_and_nothing_else(
    damages: list[tuple[list[int], object]],
) -> None:
    answers = copy.deepcopy(RECORDED)
    for way, value in damages:
        damage(answers, way, value)
    snapshot = Snapshot(Names())
    with contextlib.suppress(Exception):  # the table reports that as an answer that is not understood
        take(snapshot, answers["tasks"], answers["services"], answers["nodes"])
    for process in snapshot.processes.values():
        assert process.status in Status
        assert isinstance(process.detail, str)
        msgspec.json.encode(process.tasks)
        format_time(process.last_exit.at if process.last_exit else 0)
    msgspec.json.encode(snapshot.nodes)
    take(snapshot, RECORDED["tasks"], RECORDED["services"], RECORDED["nodes"])
    assert snapshot.processes["ok"].state is ProcessState.RUNNING
    assert len(snapshot.processes) == len(RECORDED["services"])
