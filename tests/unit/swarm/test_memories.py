"""Since when a task has run, on the clock of this machine."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from plugvisor.engines.swarm.watch.answers import SwarmTask, TaskStatus
from plugvisor.engines.swarm.watch.memories import RunningTimes


def run(task_id: str, seconds_ago: float) -> SwarmTask:
    at = datetime.fromtimestamp(time.time() - seconds_ago, UTC)
    return SwarmTask(task_id, at, TaskStatus(at, "running"))


def test_a_task_that_has_run_for_longer_than_this_machine() -> None:
    times = RunningTimes()
    times.update([run("old", 3600)], began=60.0, now=60.0)
    assert times.since["old"] == pytest.approx(60 - 3600, abs=5)


def test_a_node_whose_clock_is_wrong() -> None:
    """What was not there at one poll, and is at the next, has begun in between."""
    times = RunningTimes()
    times.update([], began=60.0, now=60.1)
    times.update([run("behind", 3600), run("ahead", -3600)], began=61.0, now=61.1)
    assert times.since == {"behind": 60.0, "ahead": 61.1}
    times.update([run("behind", 3600)], began=62.0, now=62.1)
    assert times.since == {"behind": 60.0}
