"""The end of everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.figure import Figure, Sample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.stage import Stage

MOST_PLUGINS = 1000
STOCK_MOST_PLUGINS = 10
"""A stock supervisord takes a second or more for each."""

STOCK = "stock supervisord"


def measure_shutdown(stage: Stage) -> Iterator[Figure]:
    """SIGTERM to supervisord until every process is gone. The stage is bare afterwards."""
    if stage.plugins > MOST_PLUGINS:
        return
    ours = Sample(stage.ours.terminate(), None, 1)
    stock = Sample(stage.stock.terminate(), None, 1) if stage.plugins <= STOCK_MOST_PLUGINS else None
    yield Figure("SIGTERM until everything is gone", stage.plugins, "s", ours, STOCK if stock else "", stock)
