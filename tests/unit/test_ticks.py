"""Waking up at the same moments."""

from __future__ import annotations

import asyncio

import pytest
from plugvisor.ticks import find_seconds_to_tick, sleep_until_tick


@pytest.mark.parametrize(("now", "seconds"), [(7.0, 1.0), (7.25, 0.75), (7.5, 0.5), (6.9999, 1.0001)])
def test_the_seconds_until_the_next_tick(now: float, seconds: float) -> None:
    assert find_seconds_to_tick(1.0, now) == pytest.approx(seconds)


def test_those_who_begin_at_different_times_wake_up_at_the_same() -> None:
    async def scenario() -> None:
        loop, ticks = asyncio.get_running_loop(), []

        async def look(delay: float) -> None:
            await asyncio.sleep(delay)
            await sleep_until_tick(0.5)
            ticks.append(round(loop.time() / 0.5))

        await asyncio.sleep(find_seconds_to_tick(0.5, loop.time()))
        await asyncio.gather(look(0.0), look(0.1))
        assert ticks[0] == ticks[1]

    asyncio.run(scenario())
