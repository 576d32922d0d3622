"""Several runs at the same time, each in a process of its own."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

from tests.chaos.cast.cast import choose_cast
from tests.chaos.operations import make_rounds
from tests.chaos.run import Result, run_rounds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.synchronize import Event

_is_over: Event


def run_side_by_side(
    seeds: Sequence[int], first_round: int, seconds: float, without: Sequence[str], users: Sequence[str]
) -> dict[int, Result]:
    """Play each seed's rounds on a Plugvisor of its own; a broken promise on one ends all."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(seeds), context, _initialize, (context.Event(),)) as pool:
        futures = {seed: pool.submit(_run, seed, first_round, seconds, without, users) for seed in seeds}
        return {seed: future.result() for seed, future in futures.items()}


def _initialize(is_over: Event) -> None:
    """Share the event that ends every run with a worker."""
    global _is_over  # noqa: PLW0603 - a worker's initializer has no other way
    _is_over = is_over


def _run(seed: int, first_round: int, seconds: float, without: Sequence[str], users: Sequence[str]) -> Result:
    def report(line: str) -> None:
        print(f"seed {seed}, {line}", flush=True)  # noqa: T201 - a command prints

    cast = choose_cast(without)
    result = run_rounds(cast, make_rounds(cast, seed, first_round), seconds, report, _is_over.is_set, users=users)
    if result.violations:
        _is_over.set()
    return result
