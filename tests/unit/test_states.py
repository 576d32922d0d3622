"""supervisord's process states -> the API's statuses: none is forgotten, and every error says why."""

import os

import pytest
from supervisor.process import Subprocess
from supervisor.states import RUNNING_STATES, ProcessStates, getProcessStateDescription

from service.supervisord.states import NEVER_ADDED, Process, ProcessState, Status

CODES = {name: code for name, code in vars(ProcessStates).items() if not name.startswith("_")}


def test_our_codes_are_supervisords() -> None:
    assert {state.name: state.value for state in ProcessState} == CODES
    assert {state.value: state.name for state in ProcessState} == {
        code: getProcessStateDescription(code) for code in CODES.values()
    }


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


def test_every_state_has_a_status() -> None:
    assert {Process(ProcessState(code)).status for code in CODES.values()} == set(Status)


@pytest.mark.parametrize(
    ("exit_status", "spawn_error", "status", "detail"),
    [
        (0, "", "stopped", "it exited by itself, with exit code 0"),
        (3, "", "stopped", "it exited by itself, with exit code 3"),
        (3, "Bad exit code 3", "error", "it ended unexpectedly, with exit code 3; its log may say why"),
        (0, "Bad exit code 0", "error", "it ended unexpectedly, with exit code 0; its log may say why"),
        (-1, "Bad exit code -1", "error", "it ended unexpectedly, killed by a signal; its log may say why"),
        (-1, "", "stopped", "it exited by itself, killed by a signal"),
    ],
)
def test_exits_that_were_expected_and_others(exit_status: int, spawn_error: str, status: str, detail: str) -> None:
    process = Process(ProcessState.EXITED, exit_status=exit_status, spawn_error=spawn_error)
    assert (process.status, process.detail) == (status, detail)
    assert process.exited_unexpectedly == (status == "error")


@pytest.mark.parametrize("state", [state for state in ProcessState if state is not ProcessState.EXITED])
def test_only_what_has_exited_has_exited_unexpectedly(state: ProcessState) -> None:
    assert not Process(state, spawn_error="Bad exit code 1", exit_status=1).exited_unexpectedly


def test_the_words_that_are_looked_for_are_supervisords() -> None:
    constants = Subprocess.finish.__code__.co_consts
    assert {"Bad exit code %s", "Exited too quickly (process log may have details)"} <= set(constants)


@pytest.mark.parametrize("state", [ProcessState.BACKOFF, ProcessState.FATAL])
def test_a_failed_start_says_why(state: ProcessState) -> None:
    def detail(spawn_error: str) -> str:
        return Process(state, spawn_error=spawn_error).detail

    assert "it could not be started" in detail("")
    assert "its log may say why" in detail("")
    assert "it exited too quickly; its log" in detail("Exited too quickly (process log may have details)")
    assert "unknown error during fork: EAGAIN" in detail("unknown error during fork: EAGAIN")
    assert ("will try again" in detail("")) == (state is ProcessState.BACKOFF)
    assert ("has given up" in detail("")) == (state is ProcessState.FATAL)


@pytest.mark.parametrize("state", list(ProcessState))
def test_a_process_is_alive_where_it_has_a_pid_and_is_meant_to(state: ProcessState) -> None:
    assert not Process(state).is_alive
    may_live = {*RUNNING_STATES, ProcessStates.STOPPING} - {ProcessStates.BACKOFF}
    assert Process(state, pid=os.getpid()).is_alive == (state in may_live)


@pytest.mark.parametrize(("start", "now", "uptime"), [(100, 107, 7), (100, 100, 0), (100, 3, 0), (0, 0, 0)])
def test_uptime_is_never_negative(start: int, now: int, uptime: int) -> None:
    assert Process(ProcessState.RUNNING, pid=1, start=start, now=now).uptime_seconds == uptime


def test_a_plugin_that_supervisord_does_not_have_is_stopped() -> None:
    assert (NEVER_ADDED.status, NEVER_ADDED.detail, NEVER_ADDED.is_alive) == ("stopped", "", False)
