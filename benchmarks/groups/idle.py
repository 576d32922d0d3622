"""What the processes need while nothing happens."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.machine import read_cpu_seconds, read_memory_megabytes
from benchmarks.result import Goal, Result, Sample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.testbed import Testbed

SECONDS = 20.0
SETTLE_SECONDS = 3.0
"""How long what was just started may take to come to rest; then nothing happens any more."""

REFERENCE_SERVER = "bare Starlette service"
PLAIN_SUPERVISORD = "supervisord without Plugvisor"


def measure_idle(testbed: Testbed) -> Iterator[Result]:
    """Memory and idle CPU of the service and of supervisord."""
    service, supervisord = testbed.plugvisor.service_pid, testbed.plugvisor.pid
    time.sleep(SETTLE_SECONDS)
    memory = {pid: read_memory_megabytes(pid) for pid in (service, supervisord)}  # before others share pages with them
    pairs = (
        ("the service", service, REFERENCE_SERVER, testbed.reference_server.pid),
        ("supervisord", supervisord, PLAIN_SUPERVISORD, testbed.plain_supervisord.pid),
    )
    pids = [pid for _, own, _, other in pairs for pid in (own, other)]
    time.sleep(SETTLE_SECONDS)
    before = {pid: read_cpu_seconds(pid) for pid in pids}
    time.sleep(SECONDS)
    busy = {pid: (read_cpu_seconds(pid) - before[pid]) / SECONDS * 100 for pid in pids}
    memory |= {other: read_memory_megabytes(other) for _, _, _, other in pairs}
    for who, own, reference_name, other in pairs:
        for kind in ("Rss", "Pss"):
            goal = Goal(60) if kind == "Rss" and testbed.plugins == 1000 else None
            values = _single(memory[own][kind]), _single(memory[other][kind])
            yield Result(
                f"{who}'s memory ({kind})", testbed.plugins, "MB", values[0], reference_name, values[1], goal=goal
            )
        values = _single(busy[own]), _single(busy[other])
        yield Result(f"{who}'s CPU when nothing happens", testbed.plugins, "%", values[0], reference_name, values[1])
    is_small = testbed.plugins == 10
    for kind in ("Rss", "Pss"):
        both = _single(memory[service][kind] + memory[supervisord][kind])
        goal = Goal(58) if is_small and kind == "Pss" else None
        yield Result(f"both processes' memory ({kind})", testbed.plugins, "MB", both, goal=goal)
    both = _single(busy[service] + busy[supervisord])
    yield Result(
        "both processes' CPU when nothing happens", testbed.plugins, "%", both, goal=Goal(0.1) if is_small else None
    )


def _single(value: float) -> Sample:
    return Sample(value, None, 1)
