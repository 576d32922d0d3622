"""What is done in a round, decided by the seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.chaos.swarm.cast import FAULTS, PLUGINS, READS, WEIGHTS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

CLIENTS = 10
OPERATIONS_PER_CLIENT = 20


@dataclass(frozen=True)
class Operation:
    """One thing that one client does."""

    client: int
    kind: str
    plugin_id: str
    pause_seconds: float
    wait: str = ""
    choice: float = 0.0
    """From 0 to 1: what a kind has to choose from, such as which read."""

    @property
    def verb(self) -> str:
        """What a client asks for that hangs up, or asks for many."""
        return ("start", "stop", "reload")[int(self.choice * 3)]

    @property
    def read(self) -> str:
        """The path of a read."""
        return READS[int(self.choice * len(READS))].format(id=self.plugin_id)


@dataclass(frozen=True)
class Fault:
    """What befalls the nodes or the service, once in a round."""

    kind: str
    after_seconds: float
    seconds: float
    choice: float
    """From 0 to 1: which node."""


@dataclass(frozen=True)
class Round:
    """A round's operations, each client's one after another, and its fault."""

    number: int
    operations: Sequence[Operation]
    fault: Fault


def make_rounds(seed: int, first: int = 0, faults: Collection[str] = tuple(FAULTS)) -> Iterator[Round]:
    """The rounds of a seed, without end.

    Args:
        faults: those kinds that may come.
    """
    number = first
    while True:
        yield make_round(seed, number, faults)
        number += 1


def make_round(seed: int, number: int, faults: Collection[str] = tuple(FAULTS)) -> Round:
    """One round of a seed."""
    dice = random.Random(f"{seed}:{number}")
    operations = [Operation(client, "start", name, 0.0) for client, name in enumerate(sorted(PLUGINS))]
    for client in range(CLIENTS):
        for _ in range(OPERATIONS_PER_CLIENT):
            [kind] = dice.choices(list(WEIGHTS), list(WEIGHTS.values()))
            operations.append(
                Operation(
                    client,
                    kind,
                    dice.choice(sorted(PLUGINS)),
                    dice.choice([0, 0.01, 0.05, dice.random() * 0.5]),
                    dice.choice(["", "", "", "0", "0.3", "10"]),
                    dice.random(),
                )
            )
    [kind] = dice.choices([*FAULTS], [FAULTS[name] if name in faults else 0 for name in FAULTS])
    fault = Fault(kind, dice.random() * 4, 2 + dice.random() * 7, dice.random())
    return Round(number, operations, fault)
