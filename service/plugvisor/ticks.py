"""Waking up together: what looks at something from time to time does so at the same moments as all others."""

from __future__ import annotations

import asyncio

_SHORTEST = 0.1
"""The shortest sleep, as a part of the interval: a timer may be a moment early."""


async def sleep_until_tick(interval_seconds: float) -> None:
    """Sleep until the event loop's clock is next at a multiple of the interval.

    A process that wakes up once for everything needs much less CPU at rest than one that does so for each.
    """
    await asyncio.sleep(find_seconds_to_tick(interval_seconds, asyncio.get_running_loop().time()))


def find_seconds_to_tick(interval_seconds: float, now: float) -> float:
    """The seconds until the next multiple of the interval; a little more than the interval if that is too soon."""
    left = interval_seconds - now % interval_seconds
    return left if left > interval_seconds * _SHORTEST else left + interval_seconds
