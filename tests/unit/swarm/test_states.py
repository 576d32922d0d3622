"""What the swarm says of a service and its tasks, as one process: of recorded answers, and of every other case."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from plugvisor.engines.swarm.services import labels
from plugvisor.engines.swarm.services.names import Names
from plugvisor.engines.swarm.services.verdicts import is_spawned
from plugvisor.engines.swarm.watch.answers import ManagerStatus, SwarmNode, SwarmTask
from plugvisor.engines.swarm.watch.snapshot import Snapshot
from plugvisor.engines.swarm.watch.states import Hints, make_process
from plugvisor.engines.swarm.watch.words import explain_error
from plugvisor.models.process import Process, ProcessState, Status

RECORDED = Path(__file__).parent / "recorded"
NOW = 1_000_000.0
"""On the monotonic clock, long after everything that was recorded."""
START = datetime(2026, 1, 1, tzinfo=UTC)


def load(name: str) -> Snapshot:
    recorded = msgspec.json.decode((RECORDED / f"{name}.json").read_bytes())
    snapshot = Snapshot(Names())
    answers = tuple(msgspec.json.encode(recorded[kind]) for kind in ("tasks", "services", "nodes"))
    snapshot.take(answers, NOW, NOW)  # type: ignore[arg-type]
    return snapshot


@pytest.mark.parametrize(
    ("plugin_id", "state", "status", "detail"),
    [
        ("ok", ProcessState.RUNNING, Status.RUNNING, ""),
        ("three", ProcessState.RUNNING, Status.RUNNING, ""),
        ("done", ProcessState.EXITED, Status.STOPPED, "it exited by itself, with exit code 0"),
        ("one", ProcessState.EXITED, Status.ERROR, "it ended with exit code 4; its log may say why"),
        (
            "oom",
            ProcessState.EXITED,
            Status.ERROR,
            "it was killed by SIGKILL: it may have used more memory than its limit; its log may say why",
        ),
        (
            "fails",
            ProcessState.FATAL,
            Status.ERROR,
            "it keeps dying and the swarm has given up; last, it ended with exit code 3; its log may say why",
        ),
        ("later", ProcessState.BACKOFF, Status.ERROR, "it ended with exit code 3; it is started again at "),
        ("noimg2", ProcessState.BACKOFF, Status.ERROR, "its image does not exist; it is started again at "),
        (
            "noimg",
            ProcessState.FATAL,
            Status.ERROR,
            "it could not be started and the swarm has given up: its image does not exist",
        ),
        (
            "nocmd",
            ProcessState.FATAL,
            Status.ERROR,
            "it could not be started and the swarm has given up: its command does not exist in the container",
        ),
        (
            "noexec",
            ProcessState.FATAL,
            Status.ERROR,
            "it could not be started and the swarm has given up: its command cannot be executed",
        ),
        (
            "nodir",
            ProcessState.FATAL,
            Status.ERROR,
            "it could not be started and the swarm has given up: what it mounts does not exist on the node",
        ),
        ("nofit", ProcessState.FATAL, Status.ERROR, "no node fits: 3 nodes do not meet its placement constraints"),
        ("fat", ProcessState.FATAL, Status.ERROR, "no node fits: 3 nodes have not enough free memory or CPUs for it"),
        (
            "perone",
            ProcessState.UNKNOWN,
            Status.ERROR,
            "3 of 5 run; no node fits: all nodes have as many replicas as one node may have",
        ),
    ],
)
def test_what_a_real_swarm_has_said(plugin_id: str, state: ProcessState, status: Status, detail: str) -> None:
    process = load("states").processes[plugin_id]
    assert (process.state, process.status) == (state, status)
    assert process.detail.startswith(detail)
    assert (process.detail == detail) == (state is not ProcessState.BACKOFF)
    assert process.is_alive == (state in (ProcessState.RUNNING, ProcessState.UNKNOWN))


def test_a_real_swarm_that_has_lost_a_node() -> None:
    snapshot = load("lost")
    process = snapshot.processes["three"]
    assert process.detail == "2 of 3 run"
    assert process.status is Status.STARTING
    assert [(task.slot, task.node, task.is_lost) for task in process.tasks] == [
        (1, "node3", True),
        (1, "node2", False),
        (2, "node2", False),
        (3, "node1", False),
    ]
    lost = snapshot.nodes[2]
    assert (lost.name, lost.state, lost.plugins) == ("node3", "down", ("three",))
    assert str(lost.detail).startswith("it is lost:")
    assert snapshot.has_quorum
    assert (snapshot.nodes[0].leader, snapshot.nodes[0].tasks) == (True, 2)


def make_service(replicas: int = 1, condition: str = "any", force_update: int = 0, **own: str) -> dict[str, Any]:
    return {
        "ID": "s",
        "Spec": {
            "Name": "plugvisor-echo",
            "Labels": {labels.ID: "echo", labels.STARTSECS: "1"} | own,
            "TaskTemplate": {
                "ContainerSpec": {"StopGracePeriod": 3_000_000_000},
                "RestartPolicy": {"Condition": condition, "Delay": 2_000_000_000},
                "ForceUpdate": force_update,
            },
            "Mode": {"Replicated": {"Replicas": replicas}},
        },
    }


def make_task(
    state: str, desired: str = "running", *, number: int = 1, code: int = 0, err: str = "", **own: Any
) -> SwarmTask:
    """A task that was made so many minutes after the start, and whose state was reported 10 seconds later."""
    created = START + timedelta(minutes=number)
    pid = 40 + number if state == "running" else 0
    task = {
        "ID": f"task{number}",
        "CreatedAt": created.isoformat(),
        "ServiceID": "s",
        "Slot": 1,
        "NodeID": "" if state in ("new", "pending") else "n1",
        "DesiredState": desired,
        "Status": {
            "Timestamp": (created + timedelta(seconds=10)).isoformat(),
            "State": state,
            "Err": err,
            "ContainerStatus": {"ContainerID": "c", "PID": pid, "ExitCode": code},
        },
    }
    return msgspec.convert(task | own, SwarmTask)


def make_nodes(**states: str) -> dict[str, SwarmNode]:
    nodes = {"n1": "ready", "n2": "ready"} | states
    return {
        node_id: msgspec.convert(
            {"ID": node_id, "Description": {"Hostname": f"node{node_id[1:]}"}, "Status": {"State": state}}, SwarmNode
        )
        for node_id, state in nodes.items()
    }


def make(service: dict[str, Any], *tasks: SwarmTask, since: float = NOW - 100, **states: str) -> Process:
    running = {task.id: since for task in tasks if task.status.state == "running"}
    return make_process(service, tasks, make_nodes(**states), Hints(NOW, running))[0]


FAILED = make_task("failed", "shutdown", code=3, err="task: non-zero exit (3)")


@pytest.mark.parametrize("state", ["new", "pending", "assigned", "accepted", "preparing", "ready", "starting"])
def test_every_state_before_running_is_starting(state: str) -> None:
    process = make(make_service(), make_task(state))
    assert (process.state, process.pid, process.retry_at) == (ProcessState.STARTING, 0, None)


def test_a_service_that_was_just_made_is_starting() -> None:
    assert make(make_service()).state is ProcessState.STARTING


def test_it_runs_after_startsecs() -> None:
    task = make_task("running")
    process, until = make_process(make_service(), [task], make_nodes(), Hints(NOW, {"task1": NOW - 0.5}))
    assert (process.state, process.pid, process.started, until) == (ProcessState.STARTING, 41, NOW - 0.5, NOW + 0.5)
    process, until = make_process(make_service(), [task], make_nodes(), Hints(NOW + 0.5, {"task1": NOW - 0.5}))
    assert (process.state, process.node, until) == (ProcessState.RUNNING, "node1", None)
    assert process.launches == int((START + timedelta(minutes=1)).timestamp() * 1000)


def test_it_is_stopped_when_nothing_is_alive() -> None:
    assert make(make_service(0)).status is Status.STOPPED
    stopping = make(make_service(0), make_task("running", "shutdown"))
    assert (stopping.state, stopping.pid, stopping.stop_seconds, stopping.is_gone) == (
        ProcessState.STOPPING,
        41,
        3,
        False,
    )
    assert make(make_service(0), make_task("shutdown", "remove", code=143)).state is ProcessState.STOPPED


def test_what_labels_remember_of_a_plugin_that_is_not_wanted() -> None:
    last = '{"code":null,"signal":"SIGKILL","at":5.0,"node":"node7"}'
    queued = make(make_service(0, **{labels.QUEUED: "asked"}))
    assert (queued.status, queued.queued) == (Status.STARTING, "asked")
    failed = make(make_service(0, **{labels.FAILED: "echo2 does not run"}))
    assert (failed.status, failed.detail) == (Status.ERROR, "it was not started: echo2 does not run")
    ended = make(make_service(0, **{labels.ENDED: "5 task1 its check has failed", labels.LAST: last}))
    assert (ended.status, ended.detail) == (Status.ERROR, "it was ended: its check has failed")
    stopped = make(make_service(0, **{labels.LAST: last}))
    assert (stopped.status, str(stopped.last_exit), stopped.node) == (Status.STOPPED, "killed by SIGKILL", "node7")
    assert make(make_service(0, **{labels.LAST: "by hand", labels.ENDED: "x"})).status is Status.STOPPED


def test_after_a_failure_it_waits_for_the_next_start() -> None:
    ready = make_task("ready", "ready", number=2)
    process = make(make_service(), FAILED, ready)
    assert (process.state, process.restarts, str(process.last_exit)) == (
        ProcessState.BACKOFF,
        1,
        "with exit code 3",
    )
    assert process.retry_at == (START + timedelta(minutes=2, seconds=2)).timestamp()
    complete = make(make_service(), make_task("complete", "shutdown"), ready)
    assert (complete.state, complete.status) == (ProcessState.EXITED, Status.STOPPED)
    assert complete.retry_at is not None


@pytest.mark.parametrize("state", ["new", "pending", "assigned", "accepted", "preparing", "ready"])
@pytest.mark.parametrize("end", [FAILED, make_task("rejected", "shutdown", err="no such image"), make_task("complete")])
def test_a_start_or_reload_does_not_fail_by_how_the_run_before_has_ended(end: SwarmTask, state: str) -> None:
    """The swarm makes the new task with the desired state `ready`, as after a failure, and changes that soon after."""
    new = make_task(state, "ready", number=2, Spec={"ForceUpdate": 1})
    process = make(make_service(force_update=1), end, new)
    assert (process.state, process.status, process.retry_at) == (ProcessState.STARTING, Status.STARTING, None)
    assert not is_spawned(process, has_check=False)


def test_an_end_is_no_end_for_ever_before_the_swarm_has_decided() -> None:
    failed = make_task("failed", code=3, err="task: non-zero exit (3)")
    assert make(make_service(), failed).state is ProcessState.BACKOFF
    assert make(make_service(condition="none"), failed).state is ProcessState.EXITED
    assert make(make_service(), FAILED).state is ProcessState.FATAL
    for before in (failed, FAILED):
        assert make(make_service(force_update=1), before).state is ProcessState.STARTING, "it was started again since"


def test_a_restart_is_stopping_until_the_old_process_has_ended() -> None:
    old = make_task("running", "running")
    for tasks in (
        (old,),
        (make_task("running", "shutdown"),),
        (make_task("running", "shutdown"), make_task("ready", "ready", number=2)),
    ):
        process = make(make_service(force_update=1), *tasks)
        assert (process.state, process.start_pending, process.is_starting) == (ProcessState.STOPPING, True, True)
    new = make_task("running", number=2, Spec={"ForceUpdate": 1})
    process = make(make_service(force_update=1), make_task("shutdown", "shutdown", code=143), new)
    assert (process.state, process.restarts, process.pid) == (ProcessState.RUNNING, 0, 42)
    assert str(process.last_exit) == "killed by SIGTERM"


def test_an_update_that_the_swarm_has_paused() -> None:
    service = make_service(force_update=1) | {"UpdateStatus": {"State": "paused", "Message": "… task abc"}}
    process = make(service, make_task("running"))
    assert (process.state, process.detail) == (
        ProcessState.RUNNING,
        "the swarm has paused its update: a new task has failed",
    )


@pytest.mark.parametrize("desired", ["running", "shutdown"])
@pytest.mark.parametrize(("replicas", "node_state"), [(1, "down"), (0, "down"), (1, "disconnected")])
def test_on_a_lost_node_it_may_still_run(desired: str, replicas: int, node_state: str) -> None:
    process = make(make_service(replicas), make_task("running", desired), n1=node_state)
    assert (process.state, process.detail) == (
        ProcessState.UNKNOWN,
        "node node1 is lost: it may still run there",
    )
    assert process.tasks[0].is_lost
    assert not process.is_gone


def test_its_node_was_removed_from_the_swarm() -> None:
    process = make(make_service(), make_task("running", NodeID="lv4axt33auclqhhh7hdz7yldq"))
    assert (process.status, process.detail) == (
        Status.ERROR,
        "its node is no longer in the swarm: it may still run there",
    )


def test_a_node_that_a_new_leader_has_not_heard_from_yet_is_not_lost() -> None:
    assert make(make_service(), make_task("running"), n1="unknown").state is ProcessState.RUNNING


def test_it_runs_elsewhere_or_fits_nowhere_after_its_node_was_lost() -> None:
    lost = make_task("running", "shutdown")
    elsewhere = make(make_service(), lost, make_task("running", number=2, NodeID="n2"), n1="down")
    assert (elsewhere.state, elsewhere.node, elsewhere.pid) == (ProcessState.RUNNING, "node2", 42)
    pending = make_task("pending", number=2, err="no suitable node (1 node not available for new tasks)")
    nowhere = make(make_service(), lost, pending, n1="down")
    assert nowhere.state is ProcessState.FATAL
    assert nowhere.detail == (
        "no node fits: 1 node is down, paused or drained; node node1 is lost: it may still run there"
    )


def test_what_a_lost_node_left_behind_says_nothing_of_a_later_start() -> None:
    """Its end was reported after the stop, so that the swarm has kept it."""
    started = make(make_service(condition="on-failure", force_update=1), FAILED)
    assert (started.state, started.detail, started.restarts) == (ProcessState.STARTING, "", 0)
    running = make(make_service(force_update=1), FAILED, make_task("running", number=2, Spec={"ForceUpdate": 1}))
    assert (running.state, running.restarts) == (ProcessState.RUNNING, 0)
    assert make(make_service(condition="on-failure"), FAILED).state is ProcessState.FATAL, "it is of this start"


def test_a_new_leader_has_to_hear_from_the_nodes_before_none_fits() -> None:
    pending = make_task("pending", err="no suitable node (2 nodes not available for new tasks)")
    assert make(make_service(), pending, n1="unknown", n2="unknown").state is ProcessState.STARTING
    assert make(make_service(), pending, n2="unknown").state is ProcessState.STARTING
    assert make(make_service(), pending, n1="down", n2="down").state is ProcessState.FATAL


def test_a_manager_that_answers_is_not_down_for_long() -> None:
    def make_pending(reachability: str) -> Process:
        nodes = make_nodes(n1="down", n2="down")
        manager = msgspec.convert({"Reachability": reachability}, ManagerStatus)
        nodes["n1"] = msgspec.structs.replace(nodes["n1"], manager=manager)
        pending = make_task("pending", err="no suitable node (2 nodes not available for new tasks)")
        return make_process(make_service(), [pending], nodes, Hints(NOW, {}))[0]

    assert make_pending("reachable").state is ProcessState.STARTING
    assert make_pending("unreachable").state is ProcessState.FATAL


def test_the_swarm_looks_for_a_node_again_when_one_is_back() -> None:
    def make_pending(reasons: str, **states: str) -> ProcessState:
        return make(make_service(), make_task("pending", err=f"no suitable node ({reasons})"), **states).state

    assert make_pending("2 nodes not available for new tasks", n2="down") is ProcessState.STARTING
    elsewhere = "1 node not available for new tasks; scheduling constraints not satisfied on 1 node"
    assert make_pending(elsewhere) is ProcessState.STARTING
    assert make_pending(elsewhere, n2="down") is ProcessState.FATAL
    # it does not look again because a node was removed
    assert make_pending("3 nodes not available for new tasks", n2="down") is ProcessState.FATAL


def test_an_orphaned_task_may_still_run() -> None:
    process = make(make_service(), make_task("orphaned", "shutdown"))
    assert (process.status, process.tasks[0].is_lost) == (Status.ERROR, True)


def test_of_several_replicas_the_worst_is_told() -> None:
    def on(slot: int, task: SwarmTask) -> SwarmTask:
        return msgspec.structs.replace(task, slot=slot, id=f"{task.id}-{slot}")

    service = make_service(3)
    running = [on(slot, make_task("running", number=slot)) for slot in (1, 2, 3)]
    assert make(service, *running).detail == ""
    two = make(service, on(1, make_task("starting")), *running[1:])
    assert (two.status, two.detail, two.pid) == (Status.STARTING, "2 of 3 run", 42)
    failing = make(service, running[0], on(2, FAILED), on(2, make_task("ready", "ready", number=2)), running[2])
    assert (failing.status, failing.is_alive, failing.pid) == (Status.ERROR, True, 41)
    assert failing.detail.startswith("2 of 3 run; it ended with exit code 3; it is started again at ")
    # a fourth one that is being given up does not count
    assert make(service, *running, on(4, make_task("running", "remove"))).state is ProcessState.RUNNING
    assert make(service, running[0]).detail == "1 of 3 run"


def test_it_keeps_dying() -> None:
    dead = [make_task("failed", "shutdown", number=number, code=139, err="task: …") for number in (1, 2, 3)]
    process = make(make_service(), *dead, make_task("running", number=4), since=NOW - 5)
    assert (process.status, process.flapping) == (Status.RUNNING, True)
    assert process.detail == "it keeps dying: the swarm has restarted it 3 times; last, killed by SIGSEGV"
    assert not make(make_service(), *dead, make_task("running", number=4), since=NOW - 61).flapping


def test_a_check_of_the_swarm_that_has_failed() -> None:
    error = "task: non-zero exit (137): dockerexec: unhealthy container"
    unhealthy = make_task("failed", "shutdown", code=137, err=error)
    process = make(make_service(), unhealthy, make_task("running", number=2))
    assert str(process.last_exit) == "killed by SIGKILL: its check has failed"
    ended = make_service(**{labels.ENDED: "5 task1 memory limit"})
    process = make(ended, make_task("shutdown", "shutdown", code=143), make_task("running", number=2))
    assert str(process.last_exit) == "killed by SIGTERM: memory limit"


def test_a_process_that_the_kernel_has_killed_for_its_memory() -> None:
    service = make_service()
    service["Spec"]["TaskTemplate"]["Resources"] = {"Limits": {"MemoryBytes": 64 * 2**20}}
    tasks = [
        make_task("failed", "shutdown", code=137, err="task: non-zero exit (137)"),
        make_task("ready", "ready", number=2),
    ]

    def read(known: frozenset[str]) -> tuple[str, str | None]:
        process, _ = make_process(service, tasks, make_nodes(), Hints(NOW, {}, known))
        assert process.last_exit is not None
        return process.detail.partition(";")[0], process.last_exit.reason

    assert read(frozenset({"task1"})) == (
        "it was killed by SIGKILL: it used more memory than its limit",
        "memory limit",
    )
    assert read(frozenset()) == ("it was killed by SIGKILL: it may have used more memory than its limit", None)
    snapshot = Snapshot(Names())
    answers = (msgspec.json.encode(tasks), msgspec.json.encode([service]), b"[]")
    snapshot.take(answers, NOW, NOW)
    before = snapshot.processes["echo"]
    snapshot.note_out_of_memory("task1")
    assert snapshot.take(answers, NOW + 1, NOW + 1) == {"echo"}
    after = snapshot.processes["echo"].last_exit
    assert (before.last_exit is not None, after is not None and after.reason) == (True, "memory limit")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("", ""),
        ("no suitable node", "no node fits"),
        ("no suitable node (host-mode port already in use on 1 node)", "no node fits: 1 node has the port in use"),
        ("task: non-zero exit (1)", "it ended with exit code 1"),
        ("task: non-zero exit (143): x", "it was killed by SIGTERM"),
        ("task: non-zero exit (200)", "it ended with exit code 200"),
        ("error pulling image: dial tcp 10.1.2.3:5000: i/o timeout", "its image cannot be had from the registry"),
        (
            "broken /var/lib/x at 10.1.2.3:80 of 0123456789abcdef0123 lv4axt33auclqhhh7hdz7yldq",
            "the swarm says: broken … at … of … …",
        ),
    ],
)
def test_errors_in_words_without_paths_ids_and_addresses(error: str, words: str) -> None:
    assert explain_error(error) == words


def test_restarts_are_counted_beyond_what_the_swarm_keeps() -> None:
    snapshot = Snapshot(Names())

    def take(*tasks: SwarmTask, replicas: int = 1) -> Process:
        answers = (msgspec.json.encode(tasks), msgspec.json.encode([make_service(replicas)]), b"[]")
        snapshot.take(answers, NOW, NOW)
        return snapshot.processes["echo"]

    dead = [make_task("failed", "shutdown", number=number, code=1, err="task: …") for number in range(1, 9)]
    for number in range(3, 9):
        process = take(*dead[number - 3 : number], make_task("running", number=number + 1))
    assert process.restarts == 8
    assert take(replicas=0).restarts == 0
    assert take(make_task("running")).restarts == 0


def test_a_clock_that_is_wrong_does_not_decide_when_a_process_began() -> None:
    snapshot = Snapshot(Names())
    services = msgspec.json.encode([make_service()])
    snapshot.take((b"[]", services, b"[]"), NOW, NOW)
    snapshot.take((msgspec.json.encode([make_task("running")]), services, b"[]"), NOW + 1, NOW + 2)
    assert NOW <= snapshot.processes["echo"].started <= NOW + 2
