"""What the processes need while nothing happens."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.figure import Figure, Sample
from benchmarks.machine import read_cpu_seconds, read_resident_megabytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.stage import Stage

SECONDS = 3.0

PLAIN = "Starlette service of the plain way"
STOCK = "stock supervisord"


def measure_rest(stage: Stage) -> Iterator[Figure]:
    """Resident memory and idle CPU, of the service and of supervisord."""
    pairs = (
        ("the service", stage.ours.service_pid, PLAIN, stage.plain_pid),
        ("supervisord", stage.ours.pid, STOCK, stage.stock.pid),
    )
    pids = [pid for _, ours, _, other in pairs for pid in (ours, other)]
    before = {pid: read_cpu_seconds(pid) for pid in pids}
    time.sleep(SECONDS)
    busy = {pid: (read_cpu_seconds(pid) - before[pid]) / SECONDS * 100 for pid in pids}
    for who, ours, beside, other in pairs:
        memory = [Sample(read_resident_megabytes(pid), None, 1) for pid in (ours, other)]
        yield Figure(f"{who}'s resident memory", stage.plugins, "MB", memory[0], beside, memory[1])
        idle = [Sample(busy[pid], None, 1) for pid in (ours, other)]
        yield Figure(f"{who}'s CPU when nothing happens", stage.plugins, "%", idle[0], beside, idle[1])
