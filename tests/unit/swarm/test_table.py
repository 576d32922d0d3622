"""The table of processes, polled from an Engine that answers as the tests say."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.engines.swarm.docker.client import DockerClient
from plugvisor.engines.swarm.services import labels
from plugvisor.engines.swarm.services.names import Names
from plugvisor.engines.swarm.watch import nudges
from plugvisor.engines.swarm.watch import table as module
from plugvisor.engines.swarm.watch.table import SwarmTable
from plugvisor.errors import SupervisorUnavailable
from plugvisor.models.process import NEVER_ADDED, ProcessState, Status
from plugvisor.swarm_settings import SwarmSettings

from tests.helpers.fake_docker import HANG, FakeDocker, Fault
from tests.helpers.scenarios import wait_until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

PATIENCE_SECONDS = 20.0
NODE = {
    "ID": "n1",
    "Description": {"Hostname": "node1"},
    "Status": {"State": "ready", "Addr": "10.0.0.1"},
    "ManagerStatus": {"Leader": True, "Reachability": "reachable"},
}


def make_service(plugin_id: str = "echo", replicas: int = 1, **own_labels: str) -> dict[str, Any]:
    return {
        "ID": f"service-{plugin_id}",
        "Spec": {
            "Name": f"plugvisor-{plugin_id}",
            "Labels": {labels.ID: plugin_id, labels.STARTSECS: "0"} | own_labels,
            "TaskTemplate": {"ContainerSpec": {}, "ForceUpdate": 0},
            "Mode": {"Replicated": {"Replicas": replicas}},
        },
    }


def make_task(state: str = "running", plugin_id: str = "echo", **status: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "ID": f"task-{plugin_id}",
        "CreatedAt": (now - timedelta(seconds=5)).isoformat(),
        "ServiceID": f"service-{plugin_id}",
        "Slot": 1,
        "NodeID": "n1",
        "DesiredState": "running",
        "Status": {
            "Timestamp": now.isoformat(),
            "State": state,
            "ContainerStatus": {"ContainerID": "c", "PID": 42},
        }
        | status,
    }


def follow(folder: Path, test: Callable[[SwarmTable, FakeDocker], Awaitable[None]]) -> None:
    """Run a test with a table that is open, and an Engine with one plugin that runs."""

    async def run() -> None:
        async with FakeDocker(folder) as engine:
            engine.answers |= {"GET /nodes": [NODE], "GET /services": [make_service()], "GET /tasks": [make_task()]}
            client = DockerClient(SwarmSettings(docker_hosts=(engine.url,)))
            table = SwarmTable(client, Names())
            try:
                await table.open(PATIENCE_SECONDS)
                await test(table, engine)
            finally:
                await table.close()
                await client.close()

    asyncio.run(asyncio.wait_for(run(), PATIENCE_SECONDS))


def poll_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nothing polled but on request, and after events."""
    for name in ("BUSY_SECONDS", "REST_SECONDS", "OLDEST_SECONDS"):
        monkeypatch.setattr(module, name, 60.0)


def test_a_change_is_announced_once_and_what_has_not_changed_is_the_same_object(tmp_path: Path) -> None:
    async def test(table: SwarmTable, engine: FakeDocker) -> None:
        engine.answers["GET /services"] = [make_service(), make_service("other", replicas=0)]
        await table.poll()
        echo, other = table.get("echo"), table.get("other")
        assert (echo.status, echo.pid, echo.node, other.status) == (Status.RUNNING, 42, "node1", Status.STOPPED)
        announced: list[str | None] = []
        table.on_change.append(announced.append)
        version = table.version
        engine.answers["GET /services"] = [make_service(replicas=0), make_service("other", replicas=0)]
        await table.poll()
        await table.poll()
        assert announced == ["echo"]
        assert table.version != version
        assert table.get("echo").state is ProcessState.STOPPING
        assert table.get("other") is other
        engine.answers["GET /services"] = []
        await table.poll()
        assert table.read() == {}
        assert table.get("echo") is NEVER_ADDED

    follow(tmp_path, test)


