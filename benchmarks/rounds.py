"""Alternating rounds: whatever else the machine does meanwhile affects every method alike."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Values = dict[str, list[float]]
"""What each round measured, by name."""


def run_alternately(
    methods: Mapping[str, Callable[[], Mapping[str, float]]], rounds: int, seconds: float, minimum: int = 3
) -> dict[str, Values]:
    """Run several methods one after another, again and again.

    Args:
        methods: each runs once and returns what it measured, by name.
        rounds: at most this many rounds.
        seconds: a method that has used this much time is left out of further rounds,
        minimum: but not before it has run this many times.

    Returns:
        the values by the methods' names.
    """
    measured: dict[str, Values] = {name: defaultdict(list) for name in methods}
    used = dict.fromkeys(methods, 0.0)
    for number in range(rounds):
        for name, method in methods.items():
            if number >= minimum and used[name] >= seconds:
                continue
            began = time.perf_counter()
            for what, value in method().items():
                measured[name][what].append(value)
            used[name] += time.perf_counter() - began
    return measured


def time_call(call: Callable[[], object]) -> float:
    """Call it; returns the milliseconds that it took."""
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000
