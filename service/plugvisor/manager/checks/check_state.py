"""One check of one launch: its verdict, and when the next attempt is due."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plugvisor.models.health import CheckStatus, Health
from plugvisor.models.process import ProcessState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plugvisor.models.lifecycle import Check, Level
    from plugvisor.models.process import Process

FIRST_SECONDS = 0.1
"""The first attempt comes so soon after the start, each further one after twice the time, until the first success."""
JITTER = 0.1
"""By which part of the period an attempt may come sooner: checks that began together do not stay together."""


@dataclass(frozen=True)
class CheckReport:
    """A check as it is now."""

    name: str
    level: Level
    status: CheckStatus
    failures: int
    """In a row; those during `startup` do not count."""
    last_error: str
    """Why the last attempt failed; empty if it passed or there was none."""
    at: float | None
    """When the last attempt ended, in seconds since 1970."""


class CheckState:
    """One check of one launch.

    Args:
        started: when the process was started, on the monotonic clock.
    """

    def __init__(self, name: str, check: Check, started: float) -> None:
        self.name = name
        self.check = check
        self.status = CheckStatus.STARTING
        self.failures = 0
        self.last_error = ""
        self.is_possible = True
        self.at: float | None = None
        self.is_acted_on = False
        """Since it has gone down, what the manifest says of that was done."""
        self._startup_ends = started + check.startup
        self._attempts = 0

    @property
    def failures_count(self) -> bool:
        """Whether a failure counts: the check has passed, or the time for that is over."""
        return self.status is not CheckStatus.STARTING or time.monotonic() >= self._startup_ends

    def record(self, failure: str) -> bool:
        """Record the end of an attempt; returns whether the status has changed.

        Args:
            failure: why it failed; empty if it passed.
        """
        before = self.status
        self._attempts += 1
        self.at = time.time()
        self.last_error, self.is_possible = failure, True
        if not failure:
            self.failures, self.status, self.is_acted_on = 0, CheckStatus.UP, False
        elif self.failures_count:
            self.failures += 1
            if self.failures >= self.check.threshold:
                self.status = CheckStatus.DOWN
        return self.status is not before

    def note_impossible(self, why: str) -> None:
        """No attempt can be made here, which says nothing of the plugin; the next one is due after a period."""
        self._attempts = max(self._attempts, 30)
        self.at, self.last_error, self.is_possible = time.time(), why, False

    def find_delay(self) -> float:
        """In how many seconds from the last attempt the next one is due."""
        if self._attempts and self.failures_count:
            return self.check.period * random.uniform(1 - JITTER, 1)  # noqa: S311 - no secret
        return min(self.check.period, FIRST_SECONDS * 2.0 ** min(self._attempts, 30))

    def describe(self) -> str:
        """Why it is not up, for a person."""
        return f"check {self.name!r} {'failed' if self.is_possible else 'cannot be made'}: {self.last_error}"

    def report(self) -> CheckReport:
        """The check as it is now."""
        return CheckReport(self.name, self.check.level, self.status, self.failures, self.last_error, self.at)


class LaunchChecks:
    """The checks of one launch of a plugin."""

    def __init__(self, plugin_id: str, process: Process, checks: Mapping[str, Check]) -> None:
        self.plugin_id = plugin_id
        self.launches = process.launches
        self.states = [CheckState(name, check, process.started) for name, check in checks.items()]
        self._started = process.started
        self._ready = [state for state in self.states if state.check.level == "ready"]

    def is_of(self, process: Process) -> bool:
        """Whether a process is the one of this launch; launches are counted anew by a supervisord that restarts."""
        return has_checks_now(process) and (process.launches, process.started) == (self.launches, self._started)

    @property
    def health(self) -> Health:
        """The plugin's health by its checks."""
        if any(state.status is CheckStatus.DOWN for state in self.states):
            return Health.UNHEALTHY
        is_passed = all(state.status is CheckStatus.UP for state in self._ready or self.states)
        return Health.HEALTHY if is_passed else Health.STARTING

    @property
    def is_ready(self) -> bool | None:
        """Whether all ready checks are up; None if there is none."""
        return all(state.status is CheckStatus.UP for state in self._ready) if self._ready else None

    @property
    def verdict(self) -> tuple[object, ...]:
        """All that others know of the checks; a change of it is announced."""
        return self.health, self.is_ready, *(state.name for state in self.states if state.status is CheckStatus.DOWN)


def has_checks_now(process: Process) -> bool:
    """Whether a process is in a state in which it is checked."""
    return process.pid != 0 and process.state in (ProcessState.STARTING, ProcessState.RUNNING)
