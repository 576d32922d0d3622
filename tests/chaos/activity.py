"""What is being done to each plugin, from which follows what may be alive."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.chaos.requirements import Requirements

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tests.chaos.cast.plugins import Behaviour

RECOVERY_SECONDS = 5.0
"""How long after a disturbance supervisord and the service may need to catch up."""


@dataclass
class _Record:
    """What was done to one plugin since the round began."""

    starts: int = 0
    """How often something was begun that may start it."""
    starting: int = 0
    """How many of them are not known to have ended."""
    may_start: bool = False
    """Something is under way that may start it, and nobody will learn its end, until the round is over."""
    may_take_long: bool = False
    """Something is under way that may delay other operations on it, likewise."""
    must_be_gone: bool = False
    changes: int = 0
    """How often something was begun that may change it."""
    under_way: int = 0
    was_running: bool = False
    may_be_stopped: bool = False
    """Since the round began, something was done after which it need not run."""
    must_follow: Mapping[str, int] | None = None
    """It was queued, and must run at rest if these plugins are changed no more: how often they had been."""


@dataclass
class Interval:
    """What had been done to a plugin when an operation on it began."""

    starts: int
    starting: int
    changes: int
    is_alone: bool
    began: float = field(default_factory=time.monotonic)
    required: Mapping[str, int] | None = None
    """How often what it requires had been changed, if nothing else was being done to it or to them."""


class Activity:
    """Kept by the clients, read by the process watcher; every method may be called by any thread."""

    def __init__(self, plugins: Mapping[str, Behaviour]) -> None:
        self.plugins = plugins
        self._disturbances = 0
        self._disturbed_until = self._starved_until = 0.0
        self._records = {name: _Record() for name in plugins}
        self._lock = threading.RLock()
        self.requirements = Requirements(plugins)

    def begin_round(self, running: Iterable[str]) -> None:
        """Nothing is under way, all have recovered, and `running` are the plugins that run."""
        running = set(running)
        with self._lock:
            self._disturbed_until = self._starved_until
            for name, record in self._records.items():
                record.may_start = record.may_be_stopped = record.may_take_long = False
                record.must_follow = None
                record.was_running = name in running

    @contextlib.contextmanager
    def doing(
        self, name: str, *, starts: bool = False, stops: bool = False, dependents: bool = False
    ) -> Iterator[Interval]:
        """While something is done to a plugin that may start it, and what it requires, or stop it.

        Args:
            dependents: it may stop those that require it, too.
        """
        closure = self.requirements.closures[name] if starts else set()
        with contextlib.ExitStack() as stack:
            for other in closure:
                stack.enter_context(self._doing(other, starts=True, stops=False))
            for other in self.requirements.dependents[name] if dependents else ():
                stack.enter_context(self._doing(other, starts=False, stops=stops))
            interval = stack.enter_context(self._doing(name, starts=starts, stops=stops))
            with self._lock:
                records = [self._records[one] for one in closure]
                if interval.is_alone and all(one.under_way == 1 and not one.may_take_long for one in records):
                    interval.required = {one: self._records[one].changes for one in closure}
            yield interval

    @contextlib.contextmanager
    def _doing(self, name: str, *, starts: bool, stops: bool) -> Iterator[Interval]:
        with self._lock:
            record = self._records[name]
            record.changes += 1
            record.under_way += 1
            is_alone = record.under_way == 1 and not record.may_take_long
            interval = Interval(record.starts, record.starting, record.changes, is_alone)
            record.may_be_stopped |= stops
            if starts:
                record.starts += 1
                record.starting += 1
                record.must_be_gone = False
        try:
            yield interval
        finally:
            with self._lock:
                record.under_way -= 1
                record.starting -= starts

    @contextlib.contextmanager
    def doing_all(self, *, starts: bool) -> Iterator[None]:
        """While something is done that may stop, or start, any plugin."""
        with contextlib.ExitStack() as stack:
            for name in self.plugins:
                stack.enter_context(self._doing(name, starts=starts, stops=True))
            yield

    @contextlib.contextmanager
    def disturbing(self) -> Iterator[None]:
        """While the test itself keeps supervisord or the service from working, and for a while after that."""
        with self._lock:
            self._disturbances += 1
        try:
            yield
        finally:
            with self._lock:
                self._disturbances -= 1
                self._disturbed_until = time.monotonic() + RECOVERY_SECONDS

    def note_disturbed(self) -> None:
        """A plugin has just kept supervisord or the service from working."""
        with self._lock:
            self._disturbed_until = time.monotonic() + RECOVERY_SECONDS

    def note_starved(self) -> None:
        """The machine has so much else to do that nobody can be prompt."""
        with self._lock:
            self._disturbed_until = self._starved_until = time.monotonic() + RECOVERY_SECONDS

    @property
    def disturbed_until(self) -> float:
        """Until when, on the monotonic clock, supervisord and the service have an excuse."""
        return math.inf if self._disturbances else self._disturbed_until

    @property
    def starved_until(self) -> float:
        """Until when, on the monotonic clock, nobody can be prompt."""
        return self._starved_until

    def forget_end(self, *names: str, may_start: bool = True) -> None:
        """Nobody will learn how an operation on these ends, and on what they require if it may start them."""
        with self._lock:
            for name in {*names}.union(*(self.requirements.closures[name] for name in names if may_start)):
                record = self._records[name]
                record.may_take_long = True
                record.may_start |= may_start
                record.must_be_gone &= not may_start
                # a start or reload that waits for what it requires may fail with that
                record.may_be_stopped |= may_start and bool(self.requirements.closures[name])

    def note_unsettled(self, name: str, interval: Interval, *, must_follow: bool) -> None:
        """A start or reload was answered, and not with 200: the plugin may run or not, and what it requires too.

        Args:
            must_follow: it runs at rest, unless something else is done to any of them.
        """
        with self._lock:
            for one in (name, *self.requirements.closures[name]):
                record = self._records[one]
                record.may_take_long = record.may_be_stopped = True
                record.must_be_gone = False
            if must_follow and interval.required is not None:
                self._records[name].must_follow = {**interval.required, name: interval.changes}

    def forget_all_ends(self) -> None:
        """The service is killed: nobody will learn how anything under way ends."""
        with self._lock:
            self.forget_end(*(name for name, record in self._records.items() if record.under_way))

    def note_stopped(self, name: str, interval: Interval) -> None:
        """A stop was answered with 200: nothing of the plugin may be alive, unless something may have started it."""
        with self._lock:
            record = self._records[name]
            nothing_started = not interval.starting and record.starts == interval.starts
            if nothing_started and not record.starting and not record.may_start:
                record.must_be_gone = True

    def was_alone(self, name: str, interval: Interval) -> bool:
        """Whether nothing else was done to a plugin since `interval`, nor to supervisord or the service."""
        with self._lock:
            record = self._records[name]
            is_same = record.changes == interval.changes and not record.may_take_long
            return is_same and interval.is_alone and self.disturbed_until < interval.began

    def must_run(self, name: str) -> bool:
        """Whether a plugin ran when the round began, or was queued, and nothing was done that could end it for good."""
        with self._lock:
            record = self._records[name]
            if record.must_follow is not None and all(
                self._records[one].changes == changes for one, changes in record.must_follow.items()
            ):
                return True
            return record.was_running and not record.may_be_stopped and self.plugins[name].runs_until_stopped

    def list_gone(self) -> dict[str, int]:
        """The plugins of which nothing may be alive, for `is_still_gone`."""
        with self._lock:
            return {name: record.starts for name, record in self._records.items() if record.must_be_gone}

    def is_still_gone(self, name: str, gone: dict[str, int]) -> bool:
        """Whether that holds to this moment."""
        with self._lock:
            record = self._records[name]
            return record.must_be_gone and gone.get(name) == record.starts
