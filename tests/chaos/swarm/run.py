"""Playing rounds on one Plugvisor over one lab."""

from __future__ import annotations

import shutil
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.chaos.swarm.activity import Activity
from tests.chaos.swarm.clients import Clients
from tests.chaos.swarm.containers import ContainerWatcher
from tests.chaos.swarm.faults import Faults
from tests.chaos.swarm.folders import Folders
from tests.chaos.swarm.follower import Follower
from tests.chaos.swarm.foreign import Foreign
from tests.chaos.swarm.rest import RestCheck
from tests.helpers.swarm.stack import run_swarm_stack

if TYPE_CHECKING:
    import collections
    from collections.abc import Callable, Iterator

    from tests.chaos.swarm.rounds import Round
    from tests.helpers.swarm.lab import SwarmLab
    from tests.helpers.swarm.stack import SwarmStack


@dataclass
class Result:
    """What a run found."""

    rounds: int
    seconds: float
    operations: collections.Counter[str]
    answers: collections.Counter[str]
    faults: list[str]
    looks: int
    most_together: int
    settling_seconds: float
    followed: tuple[int, int]
    violations: list[str]
    last_round: int

    @property
    def count(self) -> int:
        """How many operations were done."""
        return sum(self.operations.values())

    def __str__(self) -> str:
        counts = [
            ", ".join(f"{count} {kind}" for kind, count in sorted(counter.items()))
            for counter in (self.operations, self.answers)
        ]
        summary = (
            f"{self.rounds} rounds, {self.count} operations in {self.seconds:.0f} s "
            f"({self.count / max(self.seconds, 0.001):.1f} a second), faults: {', '.join(self.faults) or 'none'}; "
            f"{self.looks} looks at the containers, of which {self.most_together} were alive at once; it took "
            f"{self.settling_seconds:.1f} s at most to settle; {self.followed[1]} events in {self.followed[0]} streams"
        )
        return "\n".join([summary, *counts, *self.violations])


def run_rounds(
    lab: SwarmLab,
    image: str,
    rounds: Iterator[Round],
    seconds: float,
    *,
    operations: int = 0,
    report: Callable[[str], object] = lambda _: None,
) -> Result:
    """Play rounds until the time is over and enough is done, or a promise is broken.

    Args:
        lab: is whole, and has nothing on it.
        image: what plugins run in.
        operations: at least so many are done.
    """
    activity = Activity()
    with run_swarm_stack(lab, image) as stack, ContainerWatcher(lab, activity) as watcher, Follower(stack) as follower:
        folders, faults = Folders(stack), Faults(stack, activity, watcher)
        clients, rest = Clients(stack, activity, watcher, folders), RestCheck(stack, activity, watcher, follower)
        befallen: list[str] = []
        number = played = 0
        began = time.monotonic()
        try:
            folders.write_all()
            foreign = Foreign(stack, image)
            stack.up()
            for one in rounds:
                number = one.number
                activity.begin_round()
                befalling = faults.begin(one.fault)
                clients.play(one.operations)
                befalling.join()
                befallen += [one.fault.kind] if one.fault.kind != "none" else []
                folders.restore()
                stack.post("/plugins/refresh")
                rest.come_to_rest()
                watcher.violations.extend(foreign.find_changes())
                played += 1
                report(f"round {number}, {one.fault.kind}: {clients.done.total()} operations, {watcher.looks} looks")
                is_over = time.monotonic() - began > seconds and clients.done.total() >= operations
                if watcher.violations or is_over:
                    break
        except (Exception, pytest.fail.Exception):  # noqa: BLE001 - or nobody would learn what was found until then
            watcher.report(f"the test itself: {traceback.format_exc()}")
        if watcher.violations:
            watcher.violations.append(f"the service's log is {keep_log(stack, number)}")
    return Result(
        played,
        time.monotonic() - began,
        clients.done,
        clients.answers,
        befallen,
        watcher.looks,
        watcher.most_together,
        rest.longest_seconds,
        (follower.connections, follower.events),
        watcher.violations,
        number,
    )


def keep_log(stack: SwarmStack, number: int) -> Path:
    """Copy the service's log to where somebody finds it; returns its path."""
    with tempfile.NamedTemporaryFile(prefix=f"chaos-swarm-{number}-", suffix=".log", delete=False) as kept:
        shutil.copy(stack.output_path, kept.name)
    return Path(kept.name)
