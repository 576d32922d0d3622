"""The start and the end of everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.result import Goal, Result, Sample
from benchmarks.systems.plugvisor_stack import make_manifests, start_plugvisor
from benchmarks.systems.process_loop import LOOP, time_process_loop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.testbed import Testbed

ROUNDS = 3


def measure_lifecycle(testbed: Testbed) -> Iterator[Result]:
    """From `plugvisor up` until all plugins run, and from SIGTERM until all processes are gone."""
    plugins, goals = testbed.plugins, testbed.plugins == 1000
    first, running, gone, loops = [], [], [], []
    for _ in range(ROUNDS):
        with start_plugvisor(make_manifests(plugins)) as stack:
            first_response_seconds, running_seconds = stack.wait_until_up()
            first.append(first_response_seconds)
            running.append(running_seconds)
            gone.append(stack.terminate())
        loops.append(time_process_loop(plugins))
    start = Sample.of([loop["start"] for loop in loops])
    stop = Sample.of([loop["stop"] for loop in loops])
    yield Result("plugvisor up until the first 200", plugins, "s", Sample.of(first), goal=Goal(1.0) if goals else None)
    yield Result(
        "plugvisor up until all are running, startsecs 1",
        plugins,
        "s",
        Sample.of(running),
        LOOP,
        start,
        goal=Goal(3.5) if goals else None,
    )
    yield Result(
        "SIGTERM until all are gone", plugins, "s", Sample.of(gone), LOOP, stop, goal=Goal(1.0) if goals else None
    )