def test_a_poll_shows_what_was_so_after_it_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poll_by_hand(monkeypatch)

    async def test(table: SwarmTable, engine: FakeDocker) -> None:
        polls: list[asyncio.Task[None]] = []

        def change(call: str) -> None:
            if call == "GET /services" and not polls:  # tasks were answered before this change
                engine.answers["GET /tasks"] = []
                engine.answers["GET /services"] = [make_service(replicas=0)]
                polls.append(asyncio.create_task(table.poll()))

        engine.before_answer = change
        await table.poll()
        await polls[0]
        assert table.get("echo").state is ProcessState.STOPPED

    follow(tmp_path, test)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (HANG, "answers in time"),
        (Fault(500, "rpc error: code = Unknown desc = The swarm does not have a leader."), "lost its quorum"),
        (Fault(400, "client version 1.41 is too old"), "not understood"),
        (b"<html>", "not understood"),
        ([{"ID": 3}], "not understood"),
    ],
)
def test_no_old_state_is_shown_while_no_manager_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: object, words: str
) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 1.0)
    monkeypatch.setattr(module, "OLDEST_SECONDS", 2.0)

    async def test(table: SwarmTable, engine: FakeDocker) -> None:
        announced: list[str | None] = []
        table.on_change.append(announced.append)
        engine.answers["GET /tasks"] = fault
        await wait_until(lambda: not table.is_live)
        await wait_until(lambda: announced == [None])
        with pytest.raises(SupervisorUnavailable, match=words):
            table.read()
        with pytest.raises(SupervisorUnavailable):
            table.list_nodes()
        with pytest.raises(SupervisorUnavailable, match=words):
            await table.poll()
        with pytest.raises(SupervisorUnavailable):
            await table.wait_for("echo", lambda _: True, 1.0)
        engine.answers["GET /tasks"] = [make_task()]
        await wait_until(lambda: announced[1:] == [None])
        assert table.get("echo").status is Status.RUNNING

    follow(tmp_path, test)


def test_a_swarm_that_has_answered_is_silent_when_it_answers_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No poll has failed: the last good one is too old."""
    poll_by_hand(monkeypatch)

    async def test(table: SwarmTable, engine: FakeDocker) -> None:
        monkeypatch.setattr(module, "OLDEST_SECONDS", 0.0)
        with pytest.raises(SupervisorUnavailable, match=r"^no manager of the swarm answers in time$"):
            table.get("echo")

    follow(tmp_path, test)


def test_a_leader_without_most_managers_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NODES_SECONDS", 0.0)

    async def test(table: SwarmTable, engine: FakeDocker) -> None:
        others = [NODE | {"ID": node_id, "ManagerStatus": {"Reachability": "unreachable"}} for node_id in ("n2", "n3")]
        engine.answers["GET /nodes"] = [NODE, *others]
        with pytest.raises(SupervisorUnavailable, match="lost its quorum"):
            await table.poll()
        engine.answers["GET /nodes"] = [NODE, others[0], NODE | {"ID": "n3"}]
        await table.poll()

    follow(tmp_path, test)


@pytest.mark.parametrize("event", [{"Type": "node"}, {"Type": "service"}, {"Type": "container"}])
def test_an_event_makes_the_next_poll_come_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, event: dict[str, str]
) -> None:
    poll_by_hand(monkeypatch)

    async def test(table: SwarmTable, engine: FakeDocker) -> None:
        await table.poll()
        engine.answers["GET /tasks"] = [make_task("failed", Err="task: non-zero exit (3)")]
        engine.answers["GET /nodes"] = [NODE | {"Status": {"State": "down"}}]
        engine.send_event(event)
        await table.wait_for("echo", lambda process: process.state is ProcessState.BACKOFF, PATIENCE_SECONDS)
        assert table.list_nodes()[0].state == ("down" if event["Type"] == "node" else "ready")

    follow(tmp_path, test)


def test_the_kernel_has_killed_it_for_its_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poll_by_hand(monkeypatch)

    async def test(table: SwarmTable, engine: FakeDocker) -> None:
        container = {"ContainerID": "c", "PID": 0, "ExitCode": 137}
        engine.answers["GET /tasks"] = [make_task("failed", ContainerStatus=container)]
        await table.poll()
        killed = table.get("echo").last_exit
        assert killed is not None
        assert killed.reason is None
        attributes = {"com.docker.swarm.task.id": "task-echo"}
        engine.send_event({"Type": "container", "Action": "oom", "Actor": {"Attributes": attributes}})
        process = await table.wait_for(
            "echo", lambda one: one.last_exit is not None and one.last_exit.reason == "memory limit", PATIENCE_SECONDS
        )
        assert str(process.last_exit) == "killed by SIGKILL: memory limit"

    follow(tmp_path, test)


async def forget_a_task(table: SwarmTable, engine: FakeDocker) -> None:
    """A task is ending, and a new leader lists it no more."""
    engine.answers["GET /services"] = [make_service(replicas=0)]
    engine.answers["GET /tasks"] = [make_task() | {"DesiredState": "remove"}]
    await table.poll()
    assert table.get("echo").state is ProcessState.STOPPING
    engine.answers["GET /tasks"] = []
    engine.answers["GET /nodes"] = [NODE | {"ID": "n2"}, NODE | {"ManagerStatus": {"Reachability": "reachable"}}]
    await table.poll()
    assert table.get("echo").state is ProcessState.STOPPING


def test_the_end_of_what_a_new_leader_has_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poll_by_hand(monkeypatch)

    async def test(table: SwarmTable, engine: FakeDocker) -> None:
        await forget_a_task(table, engine)
        attributes = {"com.docker.swarm.task.id": "task-echo"}
        engine.send_event({"Type": "container", "Action": "die", "Actor": {"Attributes": attributes}})
        await table.wait_for("echo", lambda one: one.state is ProcessState.STOPPED, PATIENCE_SECONDS)
        assert table.get("echo").state is ProcessState.STOPPED

    follow(tmp_path, test)


@pytest.mark.parametrize(
    ("node_id", "containers", "state"),
    [
        ("n1", [], ProcessState.STOPPED),
        ("n1", [{"Id": "c", "State": "exited"}], ProcessState.STOPPED),
        ("n1", [{"Id": "c", "State": "running"}], ProcessState.STOPPING),
        ("n1", [{"Id": "c", "State": "created"}], ProcessState.STOPPING),
        ("n1", Fault(500, "not now"), ProcessState.STOPPING),
        ("n2", [], ProcessState.STOPPING),
        ("", [], ProcessState.STOPPING),
    ],
)
def test_an_engine_that_was_started_again_is_asked_for_what_a_new_leader_has_forgotten(
    node_id: str, containers: Any, state: ProcessState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no event of an end before; an Engine of another node knows nothing."""
    poll_by_hand(monkeypatch)
    monkeypatch.setattr(nudges, "ASK_SECONDS", 0.01)

    async def test(table: SwarmTable, engine: FakeDocker) -> None:
        engine.answers |= {"GET /info": {"Swarm": {"NodeID": node_id}}, "GET /containers/json": containers}
        await forget_a_task(table, engine)
        if state is ProcessState.STOPPED:
            await table.wait_for("echo", lambda one: one.state is state, PATIENCE_SECONDS)
        else:
            await wait_until(lambda: sum("/info" in call for call in engine.calls) > 3)
        assert table.get("echo").state is state

    follow(tmp_path, test)


