"""A plugin's status, from its manifest and its process."""

from __future__ import annotations

from pathlib import Path

import pytest
from plugvisor.manager.refresher import Refreshed, list_differences
from plugvisor.manager.status import describe_problem, report
from plugvisor.models.process import NEVER_ADDED, Process, ProcessState, Status
from plugvisor.plugins.catalog import Plugin

from tests.helpers.manifests import make_manifest

FOLDER = Path("/plugins/echo")
VALID = Plugin("echo", FOLDER, make_manifest(), program="program")
BROKEN = Plugin("echo", FOLDER, problem="plugin.toml line 1: no")
GONE = Plugin("echo", None, problem="no folder has a manifest of this id any more")
RUNNING = Process(ProcessState.RUNNING, pid=7, started=100.0)


def test_a_plugin_that_runs() -> None:
    reported = report(VALID, RUNNING, now=107.9)
    assert (reported.status, reported.state, reported.detail) == (Status.RUNNING, ProcessState.RUNNING, "")
    assert (reported.pid, reported.uptime_seconds, reported.process) == (7, 7, RUNNING)


@pytest.mark.parametrize("state", [state for state in ProcessState if not Process(state, pid=7).is_alive])
def test_what_is_not_alive_has_neither_pid_nor_uptime(state: ProcessState) -> None:
    reported = report(VALID, Process(state), now=5.0)
    assert (reported.pid, reported.uptime_seconds) == (None, None)
    assert (reported.status, reported.detail) == (Process(state).status, Process(state).detail)


def test_a_plugin_that_the_engine_does_not_have_is_stopped() -> None:
    reported = report(VALID, None, now=5.0)
    assert (reported.status, reported.state, reported.process) == (Status.STOPPED, ProcessState.STOPPED, NEVER_ADDED)


@pytest.mark.parametrize(
    ("plugin", "why"), [(BROKEN, "its manifest is invalid: plugin.toml line 1: no"), (GONE, GONE.problem)]
)
def test_a_plugin_that_cannot_be_started_is_in_error_unless_it_runs(plugin: Plugin, why: str) -> None:
    assert describe_problem(plugin) == why
    running = report(plugin, RUNNING, now=105.0)
    assert (running.status, running.pid) == (Status.RUNNING, 7)
    assert running.detail == f"it keeps running as it was, but {why}"
    for process, state in ((None, ProcessState.UNKNOWN), (Process(ProcessState.EXITED), ProcessState.EXITED)):
        stopped = report(plugin, process, now=5.0)
        assert (stopped.status, stopped.state, stopped.detail, stopped.pid) == (Status.ERROR, state, why, None)


def test_the_differences_between_two_readings() -> None:
    def make(plugin_id: str, **fields: object) -> Plugin:
        return Plugin(plugin_id, FOLDER, make_manifest(id=plugin_id, **fields), program=plugin_id)

    before = {name: make(name) for name in ("changed", "gone", "forgotten", "same")}
    after = {
        "broken": Plugin("broken", FOLDER, problem="no"),
        "changed": make("changed", version="2"),
        "gone": Plugin("gone", None, problem="no folder"),
        "new": make("new"),
        "same": make("same"),
        "unread": Plugin("unread", None, problem="no folder"),  # published before this service was started
    }
    processes = dict.fromkeys(("changed", "gone", "same", "unread"), RUNNING)
    assert list_differences(before, after, {"changed", "gone"}, processes) == Refreshed(
        added=["new"], changed=["changed"], removed=["forgotten", "gone", "unread"], invalid=["broken"]
    )
