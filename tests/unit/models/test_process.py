"""supervisord's process states -> the API's statuses: none is forgotten, and every error says why."""

import os
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from plugvisor.models.process import NEVER_ADDED, Exit, History, Process, ProcessState, Status
from supervisor.process import Subprocess
from supervisor.states import RUNNING_STATES, ProcessStates, getProcessStateDescription

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


# -- what the state stream tells besides


def with_history(state: ProcessState, last_exit: Exit | None, **history: Any) -> Process:
    values = {"restarts": 7, "retry_at": None, "flapping": False} | history
    # over XML-RPC the exit status of every signal is -1
    return Process(
        state, exit_status=-1, spawn_error="Bad exit code -1", history=History(last_exit=last_exit, **values)
    )


@pytest.mark.parametrize(
    ("last_exit", "words"),
    [
        ({"signal": "SIGKILL", "at": 1.0}, "it ended unexpectedly, killed by SIGKILL;"),
        ({"code": 3, "at": 1.0}, "it ended unexpectedly, with exit code 3;"),
        (None, "it ended unexpectedly, killed by a signal;"),
    ],
)
def test_history_knows_how_it_ended(last_exit: Exit | None, words: str) -> None:
    assert with_history(ProcessState.EXITED, last_exit).detail.startswith(words)


def test_history_knows_when_the_next_try_is() -> None:
    at = datetime(2024, 2, 29, 12, 34, 56).astimezone()
    process = with_history(ProcessState.BACKOFF, {"code": 3}, retry_at=at.timestamp())
    assert "supervisord will try again at 12:34:56" in process.detail
    quick = replace(process, spawn_error="Exited too quickly (process log may have details)")
    assert "it exited too quickly, with exit code 3;" in quick.detail


@pytest.mark.parametrize("state", list(ProcessState))
def test_what_keeps_dying_is_told_while_it_seems_to_run(state: ProcessState) -> None:
    exit_: Exit = {"signal": "SIGSEGV"}
    flapping = with_history(state, exit_, flapping=True)
    assert flapping.status == with_history(state, exit_).status
    is_told = flapping.detail.startswith("it keeps dying: supervisord has restarted it 7 times")
    assert is_told == (state in (ProcessState.STARTING, ProcessState.RUNNING))
    assert not is_told or "by SIGSEGV" in flapping.detail


@pytest.mark.parametrize("state", list(ProcessState))
def test_a_process_is_alive_where_it_has_a_pid_and_is_meant_to(state: ProcessState) -> None:
    assert not Process(state).is_alive
    may_live = {*RUNNING_STATES, ProcessStates.STOPPING} - {ProcessStates.BACKOFF}
    assert Process(state, pid=os.getpid()).is_alive == (state in may_live)


@pytest.mark.parametrize(
    ("started", "now", "uptime"), [(100.5, 107.4, 6), (100.0, 100.0, 0), (100.0, 3.0, 0), (100.0, 99.9, 0)]
)
def test_uptime_is_in_whole_seconds_and_never_negative(started: float, now: float, uptime: int) -> None:
    assert Process(ProcessState.RUNNING, pid=1, started=started).uptime_seconds(now) == uptime


def test_a_plugin_that_supervisord_does_not_have_is_stopped() -> None:
    assert (NEVER_ADDED.status, NEVER_ADDED.detail, NEVER_ADDED.is_alive) == ("stopped", "", False)
