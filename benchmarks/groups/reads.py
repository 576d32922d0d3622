"""Reads under load, and what they cost supervisord."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.load import run_load
from benchmarks.machine import read_cpu_seconds
from benchmarks.result import Goal, Result, Sample
from benchmarks.rounds import run_alternately
from benchmarks.testbed import READS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.rounds import Values
    from benchmarks.testbed import Testbed

CONNECTIONS = 32
ROUNDS = 7
ROUND_SECONDS = 0.4
ASKING_SECONDS = 1.0
"""One or two rounds are enough: it is an order of magnitude away."""

STATIC = "bare Starlette route, same bytes"
ASKING = "Starlette route, one XML-RPC call for each request"


def measure_reads(testbed: Testbed) -> Iterator[Result]:
    """Requests per second and latency of each read, and what it costs the server and supervisord in CPU time."""
    server, service_pid = testbed.reference_server, testbed.plugvisor.service_pid
    for key, path in READS.items():
        methods = {
            "plugvisor": partial(_put_load, testbed, testbed.plugvisor.port, path, service_pid),
            STATIC: partial(_put_load, testbed, server.port, f"/static/{key}", server.pid),
        }
        measured = run_alternately(methods, ROUNDS, seconds=60)
        asking = {ASKING: partial(_put_load, testbed, server.port, f"/asking/{key}", server.pid)}
        measured |= run_alternately(asking, ROUNDS, ASKING_SECONDS, minimum=1)
        name = "GET " + path.replace(path.partition("plugin_id=")[2] or "\0", "X")
        for reference_name in (STATIC, ASKING):
            values, reference = measured["plugvisor"], measured[reference_name]
            yield Result(
                name,
                testbed.plugins,
                "requests/s",
                Sample.typical(values["per_second"]),
                reference_name,
                Sample.typical(reference["per_second"]),
                more_is_better=True,
                goal=Goal(0.9, is_ratio=True) if reference_name == STATIC else None,
            )
            latencies = _summarize_latency(values), _summarize_latency(reference)
            yield Result(name, testbed.plugins, "ms", latencies[0], reference_name, latencies[1])
        for who, cpu_key, reference_name in (
            ("the server", "server_cpu_seconds", STATIC),
            ("supervisord", "supervisord_cpu_seconds", ASKING),
        ):
            value, other = (Sample.typical(measured[method][cpu_key]) for method in ("plugvisor", reference_name))
            yield Result(f"{name}: CPU of {who} for 1,000 reads", testbed.plugins, "s", value, reference_name, other)


def _put_load(testbed: Testbed, port: int, path: str, server_pid: int) -> dict[str, float]:
    pids = testbed.plugvisor.pid, server_pid
    before = [read_cpu_seconds(pid) for pid in pids]
    load = run_load(port, path, CONNECTIONS, ROUND_SECONDS)
    supervisord, server = (read_cpu_seconds(pid) - earlier for pid, earlier in zip(pids, before, strict=True))
    return {
        "per_second": load.per_second,
        "median": load.median_ms,
        "worst": load.worst_ms,
        "supervisord_cpu_seconds": supervisord / load.requests * 1000,
        "server_cpu_seconds": server / load.requests * 1000,
    }


def _summarize_latency(values: Values) -> Sample:
    """The medians of the rounds' medians and of their 99th percentiles."""
    median, worst = Sample.typical(values["median"]), Sample.typical(values["worst"])
    return Sample(median.median, worst.median, median.count, median.spread)
