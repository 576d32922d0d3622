"""What watching plugins costs while nothing happens: their checks, and their memory limits."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from benchmarks.machine import read_cpu_seconds
from benchmarks.result import Goal, Result, Sample
from benchmarks.systems.plugvisor_stack import HOST, make_manifests, start_plugvisor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.testbed import Testbed

SECONDS = 60.0
SETTLE_SECONDS = 12.0
"""Until then each check has been made twice, and is made every 10 seconds."""
CHECKS, LIMITS = "an http check every 10 s", "a memory limit"


def measure_monitoring(testbed: Testbed) -> Iterator[Result]:
    """CPU of the service beyond that of one whose plugins have neither checks nor limits, at the same time."""
    url = f"http://{HOST}:{testbed.reference_server.port}/static/one"
    tables = {
        CHECKS: f'[plugin_runtime.checks.web]\nhttp = "{url}"\n',
        LIMITS: '[plugin_runtime.limits]\nmemory = "1G"\n',
    }
    with contextlib.ExitStack() as systems:
        stacks = {"": testbed.plugvisor}
        for what, one in tables.items():
            stacks[what] = systems.enter_context(start_plugvisor(make_manifests(testbed.plugins, one)))
        for stack in stacks.values():
            stack.wait_until_up()
        enforced_by = {one["limits"]["enforced_by"] for one in stacks[LIMITS].connect_to_api().read_statuses().values()}
        stacks[CHECKS].connect_to_api().wait_until(lambda status: status.get("health") == "healthy", 0.1)
        time.sleep(SETTLE_SECONDS)
        pids = {(what, "the service"): stack.service_pid for what, stack in stacks.items()}
        pids |= {(what, "supervisord"): stack.pid for what, stack in stacks.items()}
        before = {key: read_cpu_seconds(pid) for key, pid in pids.items()}
        time.sleep(SECONDS)
        busy = {key: (read_cpu_seconds(pid) - before[key]) / SECONDS * 100 for key, pid in pids.items()}
    goals = {(CHECKS, "the service"): 1.0, (LIMITS, "the service"): 0.5}
    for (what, who), value in busy.items():
        if not what:
            continue
        limit = goals.get((what, who)) if testbed.plugins == 100 else None
        name = what + (f" (tier {', '.join(enforced_by)})" if what == LIMITS else "")
        yield Result(
            f"{who}'s CPU beyond idle, each with {name}",
            testbed.plugins,
            "%",
            Sample(value - busy["", who], None, 1),
            "idle",
            Sample(busy["", who], None, 1),
            goal=Goal(limit) if limit else None,
        )
