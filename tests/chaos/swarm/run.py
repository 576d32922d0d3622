"""Playing rounds on one Plugvisor over one lab."""

from __future__ import annotations

import collections
import tempfile
import time
import traceback
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.chaos.swarm.activity import Activity
from tests.chaos.swarm.clients import Clients
from tests.chaos.swarm.containers import ContainerWatcher
from tests.chaos.swarm.faults import Faults
from tests.chaos.swarm.folders import Folders
from tests.chaos.swarm.follower import Follower
from tests.chaos.swarm.foreign import Foreign
from tests.chaos.swarm.node_events import NodeEvents
from tests.chaos.swarm.rest import RestCheck
from tests.helpers.swarm.stack import run_swarm_stack

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from tests.chaos.swarm.rounds import Round
    from tests.helpers.swarm.lab import SwarmLab
    from tests.helpers.swarm.stack import SwarmStack


@dataclass
class Result:
    """What a run found."""

    rounds: int = 0
    last_round: int = 0
    seconds: float = 0.0
    operations: collections.Counter[str] = field(default_factory=collections.Counter)
    answers: collections.Counter[str] = field(default_factory=collections.Counter)
    faults: collections.Counter[str] = field(default_factory=collections.Counter)
    looks: int = 0
    most_together: int = 0
    settling_seconds: float = 0.0
    lost_nodes: int = 0
    streams: int = 0
    events: int = 0
    history: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many operations were done."""
        return self.operations.total()

    def __str__(self) -> str:
        counts = [
            ", ".join(f"{count} {kind}" for kind, count in sorted(counter.items()))
            for counter in (self.faults, self.operations, self.answers)
        ]
        summary = (
            f"{self.rounds} rounds, {self.count} operations in {self.seconds:.0f} s "
            f"({self.count / max(self.seconds, 0.001):.1f} a second); {self.looks} looks at the containers, of which "
            f"{self.most_together} were alive at once; it took {self.settling_seconds:.1f} s at most to settle; "
            f"nodes were lost {self.lost_nodes} times, as each manager says; "
            f"{self.events} events in {self.streams} streams"
        )
        return "\n".join([summary, *counts, *self.violations])


def run_rounds(
    lab: SwarmLab,
    image: str,
    rounds: Iterable[Round],
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
    result = Result()
    try:
        with run_swarm_stack(lab, image) as stack, closing(_play(stack, image, rounds, result)) as played:
            for one in played:
                report(f"round {one.number}, {one.fault.kind}: {result.count} operations, {result.looks} looks")
                if result.violations or (result.seconds > seconds and result.count >= operations):
                    break
            if result.violations:
                result.violations.append(f"the service's log and the operations are in {_keep(stack, result.history)}")
    except (Exception, pytest.fail.Exception):  # noqa: BLE001 - or nobody would learn what was found until then
        result.violations.append(f"the test itself: {traceback.format_exc()}")
    return result


def _play(stack: SwarmStack, image: str, rounds: Iterable[Round], result: Result) -> Generator[Round]:
    """Play rounds; each is yielded when everything is at rest again."""
    activity = Activity()
    foreign, folders = Foreign(stack, image), Folders(stack)
    folders.write_all()
    stack.up()
    with (
        NodeEvents(stack.lab, activity) as news,
        ContainerWatcher(stack.lab, activity) as watcher,
        Follower(stack) as follower,
    ):
        faults = Faults(stack, activity, watcher)
        clients, rest = Clients(stack, activity, watcher, folders), RestCheck(stack, activity, watcher, follower)
        result.operations, result.answers, result.history = clients.done, clients.answers, clients.history
        result.violations = watcher.violations
        began = time.monotonic()
        for one in rounds:
            result.last_round = one.number
            result.history[:] = [f"fault: {one.fault}"]
            activity.begin_round()
            befalling = faults.begin(one.fault)
            clients.play(one.operations)
            befalling.join()
            result.faults[one.fault.kind] += 1
            folders.restore()
            stack.post("/plugins/refresh")
            rest.come_to_rest()
            watcher.violations.extend(foreign.find_changes())
            result.rounds += 1
            result.seconds = time.monotonic() - began
            result.looks, result.most_together = watcher.looks, watcher.most_together
            result.settling_seconds = rest.longest_seconds
            result.lost_nodes = news.lost
            result.streams, result.events = follower.connections, follower.events
            yield one


def _keep(stack: SwarmStack, history: list[str]) -> str:
    """Put the service's log and what was done in the last round where somebody finds it; returns the path."""
    with tempfile.NamedTemporaryFile("w", prefix="chaos-swarm-", suffix=".log", delete=False) as kept:
        kept.write(stack.service_log)
        kept.writelines(f"{line}\n" for line in history)
    return kept.name
