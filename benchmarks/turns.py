"""Taking turns, so that whatever else the machine does hits every way alike."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Times = dict[str, list[float]]
"""What was measured by its name."""


def take_turns(
    ways: Mapping[str, Callable[[], Mapping[str, float]]], tries: int, seconds: float, least: int = 3
) -> dict[str, Times]:
    """Let several ways do the same in turn.

    Args:
        ways: each does it once and returns what it measured, by names.
        tries: how often each does it …
        seconds: … or for how long: a way that has used this up stays away …
        least: … but not before it has done it so often.

    Returns:
        by the ways' names.
    """
    measured: dict[str, Times] = {name: defaultdict(list) for name in ways}
    used = dict.fromkeys(ways, 0.0)
    for turn in range(tries):
        for name, way in ways.items():
            if turn >= least and used[name] >= seconds:
                continue
            began = time.perf_counter()
            for what, value in way().items():
                measured[name][what].append(value)
            used[name] += time.perf_counter() - began
    return measured
