"""Makes the checks of every plugin that has some, and keeps its health.

A check waits with a timer of the event loop, and each attempt is a task. A plugin without checks has neither.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from typing import TYPE_CHECKING

from plugvisor.errors import NotSupported, PlugvisorError, SupervisorUnavailable
from plugvisor.manager.checks.attempt import make_attempt
from plugvisor.manager.checks.check_state import CheckReport, CheckState, LaunchChecks, has_checks_now
from plugvisor.models.health import CheckStatus
from plugvisor.models.process import NEVER_ADDED, ProcessState

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from plugvisor.engines.engine import Engine
    from plugvisor.models.health import Health
    from plugvisor.models.lifecycle import Check
    from plugvisor.models.manifest import Manifest
    from plugvisor.models.process import Process

logger = logging.getLogger(__name__)

MOST_CONNECTIONS = 64
"""So many `http` and `tcp` attempts are made at once; each may wait as long as its timeout."""
MOST_COMMANDS = 8
"""So many `exec` attempts are made at once; each is a process."""


class HealthMonitor:
    """Checks plugins from `open` to `close`.

    It decides nothing while the engine does not answer: no attempt is made, and the end of one is ignored.

    Args:
        get_manifest: returns the manifest that a plugin's present process was started from, as far as is known.
    """

    def __init__(self, engine: Engine, get_manifest: Callable[[str], Manifest | None]) -> None:
        self.healths: dict[str, Health] = {}
        """The health of each plugin that has checks and a process."""
        self.failures: Counter[tuple[str, str]] = Counter()
        """By plugin and check, how many failures have counted."""
        self.on_change: list[Callable[[str], object]] = []
        """Called with the id of a plugin whose health, or what is down, has changed without a change of its process."""
        self._engine = engine
        self._get_manifest = get_manifest
        self._launches: dict[str, LaunchChecks] = {}
        self._others: dict[str, int] = {}  # by plugin, the launch whose checks are not those of its manifest
        self._timers: dict[CheckState, asyncio.TimerHandle] = {}
        self._attempts: dict[CheckState, asyncio.Task[None]] = {}
        self._connections = asyncio.Semaphore(MOST_CONNECTIONS)
        self._commands = asyncio.Semaphore(MOST_COMMANDS)

    def open(self) -> None:
        """Begin to follow the engine's processes."""
        self._engine.on_change.append(self._on_process)
        self._on_process(None)

    async def close(self) -> None:
        """Make no more attempts."""
        self._engine.on_change.remove(self._on_process)
        attempts = list(self._attempts.values())
        for plugin_id in list(self._launches):
            self._end(plugin_id)
        await asyncio.gather(*attempts, return_exceptions=True)

    def keep(self, plugin_ids: Collection[str]) -> None:
        """Forget the failures of plugins that are gone."""
        for plugin_id, name in [key for key in self.failures if key[0] not in plugin_ids]:
            del self.failures[plugin_id, name]
        for plugin_id in self._others.keys() - set(plugin_ids):
            del self._others[plugin_id]

    # -- what is known

    def get(self, plugin_id: str) -> Health | None:
        """A plugin's health; None if it has no checks or no process."""
        return self.healths.get(plugin_id)

    def is_ready(self, plugin_id: str) -> bool:
        """Whether a plugin's `ready` checks are up, or it is RUNNING and has none; raises `SupervisorUnavailable`."""
        process = self._engine.get(plugin_id)
        self._follow(plugin_id)  # who asks may have been told of a change before this was
        launch = self._launches.get(plugin_id)
        is_ready = launch.is_ready if launch is not None else None
        return process.state is ProcessState.RUNNING if is_ready is None else is_ready

    def list_checks(self, plugin_id: str) -> list[CheckReport]:
        """Each check of a plugin's process."""
        launch = self._launches.get(plugin_id)
        return [state.report() for state in launch.states] if launch is not None else []

    def explain(self, plugin_id: str) -> str:
        """Why a plugin is not healthy: the first check that is down, else the first that has not passed; or ""."""
        launch = self._launches.get(plugin_id)
        for status in (CheckStatus.DOWN, CheckStatus.STARTING):
            for state in launch.states if launch is not None else ():
                if state.status is status and state.last_error:
                    return state.describe()
        return ""

    # -- which launches are checked

    def _on_process(self, plugin_id: str | None) -> None:
        if plugin_id is not None and plugin_id not in self._launches and not self._find_checks(plugin_id):
            return
        with contextlib.suppress(SupervisorUnavailable):  # it has just fallen silent
            for name in [plugin_id] if plugin_id is not None else {*self._launches, *self._engine.read()}:
                self._follow(name)

    def _find_checks(self, plugin_id: str) -> Mapping[str, Check]:
        manifest = self._get_manifest(plugin_id)
        return manifest.checks if manifest is not None else {}

    def follow(self, plugin_id: str) -> None:
        """Have a plugin's checks be those of its process, after its manifest was replaced; see `Engine.read`."""
        before = self.get(plugin_id)
        self._follow(plugin_id)
        if self.get(plugin_id) is not before:
            for callback in self.on_change:
                callback(plugin_id)

    def _follow(self, plugin_id: str) -> None:
        """Have the checks of a plugin be those of its present process."""
        process = self._engine.read().get(plugin_id, NEVER_ADDED)
        launch = self._launches.get(plugin_id)
        if launch is not None:
            if launch.is_of(process):
                return
            self._end(plugin_id)
        if has_checks_now(process) and (checks := self._find_checks(plugin_id)) and self._has_them(plugin_id, process):
            launch = self._launches[plugin_id] = LaunchChecks(plugin_id, process, checks)
            self.healths[plugin_id] = launch.health
            for state in launch.states:
                self._wait(launch, state, state.find_delay())

    def _has_them(self, plugin_id: str, process: Process) -> bool:
        """Whether a process was launched with the checks that are known of its plugin.

        After a restart of the service, or a restart by the engine, they may be those of a manifest that was changed
        since. They would end a process that does not know them.
        """
        manifest = self._get_manifest(plugin_id)
        if manifest is None or process.checks_digest in (None, manifest.checks_digest):
            return True
        if self._others.get(plugin_id) != process.launches:
            logger.warning("%r was started with other checks than its manifest has; reload it", plugin_id)
            self._others[plugin_id] = process.launches
        return False

    def _end(self, plugin_id: str) -> None:
        launch = self._launches.pop(plugin_id)
        del self.healths[plugin_id]
        for state in launch.states:
            if timer := self._timers.pop(state, None):
                timer.cancel()
            if attempt := self._attempts.pop(state, None):
                attempt.cancel()

    # -- attempts

    def _wait(self, launch: LaunchChecks, state: CheckState, seconds: float) -> None:
        self._timers[state] = asyncio.get_running_loop().call_later(seconds, self._begin, launch, state)

    def _begin(self, launch: LaunchChecks, state: CheckState) -> None:
        del self._timers[state]
        if self._engine.is_live:
            self._attempts[state] = asyncio.create_task(self._attempt(launch, state))
        else:
            self._wait(launch, state, state.find_delay())

    async def _attempt(self, launch: LaunchChecks, state: CheckState) -> None:
        try:
            async with self._commands if state.check.exec else self._connections:
                began = asyncio.get_running_loop().time()
                failure = await make_attempt(self._engine, launch.plugin_id, launch.launches, state.name, state.check)
            if failure is not None and self._is_present(launch):
                self._record(launch, state, failure)
                if state.status is CheckStatus.DOWN and not state.is_acted_on:
                    await self._act(launch, state)
        except NotSupported as error:
            if state.is_possible:
                state.note_impossible(str(error))
                logger.warning("%r: %s", launch.plugin_id, state.describe())
        except Exception:
            logger.exception("cannot check %r of %r", state.name, launch.plugin_id)
            began = asyncio.get_running_loop().time()
        if self._attempts.pop(state, None) is not None:  # else the launch has just ended
            spent = asyncio.get_running_loop().time() - began
            self._wait(launch, state, max(0.0, state.find_delay() - spent))

    def _is_present(self, launch: LaunchChecks) -> bool:
        """Whether a launch is still the present one, as far as can be known now."""
        return self._engine.is_live and launch.is_of(self._engine.read().get(launch.plugin_id, NEVER_ADDED))

    def _record(self, launch: LaunchChecks, state: CheckState, failure: str) -> None:
        before = launch.verdict
        # 0 counts too: Prometheus sees an increase only of a counter that it knows
        self.failures[launch.plugin_id, state.name] += bool(failure and state.failures_count)
        if state.record(failure):
            if state.status is CheckStatus.DOWN:
                logger.warning("%r: %s; it is down", launch.plugin_id, state.describe())
            else:
                logger.info("%r: check %r passes", launch.plugin_id, state.name)
        if launch.verdict != before:
            self.healths[launch.plugin_id] = launch.health
            for callback in self.on_change:
                callback(launch.plugin_id)

    async def _act(self, launch: LaunchChecks, state: CheckState) -> None:
        """Have the engine do what the manifest says of a check that is down."""
        state.is_acted_on = True
        if state.check.action == "none":
            return
        try:
            await self._engine.end(
                launch.plugin_id,
                launch.launches,
                state.describe(),
                "always" if state.check.action == "restart" else "never",
            )
        except SupervisorUnavailable:
            state.is_acted_on = False  # the next failure does it
        except PlugvisorError as error:
            logger.error("cannot end %r: %s", launch.plugin_id, error)
