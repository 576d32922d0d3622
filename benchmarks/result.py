"""The result of a measurement."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


@dataclass(frozen=True)
class Sample:
    """A summary of several measured values."""

    median: float
    """The mean, if the result's name says so."""
    worst: float | None
    """The 99th percentile, or the maximum of fewer than 100 values; None if it has no meaning."""
    count: int
    spread: float | None = None
    """Half of the interquartile range, as a fraction of the median; None of fewer than 4 values."""

    @classmethod
    def of(cls, values: Collection[float]) -> Sample:
        """Summarize durations, in any order."""
        ordered = sorted(values)
        worst = ordered[-1] if len(ordered) < 100 else ordered[int(len(ordered) * 0.99)]
        return cls(statistics.median(ordered), worst if len(ordered) > 1 else None, len(ordered), _spread(ordered))

    @classmethod
    def mean(cls, values: Collection[float]) -> Sample:
        """Summarize durations that are either short or long: the median would hide one of the two."""
        return cls(statistics.fmean(values), max(values), len(values))

    @classmethod
    def typical(cls, values: Collection[float]) -> Sample:
        """Summarize values of which a high one is not a bad one."""
        return cls(statistics.median(values), None, len(values), _spread(values))


@dataclass(frozen=True)
class Goal:
    """A limit that a result should keep: a maximum, or a minimum if more is better."""

    limit: float
    is_ratio: bool = False
    """It limits the ratio to the reference instead of the value."""


@dataclass(frozen=True)
class Result:
    """One row of the table: Plugvisor's value, and the reference's with the same number of plugins."""

    name: str
    plugins: int
    unit: str
    value: Sample
    reference_name: str = ""
    """Empty if there is nothing to compare with."""
    reference: Sample | None = None
    more_is_better: bool = False
    goal: Goal | None = None

    @property
    def ratio(self) -> float | None:
        """The value divided by the reference; None if there is no such number."""
        return self.value.median / self.reference.median if self.reference and self.reference.median else None

    @property
    def times_better(self) -> float | None:
        """How many times better than the reference it is; below 1 it is worse."""
        if not self.ratio or self.ratio < 0:  # the difference of two values that are the same but for noise
            return None
        return self.ratio if self.more_is_better else 1 / self.ratio

    @property
    def meets_goal(self) -> bool | None:
        """Whether the goal is met; None if there is no goal."""
        if self.goal is None:
            return None
        measured = self.ratio if self.goal.is_ratio else self.value.median
        if measured is None:
            return None
        return measured >= self.goal.limit if self.more_is_better else measured <= self.goal.limit


def _spread(values: Collection[float]) -> float | None:
    if len(values) < 4:
        return None
    lower, median, upper = statistics.quantiles(values, n=4)
    return (upper - lower) / 2 / median if median else None
