"""What the clients of a round do, decided by the seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.chaos.plugins import PLUGINS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CLIENTS = 8
OPERATIONS_PER_CLIENT = 12
PLUGINS_PER_ROUND = 7
"""Few, so that clients meet."""
WEIGHTS = {
    "start": 26, "stop": 18, "reload": 12, "read": 6, "refresh": 4, "hang-up": 3,
    "ctl-start": 2, "ctl-stop": 2, "ctl-restart": 2, "ctl-update": 1,
    "kill": 6, "term": 3, "pause": 2, "continue": 2,
    "edit": 3, "break": 1, "repair": 3, "remove": 1, "add": 3,
    "kill-service": 1, "freeze": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Operation:
    """One thing that one client does."""

    client: int
    kind: str
    plugin_id: str
    pause_seconds: float
    wait: str = ""
    verb: str = ""
    """What a client asks for that hangs up; which process of a plugin is sent a signal."""


def make_rounds(seed: int, first: int = 0) -> Iterator[tuple[int, Sequence[Operation]]]:
    """The rounds of a seed, without end."""
    while True:
        yield first, make_round(seed, first)
        first += 1


def make_round(seed: int, number: int) -> list[Operation]:
    """What is done in one round: each client's operations, one after another."""
    dice = random.Random(f"{seed}:{number}")
    names = dice.sample(sorted(PLUGINS), PLUGINS_PER_ROUND)
    operations = [Operation(client, "start", name, 0) for client, name in enumerate(names)]
    for client in range(CLIENTS):
        for _ in range(OPERATIONS_PER_CLIENT):
            [kind] = dice.choices(list(WEIGHTS), list(WEIGHTS.values()))
            pause_seconds = dice.choice([0, 0, 0.01, 0.05, dice.random() * 0.2])
            wait, verb = dice.choice(["", "", "", "0", "0.3", "10"]), dice.choice(["start", "stop", "reload"])
            operations.append(Operation(client, kind, dice.choice(names), pause_seconds, wait, verb))
    return operations
