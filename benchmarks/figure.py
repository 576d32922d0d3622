"""What comes out of a measurement."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


@dataclass(frozen=True)
class Sample:
    """Several tries of the same, summed up."""

    median: float
    """Or the mean, where what is measured says so."""
    worst: float | None
    """The 99th percentile, of fewer than 100 tries the maximum; None where only the median means something."""
    tries: int

    @classmethod
    def of(cls, values: Collection[float]) -> Sample:
        """Sum up times, in any order."""
        ordered = sorted(values)
        worst = ordered[-1] if len(ordered) < 100 else ordered[int(len(ordered) * 0.99)]
        return cls(statistics.median(ordered), worst if len(ordered) > 1 else None, len(ordered))

    @classmethod
    def average(cls, values: Collection[float]) -> Sample:
        """Sum up times that are either short or long, of which the median would show the one or the other."""
        return cls(statistics.fmean(values), max(values), len(values))

    @classmethod
    def typical(cls, values: Collection[float]) -> Sample:
        """Sum up values of which a high one is not a bad one."""
        return cls(statistics.median(values), None, len(values))


@dataclass(frozen=True)
class Figure:
    """One line of the table: ours beside the same done another way, with the same number of plugins."""

    what: str
    plugins: int
    unit: str
    ours: Sample
    beside: str = ""
    """The other way; empty where there is none to compare with."""
    other: Sample | None = None
    more_is_better: bool = False

    @property
    def ratio(self) -> float | None:
        """Ours divided by the other; None where that cannot be."""
        return self.ours.median / self.other.median if self.other and self.other.median else None

    @property
    def times_better(self) -> float | None:
        """How many times better ours is; below 1 it is worse."""
        if not self.ratio:
            return None
        return self.ratio if self.more_is_better else 1 / self.ratio
