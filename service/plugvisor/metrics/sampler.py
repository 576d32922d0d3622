"""Takes samples of what plugins use, while somebody asks and for a while after that; else it costs nothing."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from plugvisor.errors import SupervisorUnavailable
from plugvisor.metrics.history import UsageHistory
from plugvisor.metrics.process_tree import FamilyMeter, Usage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping

INTERVAL_SECONDS = 2.0
"""Between two samples, which all who ask share."""
CPU_SHARE = 0.006
"""A machine with thousands of processes is sampled less often, so that sampling takes no more of a core than this."""
LINGER_SECONDS = 120.0
"""So long it goes on when nobody asks any more: longer than Prometheus waits between two scrapes."""
FIRST_INTERVAL_SECONDS = 0.25
"""What the first CPU figures after a sleep are measured over."""


@dataclass(frozen=True)
class UsageSample:
    """What every plugin with a living process used at one instant."""

    at: float = 0.0
    """Seconds since 1970."""
    usages: Mapping[str, Usage] = field(default_factory=dict)
    cpu_seconds: Mapping[str, float] = field(default_factory=dict)
    """CPU time of each plugin for as long as the service has known it, over all its processes; never less."""
    total_memory_bytes: int = 1
    """The machine's."""
    pids: Mapping[str, int] = field(default_factory=dict)
    """The main processes that were looked for."""


class Sampler:
    """Samples off the event loop, in a thread.

    Args:
        find_pids: tells the main process of each plugin that has one; may raise `SupervisorUnavailable`.
    """

    def __init__(self, find_pids: Callable[[], Awaitable[Mapping[str, int]]]) -> None:
        self._find_pids = find_pids
        self._meter = FamilyMeter()
        self._latest = UsageSample()
        self._histories: dict[str, UsageHistory] = {}
        self._names: Collection[str] = ()
        self._sampled_at = float("-inf")
        self._asked_at = float("-inf")
        self._interval_seconds = INTERVAL_SECONDS
        self._under_way: asyncio.Task[None] | None = None
        self._sampling: asyncio.Task[None] | None = None

    async def read(self) -> UsageSample:
        """The newest sample, without what has ended since; a new one where that is old or lacks a process.

        Raises:
            SupervisorUnavailable
        """
        self._asked_at = time.monotonic()
        if self._sampling is None or self._sampling.done():
            self._sampling = asyncio.create_task(self._go_on())
        pids = await self._find_pids()
        age_seconds = time.monotonic() - self._sampled_at
        is_new_there = any(self._latest.pids.get(name) != pid for name, pid in pids.items())
        if age_seconds > 2 * self._interval_seconds or (is_new_there and age_seconds > FIRST_INTERVAL_SECONDS):
            await self._sample()
            pids = await self._find_pids()
        latest = self._latest
        usages = {name: usage for name, usage in latest.usages.items() if pids.get(name) == usage.pid}
        return UsageSample(latest.at, usages, latest.cpu_seconds, latest.total_memory_bytes, pids)

    def list_history(self, name: str) -> Iterable[tuple[float, Usage]]:
        """What a plugin used, the oldest first, each with its time in seconds since 1970."""
        return self._histories.get(name, ())

    def keep(self, names: Collection[str]) -> None:
        """Forget every plugin but these, which are all there are."""
        self._names = frozenset(names)
        self._histories = {name: history for name, history in self._histories.items() if name in names}

    async def close(self) -> None:
        """Sample no more."""
        tasks = [task for task in (self._sampling, self._under_way) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _go_on(self) -> None:
        while time.monotonic() - self._asked_at < LINGER_SECONDS:
            await asyncio.sleep(max(0.0, self._sampled_at + self._interval_seconds - time.monotonic()))
            try:
                await self._sample()
            except SupervisorUnavailable:
                await asyncio.sleep(self._interval_seconds)

    async def _sample(self) -> None:
        """Take a sample; whoever wants one while it is taken shares it."""
        if self._under_way is None or self._under_way.done():
            self._under_way = asyncio.create_task(self._take())
            # where everyone who waited is gone, nobody else looks at how it ended
            self._under_way.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.shield(self._under_way)

    async def _take(self) -> None:
        if time.monotonic() - self._sampled_at > 4 * self._interval_seconds:
            # else CPU would be told over all the time that it slept
            await asyncio.to_thread(self._measure, await self._find_pids())
            await asyncio.sleep(FIRST_INTERVAL_SECONDS)
        pids = await self._find_pids()
        usages, cost_seconds = await asyncio.to_thread(self._measure, pids)
        # Who has ended meanwhile may have left its id to another process.
        still = await self._find_pids()
        usages = {name: usage for name, usage in usages.items() if still.get(name) == usage.pid}
        at = time.time()
        for name, usage in usages.items():
            self._histories.setdefault(name, UsageHistory()).append(at, usage)
        self._latest = UsageSample(at, usages, dict(self._meter.cpu_seconds), self._meter.total_memory_bytes, pids)
        self._sampled_at = time.monotonic()
        self._interval_seconds = max(INTERVAL_SECONDS, cost_seconds / CPU_SHARE)

    def _measure(self, pids: Mapping[str, int]) -> tuple[dict[str, Usage], float]:
        began = time.thread_time()
        self._meter.keep(self._names)
        return self._meter.measure(pids), time.thread_time() - began
