"""Nothing that was answered is lost when the process is killed, whenever that is."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

from tests.helpers.waiting import DEADLINE_SECONDS

KILLS = 200
ROOT = Path(__file__).parents[3]


def test_two_hundred_kills_in_the_middle_of_ten_thousand_writes_lose_nothing(tmp_path: Path) -> None:
    seed = random.randrange(10**9)
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.killed_writers", tmp_path, str(KILLS), str(seed)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=10 * DEADLINE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"seed {seed}: {done.stderr}"
    result = json.loads(done.stdout)
    assert result["problems"] == [], f"seed {seed}"
    assert result["answered"] > 10 * KILLS
    assert not [name for name in result["files"] if "broken" in name]
