"""How often a plugin that keeps crashing is started, under the default restart policy."""

from __future__ import annotations

import re
import time
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from benchmarks.result import Goal, Result, Sample
from benchmarks.systems.plugvisor_stack import make_manifest, start_plugvisor
from benchmarks.systems.supervisord import INSTANT_PLUGIN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.testbed import Testbed

MINUTES = 5
DELAYS = (0.5, 1, 2, 4, 8, 16, 30)
"""Seconds before each restart, as documented; the last is that of all that follow."""
TIMEOUT_SECONDS = sum(DELAYS) + 30


def measure_crash_loop(testbed: Testbed) -> Iterator[Result]:
    """The first restarts, until the delay no longer grows, are measured; those that follow have the last delay."""
    manifest = make_manifest(INSTANT_PLUGIN, ("false",), startsecs=0, restart="")
    with start_plugvisor({INSTANT_PLUGIN: manifest}) as stack:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        stack.connect_to_api()
        while len(spawned := _read_spawned(stack.log_path.read_text())) <= len(DELAYS):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(spawned)} starts in {TIMEOUT_SECONDS} seconds")
            time.sleep(0.1)
    measured = [later - earlier for earlier, later in pairwise(spawned)][: len(DELAYS)]
    late = [value - delay for value, delay in zip(measured, DELAYS, strict=True)]
    count, at = len(measured), sum(measured)
    count += int((MINUTES * 60 - at) // measured[-1])
    yield Result(
        f"restarts in the first {MINUTES} minutes of a crash loop; {len(DELAYS)} measured, the rest at the last delay",
        testbed.plugins,
        "restarts",
        Sample(count, None, 1),
        "stock supervisord: one in each second",
        Sample(MINUTES * 60, None, 1),
        goal=Goal(20),
    )
    yield Result("how late a restart of a crash loop is", testbed.plugins, "s", Sample.of(late))


def _read_spawned(log: str) -> list[float]:
    """When each process was started."""
    lines = re.findall(rf"^(\S+ \S+) INFO spawned: '{INSTANT_PLUGIN}'", log, re.MULTILINE)
    return [datetime.strptime(line, "%Y-%m-%d %H:%M:%S,%f").astimezone().timestamp() for line in lines]
