"""Random operations and faults, for a while; `scripts/chaos` does the same for as long as one likes."""

from __future__ import annotations

import os
import random

import pytest

from tests.supervisord.chaos import rounds_of, run

SECONDS = 20.0


@pytest.mark.parametrize("stock", [False, True], ids=["extended", "stock"])
def test_the_promises_hold(stock: bool) -> None:
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(1_000_000))
    print(f"CHAOS_SEED={seed}")  # noqa: T201 - shown where the test fails, and by -s
    result = run(stock=stock, rounds=rounds_of(seed), seconds=SECONDS)
    print(result)  # noqa: T201
    assert not result.violations, result.violations
    assert result.rounds
