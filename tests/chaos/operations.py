"""What the clients of a round do, decided by the seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.chaos.cast.authored import ALWAYS, TARGETS, WATCHED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.chaos.cast.cast import Cast

CLIENTS = 8
OPERATIONS_PER_CLIENT = 12
PLUGINS_PER_ROUND = 7
"""Few, so that clients meet."""


@dataclass(frozen=True)
class Operation:
    """One thing that one client does."""

    client: int
    kind: str
    plugin_id: str
    pause_seconds: float
    wait: str = ""
    verb: str = ""
    """What a client asks for that hangs up; which process of a plugin is sent a signal; what `rewire` writes; how
    `break-store`, `save` and `change-key` do it."""


def make_rounds(cast: Cast, seed: int, first: int = 0) -> Iterator[tuple[int, Sequence[Operation]]]:
    """The rounds of a seed, without end."""
    while True:
        yield first, make_round(cast, seed, first)
        first += 1


def make_round(cast: Cast, seed: int, number: int) -> list[Operation]:
    """What is done in one round: each client's operations, one after another."""
    dice = random.Random(f"{seed}:{number}")
    names = dice.sample(sorted(cast.plugins), PLUGINS_PER_ROUND)
    if watched := sorted(cast.plugins.keys() & {*WATCHED}):
        names[-1] = dice.choice(watched)
    operations = [Operation(client, "start", name, 0) for client, name in enumerate(names)]
    operations += [Operation(CLIENTS - 1, "start", name, 0) for name in ALWAYS if name in cast.plugins]
    for client in range(CLIENTS):
        for _ in range(OPERATIONS_PER_CLIENT):
            [kind] = dice.choices(list(cast.weights), list(cast.weights.values()))
            pause_seconds = dice.choice([0, 0, 0.01, 0.05, dice.random() * 0.2])
            wait, verb = dice.choice(["", "", "", "0", "0.3", "10"]), dice.choice(["start", "stop", "reload"])
            name = dice.choice(names)
            if kind in TARGETS:
                name = dice.choice(sorted(cast.plugins.keys() & {*TARGETS[kind]}) or names)
            operations.append(Operation(client, kind, name, pause_seconds, wait, verb))
    return operations
