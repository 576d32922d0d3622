"""The service, or everything, is killed at any moment of an update: one whole version is left, and goes on.

CHAOS_KILLS=200 CHAOS_POWER_CUTS=50 makes as many, half of them with environments; CHAOS_SEED repeats a run.
"""

from __future__ import annotations

import os
import random

import pytest

from tests.chaos.updates.kills import Victim, run_kills

KILLS = int(os.environ.get("CHAOS_KILLS", "24"))
POWER_CUTS = int(os.environ.get("CHAOS_POWER_CUTS", "6"))


@pytest.mark.parametrize("environment", [False, True], ids=["no environment", "an environment"])
@pytest.mark.parametrize("victim", ["the service", "everything", "supervisord"])
def test_one_whole_version_is_left(victim: Victim, environment: bool) -> None:
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(1_000_000))
    print(f"CHAOS_SEED={seed}")  # noqa: T201 - shown if the test fails, and by -s
    count = {"the service": KILLS, "everything": POWER_CUTS, "supervisord": POWER_CUTS // 3}[victim] // 2
    killer = run_kills(victim, count, random.Random(seed), environment=environment)
    print(f"{victim}, {killer.length_seconds:.2f} s an update: {dict(killer.outcomes)}")  # noqa: T201
    assert killer.outcomes.total() == count
