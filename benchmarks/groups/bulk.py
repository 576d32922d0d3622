"""Start, stop and reload of every plugin in one request."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.result import Goal, Result, Sample
from benchmarks.rounds import run_alternately, time_call
from benchmarks.systems.plugvisor_stack import ApiClient
from benchmarks.systems.process_loop import LOOP, time_process_loop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.testbed import Testbed

ROUNDS = 3
SECONDS = 15.0
GOALS = {("stop", 1000): 1.5, ("start", 1000): 3.0, ("reload", 1000): 6.0, ("reload", 100): 1.5}
"""Seconds, by verb and number of plugins."""


def measure_bulk(testbed: Testbed) -> Iterator[Result]:
    """Seconds of `POST /plugins/stop`, `start` and `reload` without a body, next to a loop in C speed."""
    client = ApiClient(testbed.plugvisor.port)
    methods = {"plugvisor": partial(_measure_round, client), LOOP: partial(time_process_loop, testbed.plugins)}
    measured = run_alternately(methods, ROUNDS, SECONDS, minimum=1)
    for verb in ("stop", "start", "reload"):
        limit = GOALS.get((verb, testbed.plugins))
        yield Result(
            f"POST /plugins/{verb}" + (", startsecs 1" if verb == "reload" else ""),
            testbed.plugins,
            "s",
            Sample.of(measured["plugvisor"][verb]),
            LOOP,
            Sample.of(measured[LOOP][verb]),
            goal=Goal(limit) if limit else None,
        )


def _measure_round(client: ApiClient) -> dict[str, float]:
    seconds = {}
    for verb in ("stop", "start", "reload"):
        seconds[verb] = time_call(partial(client.post, f"/plugins/{verb}")) / 1000
        if verb == "start":
            client.wait_until_running()  # else the reload would find what is still starting
    return seconds
