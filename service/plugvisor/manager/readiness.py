"""Waits until a plugin works: its start is no longer queued, it runs, and its ready checks pass."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from plugvisor.engines.waiters import Waiters
from plugvisor.errors import StartFailed
from plugvisor.logs.marks import Mark
from plugvisor.manager.output_since import read_log
from plugvisor.models.health import Health
from plugvisor.models.process import Process, ProcessState

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugvisor.engines.engine import Engine
    from plugvisor.manager.checks.monitor import HealthMonitor
    from plugvisor.models.lifecycle import Check
    from plugvisor.models.manifest import Manifest

START_GRACE_SECONDS = 5.0
"""How much later than `startsecs` a process may be found running."""


class Readiness:
    """Waits for plugins; `waiters` are woken when a process or a health changes."""

    def __init__(self, engine: Engine, monitor: HealthMonitor) -> None:
        self.waiters = Waiters()
        self._engine = engine
        self._monitor = monitor

    async def wait(self, plugin_id: str, seconds: float, get_manifest: Callable[[], Manifest | None]) -> Process:
        """Wait until a plugin works, or the time is over; raises `StartFailed`.

        Args:
            get_manifest: returns the manifest that it is started from, once it was started.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        if self._engine.get(plugin_id).queued:
            await self._wait_for(plugin_id, lambda: not self._engine.get(plugin_id).queued, seconds)
            if (process := self._engine.get(plugin_id)).queued:
                return process
            await self._engine.wait_spawned(plugin_id)
        begin = self._engine.get(plugin_id).log_begin
        try:
            return await self._wait_started(plugin_id, deadline, get_manifest)
        except StartFailed as error:
            if begin is not None:
                error.log = await read_log(self._engine, plugin_id, Mark(*begin))
            raise

    async def _wait_started(
        self, plugin_id: str, deadline: float, get_manifest: Callable[[], Manifest | None]
    ) -> Process:
        loop = asyncio.get_running_loop()
        process = await self._engine.wait_running(plugin_id, max(0.0, deadline - loop.time()))
        manifest = get_manifest()
        if process.state is not ProcessState.RUNNING or not self.is_awaited(plugin_id, manifest):
            return process
        await self._wait_for(plugin_id, lambda: self._is_decided(plugin_id, manifest), max(0.0, deadline - loop.time()))
        if self._monitor.get(plugin_id) is Health.UNHEALTHY:
            raise StartFailed(f"it is unhealthy: {self._monitor.explain(plugin_id)}")
        # which raises if it has ended meanwhile
        return await self._engine.wait_running(plugin_id, 0)

    def is_awaited(self, plugin_id: str, manifest: Manifest | None) -> bool:
        """Whether a plugin has ready checks that have not all passed yet."""
        has_checks = manifest is not None and any(check.level == "ready" for check in manifest.checks.values())
        return has_checks and self._monitor.get(plugin_id) is not Health.HEALTHY

    async def _wait_for(self, plugin_id: str, condition: Callable[[], bool], timeout_seconds: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        while not condition() and (left := deadline - loop.time()) > 0:
            await self.waiters.wait(plugin_id, left)

    def _is_decided(self, plugin_id: str, manifest: Manifest | None) -> bool:
        is_running = self._engine.get(plugin_id).state is ProcessState.RUNNING
        health = self._monitor.get(plugin_id)
        return not is_running or health is Health.UNHEALTHY or not self.is_awaited(plugin_id, manifest)


def find_ready_seconds(manifest: Manifest) -> float:
    """How long the ready checks of a plugin may take until they have passed, or are down."""
    return max((_find_seconds(check) for check in manifest.checks.values() if check.level == "ready"), default=0.0)


def _find_seconds(check: Check) -> float:
    """How long a check may take until it has passed, or is down."""
    return check.startup + check.threshold * (check.period + check.timeout)


def find_start_seconds(manifest: Manifest | None) -> float:
    """How long a start may take until the process is running, and its ready checks have passed."""
    if manifest is None:
        return START_GRACE_SECONDS
    # a swarm shows a process as starting until its command of level `alive` has passed
    commands = [_find_seconds(check) for check in manifest.checks.values() if check.exec]
    return START_GRACE_SECONDS + max(manifest.supervisor.startsecs, find_ready_seconds(manifest), *commands)
