"""Random operations and faults, for a while; `scripts/chaos` does the same for as long as one likes."""

from __future__ import annotations

import os
import random

from tests.chaos.cast.cast import choose_cast
from tests.chaos.operations import make_rounds
from tests.chaos.run import run_rounds

SECONDS = 15.0


def test_the_promises_hold() -> None:
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(1_000_000))
    print(f"CHAOS_SEED={seed}")  # noqa: T201 - shown if the test fails, and by -s
    cast = choose_cast()
    result = run_rounds(cast, make_rounds(cast, seed), SECONDS)
    print(result)  # noqa: T201
    assert not result.violations, result.violations
    assert result.rounds
