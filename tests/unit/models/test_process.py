"""Processes: each of supervisord's states has a status, and every error says why."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from plugvisor.engines.supervisord.extension.processes.restart_policy import RestartPolicy, RestartValues
from plugvisor.models.enforced_limits import AppliedLimits
from plugvisor.models.process import NEVER_ADDED, Exit, Process, ProcessState, Status, remove_retry
from supervisor.process import Subprocess
from supervisor.states import RUNNING_STATES, ProcessStates, getProcessStateDescription

from tests.helpers.fake_cluster import make_task

if TYPE_CHECKING:
    from plugvisor.models.cluster.task import Task

CODES = {name: code for name, code in vars(ProcessStates).items() if not name.startswith("_")}
STATES = [pytest.param(state, id=state.name) for state in ProcessState]


def test_our_codes_are_supervisords() -> None:
    assert {state.name: state.value for state in ProcessState} == CODES
    assert {state.value: state.name for state in ProcessState} == {
        code: getProcessStateDescription(code) for code in CODES.values()
    }


# -- status and detail


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("STOPPED", "stopped"),
        ("STARTING", "starting"),
        ("RUNNING", "running"),
        ("BACKOFF", "error"),
        ("STOPPING", "stopping"),
        ("EXITED", "stopped"),
        ("FATAL", "error"),
        ("UNKNOWN", "error"),
    ],
)
def test_the_status_of_a_state(state: str, status: str) -> None:
    process = Process(ProcessState[state])
    assert process.status == status
    assert bool(process.detail) == (status == "error" or state == "EXITED"), "an error always says why"


@pytest.mark.parametrize("queued", ["boot", "asked"])
@pytest.mark.parametrize("state", [ProcessState.STOPPED, ProcessState.EXITED, ProcessState.STOPPING])
def test_what_is_queued_is_starting_when_its_process_has_ended(state: ProcessState, queued: Any) -> None:
    process = Process(state, pid=7 if state is ProcessState.STOPPING else 0, queued=queued)
    assert process.status == ("stopping" if state is ProcessState.STOPPING else "starting")
    assert process.is_starting
    assert process.is_gone == (state is not ProcessState.STOPPING)


def test_every_status_has_a_state() -> None:
    assert {Process(ProcessState(code)).status for code in CODES.values()} == set(Status)


@pytest.mark.parametrize(
    ("fields", "status", "detail"),
    [
        ({"exit_status": 0}, "stopped", "it exited by itself, with exit code 0"),
        ({"exit_status": 3}, "stopped", "it exited by itself, with exit code 3"),
        ({"exit_status": -1}, "stopped", "it exited by itself, killed by a signal"),
        ({"exit_status": 0, "spawn_error": "Bad exit code 0"}, "error", "it ended unexpectedly, with exit code 0; "),
        ({"exit_status": 3, "spawn_error": "Bad exit code 3"}, "error", "it ended unexpectedly, with exit code 3; "),
        ({"exit_status": -1, "spawn_error": "Bad exit code -1"}, "error", "it ended unexpectedly, killed by a signal;"),
        (
            {"exit_status": -1, "spawn_error": "Bad exit code -1", "last_exit": Exit(1.0, signal="SIGKILL")},
            "error",
            "it ended unexpectedly, killed by SIGKILL; its log may say why",
        ),
        ({"exit_status": 3, "last_exit": Exit(1.0, code=3)}, "stopped", "it exited by itself, with exit code 3"),
        ({"spawn_error": "Ended: x", "last_exit": Exit(1.0, code=0, reason="x")}, "error", "it was ended: x"),
    ],
)
def test_expected_exits_and_others(fields: dict[str, Any], status: str, detail: str) -> None:
    process = Process(ProcessState.EXITED, **fields)
    assert process.status == status
    assert process.detail.startswith(detail)
    assert process.exited_unexpectedly == (status == "error")


@pytest.mark.parametrize("state", STATES)
def test_only_a_process_that_has_exited_has_exited_unexpectedly(state: ProcessState) -> None:
    process = Process(state, spawn_error="Bad exit code 1", exit_status=1)
    assert process.exited_unexpectedly == (state is ProcessState.EXITED)


@pytest.mark.parametrize("state", [ProcessState.BACKOFF, ProcessState.FATAL])
def test_a_failed_start_says_why(state: ProcessState) -> None:
    def describe(spawn_error: str, **fields: Any) -> str:
        return Process(state, spawn_error=spawn_error, **fields).detail

    too_quick = "Exited too quickly (process log may have details)"
    assert "it could not be started" in describe("")
    assert "its log may say why" in describe("")
    assert "it exited too quickly; its log" in describe(too_quick)
    assert "it exited too quickly, with exit code 3; its log" in describe(too_quick, last_exit=Exit(1.0, code=3))
    assert "too many processes" in describe("too many processes")
    assert ("will try again soon" in describe("")) == (state is ProcessState.BACKOFF)
    assert ("has given up" in describe("")) == (state is ProcessState.FATAL)
    at = datetime(2024, 2, 29, 12, 34, 56).astimezone().timestamp()
    assert ("try again at 12:34:56" in describe("", retry_at=at)) == (state is ProcessState.BACKOFF)


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        (
            {"last_exit": Exit(at=1, signal="SIGKILL", reason="memory limit")},
            "it was killed: it used more than its memory limit of 512 MiB",
        ),
        (
            {"last_exit": Exit(at=1, code=0, reason="memory limit")},
            "it was ended: it used more than its memory limit of 512 MiB",
        ),
        (
            {"last_exit": Exit(at=1, signal="SIGTERM", reason="processes limit")},
            "it was ended: it had more processes and threads than its limit of 8",
        ),
        (
            {
                "state": ProcessState.FATAL,
                "spawn_error": "Exited too quickly (process log may have details)",
                "last_exit": Exit(at=1, signal="SIGKILL", reason="memory limit"),
            },
            "it could not be started and supervisord has given up: it used more than its memory limit of 512 MiB",
        ),
    ],
)
def test_one_that_a_limit_has_ended_says_which(fields: dict[str, Any], detail: str) -> None:
    limits = AppliedLimits(memory=512 * 2**20, processes=8)
    process = Process(**{"state": ProcessState.EXITED, "spawn_error": "Ended", "limits": limits} | fields)
    assert process.detail == detail


@pytest.mark.parametrize(
    ("count", "text"),
    [(100, "100 bytes"), (1024, "1 KiB"), (1536, "1.5 KiB"), (2**30, "1 GiB"), (2**41, "2048 GiB")],
)
def test_memory_is_shown_in_the_largest_unit(count: int, text: str) -> None:
    last_exit = Exit(at=1, code=0, reason="memory limit")
    process = Process(ProcessState.EXITED, spawn_error="Ended", limits=AppliedLimits(count), last_exit=last_exit)
    assert process.detail.endswith(f" of {text}")


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        (
            {"spawn_error": "Bad exit code -1", "last_exit": Exit(1.0, signal="SIGKILL")},
            "it ended unexpectedly, killed by SIGKILL; it is started again at 12:34:56",
        ),
        (
            {"last_exit": Exit(1.0, code=0)},
            "it exited by itself, with exit code 0; it is started again at 12:34:56",
        ),
        (
            {"spawn_error": "Ended: memory limit", "last_exit": Exit(1.0, code=0, reason="memory limit")},
            "it was ended: memory limit; it is started again at 12:34:56",
        ),
    ],
)
def test_one_that_waits_for_its_restart_says_when(fields: dict[str, Any], detail: str) -> None:
    at = datetime(2024, 2, 29, 12, 34, 56).astimezone().timestamp()
    process = Process(ProcessState.EXITED, retry_at=at, **fields)
    assert process.detail == detail
    assert process.status == ("error" if "spawn_error" in fields else "stopped")


@pytest.mark.parametrize(
    ("reason", "last"),
    [
        (None, ", last killed by SIGTERM; its log may say why"),
        ("check 'web' failed: answered 503", "; last, check 'web' failed: answered 503"),
        ("memory limit", "; last, it used more than its memory limit of 1 MiB"),
    ],
)
def test_one_that_was_restarted_too_often_says_so(reason: str | None, last: str) -> None:
    policy = RestartPolicy()
    policy.values = RestartValues(max_restarts=5)
    process = Process(
        ProcessState.FATAL,
        spawn_error=policy.describe_end(),
        last_exit=Exit(1.0, signal="SIGTERM", reason=reason),
        limits=AppliedLimits(memory=2**20),
    )
    assert process.detail == (
        f"it keeps dying and supervisord has given up: it was restarted 5 times within 600 seconds{last}"
    )


def test_one_that_flaps_says_why_it_was_ended() -> None:
    last_exit = Exit(1.0, signal="SIGTERM", reason="memory limit")
    process = Process(
        ProcessState.RUNNING, restarts=7, flapping=True, last_exit=last_exit, limits=AppliedLimits(memory=2**20)
    )
    assert process.detail == (
        "it keeps dying: supervisord has restarted it 7 times; last, it used more than its memory limit of 1 MiB"
    )


@pytest.mark.parametrize("tasks", [(), (make_task(1, "node2"),)])
def test_it_names_the_engine_that_it_is_of(tasks: tuple[Task, ...]) -> None:
    engine, other = ("the swarm", "supervisord") if tasks else ("supervisord", "the swarm")
    waiting = Process(ProcessState.BACKOFF, spawn_error="no memory", tasks=tasks)
    assert waiting.detail == f"it could not be started: no memory; {engine} will try again soon"
    assert remove_retry(waiting.detail) == "it could not be started: no memory"
    details = [
        Process(ProcessState.FATAL, spawn_error="no memory", tasks=tasks).detail,
        Process(ProcessState.RUNNING, flapping=True, restarts=7, last_exit=Exit(1.0, code=1), tasks=tasks).detail,
    ]
    assert all(engine in detail and other not in detail for detail in details), details


def test_the_words_that_supervisord_is_recognised_by_are_its_own() -> None:
    constants = Subprocess.finish.__code__.co_consts
    assert {"Bad exit code %s", "Exited too quickly (process log may have details)"} <= set(constants)


@pytest.mark.parametrize("state", STATES)
def test_flapping_is_shown_while_it_seems_to_run(state: ProcessState) -> None:
    steady = Process(state, restarts=7, last_exit=Exit(1.0, signal="SIGSEGV"))
    flapping = msgspec.structs.replace(steady, flapping=True)
    assert flapping.status == steady.status
    is_shown = flapping.detail.startswith("it keeps dying: supervisord has restarted it 7 times")
    assert is_shown == (state in (ProcessState.STARTING, ProcessState.RUNNING))
    assert not is_shown or "killed by SIGSEGV" in flapping.detail


# -- alive, gone


@pytest.mark.parametrize("state", STATES)
def test_a_process_is_alive_if_it_has_a_pid_and_is_meant_to(state: ProcessState) -> None:
    assert not Process(state).is_alive
    may_live = {*RUNNING_STATES, ProcessStates.STOPPING, ProcessStates.UNKNOWN} - {ProcessStates.BACKOFF}
    alive = Process(state, pid=7)
    assert alive.is_alive == (state in may_live)
    assert alive.is_gone == (state not in may_live)
    assert not Process(state, orphans=True).is_gone
    assert Process(state).is_gone == (state is not ProcessState.STOPPING)


@pytest.mark.parametrize(
    ("started", "now", "uptime"), [(100.5, 107.4, 6), (100.0, 100.0, 0), (100.0, 3.0, 0), (100.0, 99.9, 0)]
)
def test_uptime_is_in_whole_seconds_and_never_negative(started: float, now: float, uptime: int) -> None:
    assert Process(ProcessState.RUNNING, pid=1, started=started).uptime_seconds(now) == uptime


def test_a_program_that_supervisord_does_not_have_is_stopped() -> None:
    assert (NEVER_ADDED.status, NEVER_ADDED.detail, NEVER_ADDED.is_alive) == ("stopped", "", False)
    assert NEVER_ADDED.is_gone
