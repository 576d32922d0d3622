"""Reads under load, and what they cost supervisord."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.figure import Figure, Sample
from benchmarks.load import run_load
from benchmarks.machine import read_cpu_seconds
from benchmarks.stage import READS
from benchmarks.turns import take_turns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.stage import Stage
    from benchmarks.turns import Times

CONNECTIONS = 32
ROUNDS = 5
ROUND_SECONDS = 0.5
PLAIN_SECONDS = 1.5
"""The plain way needs no more rounds than fit in here: it is an order of magnitude away."""

BARE = "bare Starlette route, same bytes"
PLAIN = "Starlette route, one XML-RPC call per request"


def measure_reads(stage: Stage) -> Iterator[Figure]:
    """Requests per second and latency of every read, and supervisord's CPU time meanwhile."""
    for key, path in READS.items():
        ways = {
            "ours": partial(_put_load, stage, stage.ours.port, path),
            BARE: partial(_put_load, stage, stage.plain_port, f"/bare/{key}"),
        }
        measured = take_turns(ways, ROUNDS, seconds=60)
        measured |= take_turns(
            {PLAIN: partial(_put_load, stage, stage.plain_port, f"/plain/{key}")}, ROUNDS, PLAIN_SECONDS, least=1
        )
        shown = "GET " + path.replace(path.partition("plugin_id=")[2] or "\0", "X")
        for beside in (BARE, PLAIN):
            ours, other = measured["ours"], measured[beside]
            yield Figure(
                shown,
                stage.plugins,
                "requests/s",
                Sample.typical(ours["per_second"]),
                beside,
                Sample.typical(other["per_second"]),
                more_is_better=True,
            )
            yield Figure(shown, stage.plugins, "ms", _sum_up_latency(ours), beside, _sum_up_latency(other))
        yield Figure(
            f"{shown}: supervisord's CPU for 1,000 reads",
            stage.plugins,
            "s",
            Sample.typical(measured["ours"]["cpu_seconds"]),
            PLAIN,
            Sample.typical(measured[PLAIN]["cpu_seconds"]),
        )


def _put_load(stage: Stage, port: int, path: str) -> dict[str, float]:
    before = read_cpu_seconds(stage.ours.pid)
    load = run_load(port, path, CONNECTIONS, ROUND_SECONDS)
    cpu_seconds = read_cpu_seconds(stage.ours.pid) - before
    return {
        "per_second": load.per_second,
        "median": load.median_ms,
        "worst": load.worst_ms,
        "cpu_seconds": cpu_seconds / load.requests * 1000,
    }


def _sum_up_latency(times: Times) -> Sample:
    """The rounds' medians and 99th percentiles, of each of which the middle one is taken."""
    median, worst = Sample.typical(times["median"]), Sample.typical(times["worst"])
    return Sample(median.median, worst.median, median.tries)
