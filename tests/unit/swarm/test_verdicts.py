"""What a process says about a change that was made of its service."""

from __future__ import annotations

import pytest
from plugvisor.engines.process_reads import check_started
from plugvisor.engines.swarm.services import labels
from plugvisor.engines.swarm.services.spec import note_replicas, read_asked, read_noted_replicas
from plugvisor.engines.swarm.services.verdicts import (
    describe_remains,
    is_at_rest,
    is_begun,
    is_gone,
    is_lost,
    is_spawned,
)
from plugvisor.errors import StartFailed
from plugvisor.models.cluster.task import Task
from plugvisor.models.process import NEVER_ADDED, Asked, Process, ProcessState


def make_task(state: str, *, is_lost: bool = False) -> Task:
    return Task("t", "n", "node2", state, "running", 1.0, slot=1, is_lost=is_lost)


def make_process(state: ProcessState, *tasks: Task, launches: int = 5, pid: int = 0) -> Process:
    return Process(state, tasks=tasks, launches=launches, pid=pid)


def test_a_plugin_is_gone_when_no_task_can_have_a_process() -> None:
    assert is_gone(NEVER_ADDED)
    assert is_gone(make_process(ProcessState.EXITED, make_task("complete")))
    assert not is_gone(make_process(ProcessState.STOPPED, make_task("running")))
    assert not is_gone(make_process(ProcessState.STOPPING, make_task("running")))
    assert not is_gone(make_process(ProcessState.UNKNOWN, make_task("running", is_lost=True)))
    assert not is_gone(Process(ProcessState.UNKNOWN, explanation="it is not understood"))


def test_a_plugin_on_a_node_that_was_removed_from_the_swarm_is_gone() -> None:
    orphaned = make_task("orphaned", is_lost=True)
    assert is_gone(make_process(ProcessState.UNKNOWN, orphaned))
    assert not is_gone(make_process(ProcessState.UNKNOWN, orphaned, make_task("running", is_lost=True)))
    assert not is_gone(make_process(ProcessState.RUNNING, orphaned, make_task("running")))


def test_nothing_can_be_waited_for_if_all_that_is_alive_is_lost() -> None:
    lost, running = make_task("running", is_lost=True), make_task("running")
    assert is_lost(make_process(ProcessState.UNKNOWN, lost, make_task("shutdown")))
    assert not is_lost(make_process(ProcessState.STOPPING, lost, running))
    assert not is_lost(make_process(ProcessState.STOPPED, make_task("failed")))
    assert "node node2 is lost" in describe_remains(make_process(ProcessState.UNKNOWN, lost))
    assert "lost" not in describe_remains(make_process(ProcessState.STOPPING, running))


def test_what_is_going_to_run_can_be_stopped() -> None:
    assert is_at_rest(make_process(ProcessState.FATAL, make_task("failed")))
    assert not is_at_rest(make_process(ProcessState.FATAL, make_task("pending")))
    assert not is_at_rest(Process(ProcessState.STOPPED, queued="asked"))
    assert not is_at_rest(Process(ProcessState.EXITED, retry_at=9.0))


def test_a_start_has_begun_when_there_is_another_launch() -> None:
    assert not is_begun(make_process(ProcessState.FATAL), 5)
    assert is_begun(make_process(ProcessState.STARTING), 4)
    assert not is_begun(Process(ProcessState.STARTING), 0)
    assert not is_begun(Process(ProcessState.STOPPED), 0)
    assert is_begun(Process(ProcessState.FATAL), 0)


def test_a_process_is_spawned_when_it_has_a_number_or_cannot_have_one() -> None:
    preparing = make_process(ProcessState.STARTING, make_task("preparing"))
    checked = make_process(ProcessState.STARTING, make_task("starting"))
    assert not is_spawned(preparing, has_check=True)
    assert is_spawned(checked, has_check=True)
    assert not is_spawned(checked, has_check=False)
    assert is_spawned(make_process(ProcessState.STARTING, make_task("running"), pid=7), has_check=False)
    assert is_spawned(make_process(ProcessState.FATAL), has_check=False)
    assert not is_spawned(Process(ProcessState.STOPPING, start_pending=True), has_check=False)
    assert not is_spawned(Process(ProcessState.STOPPED, queued="asked"), has_check=False)


def test_a_start_fails_with_the_words_of_the_process() -> None:
    with pytest.raises(StartFailed, match="no node fits"):
        check_started(Process(ProcessState.FATAL, explanation="no node fits"))
    with pytest.raises(StartFailed, match="stopped while it was starting"):
        check_started(NEVER_ADDED)
    check_started(Process(ProcessState.EXITED))


@pytest.mark.parametrize(
    ("label", "asked"),
    [
        ("12.5 running", Asked("running", "12.5", 12.5, "docker")),
        ("12.5 stopped", Asked("stopped", "12.5", 12.5, "docker")),
        ("", None),
        ("12.5", None),
        ("12.5 removed", None),
        ("nan running", None),
        ("-1 running", None),
        ("1e300 running", None),
        ("soon running", None),
    ],
)
def test_a_request_by_hand_is_read_from_its_label(label: str, asked: Asked | None) -> None:
    assert read_asked({labels.ASKED: label}) == asked
    assert read_asked({}) is None


@pytest.mark.parametrize("replicas", [0, 1, 3])
def test_how_many_replicas_were_asked_for_is_noted(replicas: int) -> None:
    spec = {"Labels": {}, "Mode": {"Replicated": {"Replicas": replicas}}}
    assert read_noted_replicas(spec) is None
    assert read_noted_replicas(note_replicas(spec)) == replicas


def test_a_label_that_somebody_has_damaged_notes_nothing() -> None:
    assert read_noted_replicas({"Labels": {labels.WANTED_AT: "yesterday"}}) is None