def test_a_process_runs_after_startsecs_without_a_poll(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poll_by_hand(monkeypatch)

    async def test(table: SwarmTable, engine: FakeDocker) -> None:
        engine.answers["GET /services"] = [make_service(**{labels.STARTSECS: "0.5"})]
        engine.answers["GET /tasks"] = [make_task() | {"ID": "another"}]
        await table.poll()
        assert table.get("echo").state is ProcessState.STARTING
        started = table.get("echo").started
        engine.answers["GET /tasks"] = HANG
        process = await table.wait_for("echo", lambda one: one.state is ProcessState.RUNNING, PATIENCE_SECONDS)
        assert (process.state, process.started) == (ProcessState.RUNNING, started)

    follow(tmp_path, test)


def test_waiting_ends_with_the_time_and_a_failing_listener_stops_nothing(tmp_path: Path) -> None:
    async def test(table: SwarmTable, engine: FakeDocker) -> None:
        table.on_change.append(lambda _: 1 / 0)
        engine.answers["GET /tasks"] = [make_task("complete")]
        process = await table.wait_for("echo", lambda one: one.state is ProcessState.EXITED, PATIENCE_SECONDS)
        assert process.state in (ProcessState.EXITED, ProcessState.BACKOFF)
        assert (await table.wait_for("echo", lambda _: False, 0.01)).pid == 0

    follow(tmp_path, test)


def test_one_odd_service_does_not_blind_the_others(tmp_path: Path) -> None:
    async def test(table: SwarmTable, engine: FakeDocker) -> None:
        odd = make_service("odd")
        del odd["Spec"]["TaskTemplate"]
        engine.answers["GET /services"] = [odd, make_service(), {"ID": "foreign", "Spec": {"Labels": None}}]
        await table.poll()
        assert set(table.read()) == {"odd", "echo"}
        assert table.get("echo").status is Status.RUNNING
        assert table.get("odd").status is Status.ERROR

    follow(tmp_path, test)
