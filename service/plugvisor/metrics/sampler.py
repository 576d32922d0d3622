"""Sampling the usage of plugins while clients ask for it, and for a while afterwards."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from plugvisor.errors import SupervisorUnavailable
from plugvisor.metrics.history import UsageHistory
from plugvisor.metrics.process_tree import ProcessTreeMeter, Usage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping

INTERVAL_SECONDS = 2.0
"""Time between two samples, which all clients share."""
CPU_SHARE = 0.006
"""The most of a core that sampling uses: a machine with thousands of processes is sampled less often."""
LINGER_SECONDS = 120.0
"""How long sampling continues after the last request: longer than the time between two Prometheus scrapes."""
FIRST_INTERVAL_SECONDS = 0.15
"""The time over which the first CPU usage after a pause is measured."""


@dataclass(frozen=True)
class UsageSample:
    """The usage of every plugin with a process at one instant."""

    at: float = 0.0
    """In seconds since 1970."""
    usages: Mapping[str, Usage] = field(default_factory=dict)
    cpu_seconds: Mapping[str, float] = field(default_factory=dict)
    """CPU time of each plugin since the service first sampled it, over all its processes; never decreases."""
    total_memory_bytes: int = 1
    """Memory of the machine."""
    pids: Mapping[str, int] = field(default_factory=dict)
    """The main processes that were sampled."""


class Sampler:
    """Takes samples in a thread.

    Args:
        find_pids: returns the main process of each plugin that has one; can raise `SupervisorUnavailable`.
    """

    def __init__(self, find_pids: Callable[[], Awaitable[Mapping[str, int]]]) -> None:
        self._find_pids = find_pids
        self._meter = ProcessTreeMeter()
        self._latest = UsageSample()
        self._histories: dict[str, UsageHistory] = {}
        self._names: Collection[str] = ()
        self._sampled_at = float("-inf")
        self._requested_at = float("-inf")
        self._interval_seconds = INTERVAL_SECONDS
        self._current: asyncio.Task[None] | None = None
        self._sampling: asyncio.Task[None] | None = None

    async def read(self) -> UsageSample:
        """Return the newest sample without processes that have ended since; a new one if it is old or lacks a process.

        Raises:
            SupervisorUnavailable
        """
        self._requested_at = time.monotonic()
        if self._sampling is None or self._sampling.done():
            self._sampling = asyncio.create_task(self._sample_repeatedly())
        pids = await self._find_pids()
        age_seconds = time.monotonic() - self._sampled_at
        has_new_process = any(self._latest.pids.get(name) != pid for name, pid in pids.items())
        if age_seconds > 2 * self._interval_seconds or (has_new_process and age_seconds > FIRST_INTERVAL_SECONDS):
            await self._sample()
            pids = await self._find_pids()
        latest = self._latest
        usages = {name: usage for name, usage in latest.usages.items() if pids.get(name) == usage.pid}
        return UsageSample(latest.at, usages, latest.cpu_seconds, latest.total_memory_bytes, pids)

    def list_history(self, name: str) -> Iterable[tuple[float, Usage]]:
        """Return the samples of a plugin, oldest first, each with its time in seconds since 1970."""
        return self._histories.get(name, ())

    def keep(self, names: Collection[str]) -> None:
        """Forget every plugin but these."""
        self._names = frozenset(names)
        self._histories = {name: history for name, history in self._histories.items() if name in names}

    async def close(self) -> None:
        """Stop sampling."""
        tasks = [task for task in (self._sampling, self._current) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _sample_repeatedly(self) -> None:
        while time.monotonic() - self._requested_at < LINGER_SECONDS:
            await asyncio.sleep(max(0.0, self._sampled_at + self._interval_seconds - time.monotonic()))
            try:
                await self._sample()
            except SupervisorUnavailable:
                await asyncio.sleep(self._interval_seconds)

    async def _sample(self) -> None:
        """Take a sample, or share the one that is being taken."""
        if self._current is None or self._current.done():
            self._current = asyncio.create_task(self._take_sample())
            # retrieve the exception, in case every waiter was cancelled
            self._current.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.shield(self._current)

    async def _take_sample(self) -> None:
        if time.monotonic() - self._sampled_at > 4 * self._interval_seconds:
            # otherwise CPU usage would be averaged over the whole pause
            await asyncio.to_thread(self._measure, await self._find_pids())
            # a client waits: the rest of the measurement was part of the interval
            await asyncio.sleep(max(0.0, self._meter.measured_at + FIRST_INTERVAL_SECONDS - time.monotonic()))
        pids = await self._find_pids()
        usages, cost_seconds = await asyncio.to_thread(self._measure, pids)
        # The id of a process that ended meanwhile can belong to another one.
        present = await self._find_pids()
        usages = {name: usage for name, usage in usages.items() if present.get(name) == usage.pid}
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
