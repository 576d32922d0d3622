"""Promise 8: a plugin never starts before what it requires."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.chaos.faults import STOP_SECONDS, TRACES
from tests.chaos.promises.supervisord_log import SupervisordLog

if TYPE_CHECKING:
    from tests.chaos.activity import Activity
    from tests.chaos.promises.process_watcher import ProcessWatcher
    from tests.chaos.promises.supervisord_log import Launch
    from tests.helpers.stack import PlugvisorStack

ROUNDING_SECONDS = 0.01
"""supervisord logs times in milliseconds."""
DECISION_SECONDS = 1.5
"""How long before its start a plugin's dependency may have ended: its end was not known yet when the start began."""
REPEAT_SECONDS = 1.0
"""The longest delay before supervisord repeats a start that has failed, or restarts what has ended."""
DISTURBED_SECONDS = 5.0
"""How much longer if supervisord or the service was kept from working, or the machine has much else to do."""


class StartOrder:
    """Knows every launch from what supervisord prints, and from the plugins when they were ready.

    Two kinds of starts do not wait: a restart of what has ended by itself, and what supervisorctl starts. If
    supervisord repeats a start that has failed, it is the failed one that had to wait.
    """

    def __init__(self, stack: PlugvisorStack, activity: Activity, watcher: ProcessWatcher) -> None:
        self.checked = 0
        """How many starts had to wait for something."""
        self._folder = stack.root / TRACES
        self._activity = activity
        self._requirements = activity.requirements
        self._watcher = watcher
        self._log = SupervisordLog(stack.output_path)
        self._disturbances: list[tuple[float, float]] = []
        self._seen: dict[str, int] = {}
        watcher.on_look.append(self._look)

    def close(self) -> None:
        """Close the file."""
        self._log.close()

    def check(self) -> None:
        """Report each start since the last call that came too early."""
        self._look()
        for name in self._activity.plugins:
            launches = list(self._log.launches.get(name, ()))
            for number in range(self._seen.get(name, 0), len(launches)):
                self._check_start(name, launches[number], launches[number - 1] if number else None)
            self._seen[name] = len(launches)

    def _look(self) -> None:
        self._log.read()
        if self._activity.disturbed_until > time.monotonic():
            now = time.time()
            is_same = bool(self._disturbances) and self._disturbances[-1][1] > now
            began = self._disturbances.pop()[0] if is_same else now
            self._disturbances.append((began, now + DECISION_SECONDS))

    def _check_start(self, name: str, launch: Launch, before: Launch | None) -> None:
        at = launch.spawned
        required = self._requirements.list_certain(name, at)
        is_restart = before is not None and not before.was_stopped and not before.was_expected
        tolerance_seconds = DECISION_SECONDS
        if any(began - DISTURBED_SECONDS < at < ended for began, ended in self._disturbances):
            tolerance_seconds += DISTURBED_SECONDS
        tries = self._list_tries(name, launch, before, REPEAT_SECONDS + tolerance_seconds)
        if is_restart or any(self._requirements.was_overridden(name, one, DECISION_SECONDS) for one in tries):
            return
        if before is not None and before.ended is not None and at - before.ended < tolerance_seconds:
            tolerance_seconds += STOP_SECONDS + DECISION_SECONDS  # a reload, which began when it was stopped
        for one, condition in required.items():
            self.checked += 1
            if not any(self._was_met(one, condition, tried, tolerance_seconds) for tried in tries):
                known = self._log.launches.get(one, [])[-3:]
                self._watcher.report(f"8: {name!r} started at {at:.3f}, and {one!r} was not {condition}: {known}")

    def _list_tries(
        self, name: str, launch: Launch, before: Launch | None, longest_pause_seconds: float
    ) -> list[float]:
        """When it was launched, and when that had failed just before."""
        tries = [launch.spawned]
        for at in reversed(self._log.failures.get(name, ())):
            if before is not None and at < before.spawned:
                break
            if at <= tries[-1] and tries[-1] - at < longest_pause_seconds:
                tries.append(at)
        return tries

    def _was_met(self, name: str, condition: str, at: float, tolerance_seconds: float) -> bool:
        """Whether a condition was true of a plugin at that time, or had just been."""
        launches = [one for one in self._log.launches.get(name, ()) if one.spawned <= at + ROUNDING_SECONDS]
        if condition == "completed":
            last = max((one for one in launches if one.was_expected), key=lambda one: one.spawned, default=None)
            return last is not None and not any(
                last.spawned < one.spawned <= at - tolerance_seconds for one in launches
            )
        alive = [one for one in launches if one.ended is None or one.ended > at - tolerance_seconds]
        if condition == "ready":
            ready = self._read_ready(name, alive)
            return any(since <= at + ROUNDING_SECONDS for since in ready)
        return bool(alive)

    def _read_ready(self, name: str, launches: list[Launch]) -> list[float]:
        """When these launches were ready: by what the plugin wrote if it has a check, else when it was RUNNING."""
        if "[plugin_runtime.checks" not in self._activity.plugins[name].runtime:
            return [one.running for one in launches if one.running is not None]
        path = self._folder / name
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        pids = {one.pid: one.spawned for one in launches}
        return [float(at) for at, pid in lines if pids.get(int(pid), float(at)) < float(at)]
