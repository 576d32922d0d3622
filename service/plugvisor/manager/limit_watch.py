"""Ends plugins that exceed a limit which the system does not enforce.

A plugin is measured each second while it runs and has such a limit; without one nothing is.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plugvisor.errors import PlugvisorError, SupervisorUnavailable
from plugvisor.metrics.tree_size import measure_tree
from plugvisor.models.process import STARTED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from plugvisor.engines.engine import Engine
    from plugvisor.metrics.tree_size import TreeSize
    from plugvisor.models.process import Process

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 1.0
CONFIRM_SECONDS = 0.25
"""How soon a plugin above its limit is measured again."""
SAMPLES = 2
"""How often in a row a plugin must be above its limit: what it holds for a moment does not count."""
REASONS = {"memory": "memory limit", "processes": "processes limit"}
"""Why a process was ended, as `last_exit` has it, by the limit."""


@dataclass(frozen=True, slots=True)
class _Watched:
    pid: int
    launches: int
    limits: Mapping[str, int]


class LimitWatch:
    """Follows the processes of an engine from `open` to `close`.

    Args:
        measure: measures the tree of a process, given a limit of memory; it is called in a thread.
    """

    def __init__(self, engine: Engine, measure: Callable[[int, int], TreeSize | None] = measure_tree) -> None:
        self._engine = engine
        self._measure = measure
        self._watched: dict[str, _Watched] = {}
        self._above: dict[tuple[str, int], int] = {}  # how often in a row, by plugin and launch
        self._ended: dict[str, _Watched] = {}  # the processes that are being ended
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to follow the processes."""
        self._engine.on_change.append(self._on_change)
        self._on_change(None)

    async def close(self) -> None:
        """Follow them no more."""
        self._engine.on_change.remove(self._on_change)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def is_measuring(self) -> bool:
        """Whether any plugin is measured."""
        return self._task is not None

    def _on_change(self, plugin_id: str | None) -> None:
        try:
            processes = self._engine.read()
        except SupervisorUnavailable:
            return  # nothing can be ended now
        if plugin_id is None:
            self._watched = {name: found for name, process in processes.items() if (found := _find_watched(process))}
        elif plugin_id in processes and (found := _find_watched(processes[plugin_id])):
            self._watched[plugin_id] = found
        else:
            self._watched.pop(plugin_id, None)
        if self._watched and self._task is None:
            self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        try:
            while self._watched:
                await asyncio.sleep(CONFIRM_SECONDS if self._above else INTERVAL_SECONDS)
                try:
                    await self._check()
                except Exception:
                    logger.exception("plugins cannot be measured")
        finally:
            self._task = None

    async def _check(self) -> None:
        watched = {name: one for name, one in self._watched.items() if self._ended.get(name) != one}
        exceeded = await asyncio.to_thread(self._find_exceeded, watched)
        above = {(name, watched[name].launches): key for name, key in exceeded.items()}
        self._above = {launch: self._above.get(launch, 0) + 1 for launch in above}
        self._ended = {name: one for name, one in self._ended.items() if name in self._watched}
        for (name, launches), key in above.items():
            if self._above[name, launches] < SAMPLES or self._watched.get(name) != watched[name]:
                continue
            try:
                await self._engine.end(name, launches, REASONS[key], "policy")
            except SupervisorUnavailable:
                continue  # it is measured again
            except PlugvisorError as error:
                logger.warning("plugin %r exceeds its limit of %s and cannot be ended: %s", name, key, error)
            else:
                self._ended[name] = watched[name]
                del self._above[name, launches]
                logger.warning("plugin %r was ended: it exceeded its limit of %s", name, key)

    def _find_exceeded(self, watched: Mapping[str, _Watched]) -> dict[str, str]:
        """The first limit that each plugin exceeds."""
        exceeded = {}
        for name, process in watched.items():
            size = self._measure(process.pid, process.limits.get("memory", 0))
            for key, limit in process.limits.items():
                if size is not None and getattr(size, key) > limit:
                    exceeded[name] = key
                    break
        return exceeded


def _find_watched(process: Process) -> _Watched | None:
    if process.limits is None or not process.limits.watched or process.state not in STARTED:
        return None
    return _Watched(
        process.pid, process.launches, {key: getattr(process.limits, key) for key in process.limits.watched}
    )
