"""What is being done to each plugin, from which follows what may be alive, and what must run at rest."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.chaos.swarm.cast import PLUGINS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SETTLE_SECONDS = 30.0
"""How long after the end of a fault everything may take to be as it should."""
STARVED_SECONDS = 5.0
"""How long nobody can be prompt after the machine was seen to have too much else to do."""
BY_HAND_SECONDS = 15.0
"""How long what an operator has removed or scaled may overlap with what he starts next: the swarm waits for nothing."""
ANYTHING = ""
REQUIRED = {name: {*behaviour.requires} for name, behaviour in PLUGINS.items()}
DEPENDENTS = {name: {other for other in PLUGINS if name in REQUIRED[other]} for name in PLUGINS}


@dataclass
class _Record:
    starts: int = 0
    """How often something was begun that may start it."""
    starting: int = 0
    """How many of them are not known to have ended."""
    may_start: bool = False
    """Something that may start it goes on, and nobody will learn its end, until the round is over."""
    changes: int = 0
    under_way: int = 0
    must_be_gone: bool = False
    by_hand_until: float = -math.inf
    answers: list[tuple[float, float, str]] = field(default_factory=list)
    """When each operation of this round began and ended, and what it wanted the plugin to be."""
    wanted: set[str] = field(default_factory=lambda: {ANYTHING})
    """What it had to be when the round began."""


@dataclass(frozen=True)
class Interval:
    """What had been done to a plugin when an operation on it began."""

    starts: int
    starting: int
    changes: int
    is_alone: bool
    began: float


class Activity:
    """Every method may be called by any thread."""

    def __init__(self) -> None:
        self._records = {name: _Record() for name in PLUGINS}
        self._apart: set[str] = set()
        self._faults = 0
        self._settled_at = self._starved_until = -math.inf
        self._lock = threading.RLock()

    # -- rounds

    def begin_round(self) -> None:
        """Everything is at rest."""
        with self._lock:
            self._settled_at = -math.inf
            for record in self._records.values():
                record.may_start = False
                record.wanted, record.answers = self._find_wanted(record), []

    def get_wanted(self, name: str) -> str:
        """`running` or `stopped` if a plugin must be so at rest, else `ANYTHING`."""
        with self._lock:
            wanted = self._find_wanted(self._records[name])
            return next(iter(wanted)) if len(wanted) == 1 else ANYTHING

    @staticmethod
    def _find_wanted(record: _Record) -> set[str]:
        """The wishes of the operations after which no other one began."""
        if not record.answers:
            return record.wanted
        last_began = max(began for began, _, _ in record.answers)
        return {wanted for _, ended, wanted in record.answers if ended >= last_began}

    # -- faults

    @contextlib.contextmanager
    def fault(self, apart: Iterable[str] = ()) -> Iterator[None]:
        """While something befalls the nodes or the service, and until everything has settled.

        Args:
            apart: the names of the nodes that are on a side of their own meanwhile.
        """
        with self._lock:
            self._faults += 1
            self._apart |= set(apart)
        try:
            yield
        finally:
            with self._lock:
                self._faults -= 1
                self._settled_at = time.monotonic() + SETTLE_SECONDS

    def note_lost(self, node: str) -> None:
        """The swarm has just lost a node, and starts elsewhere what may still run there."""
        with self._lock:
            self._apart.add(node)
            self._settled_at = time.monotonic() + SETTLE_SECONDS

    @property
    def disturbed_until(self) -> float:
        """Until when, on the monotonic clock, there is a fault, or one that has not settled."""
        with self._lock:
            return math.inf if self._faults else self._settled_at

    def note_starved(self) -> None:
        """The machine has so much else to do that nobody can be prompt."""
        self._starved_until = time.monotonic() + STARVED_SECONDS

    def was_disturbed(self, since: float) -> bool:
        """Whether there was a fault since then, or the machine was starved."""
        return max(self.disturbed_until, self._starved_until) > since

    def find_side(self, node: str) -> str:
        """Which side a node is on now."""
        with self._lock:
            if self.disturbed_until < time.monotonic():
                self._apart.clear()
            return node if node in self._apart else ""

    # -- operations

    @contextlib.contextmanager
    def doing(self, name: str, *, starts: bool = False) -> Iterator[Interval]:
        """While something is done to a plugin that may start it and what it requires, or stop it."""
        with contextlib.ExitStack() as stack:
            for other in REQUIRED[name] if starts else DEPENDENTS[name]:
                stack.enter_context(self._doing(other, starts=starts))
            yield stack.enter_context(self._doing(name, starts=starts))

    @contextlib.contextmanager
    def doing_all(self, names: Iterable[str] = tuple(PLUGINS), *, starts: bool = False) -> Iterator[None]:
        """While something is done to many plugins."""
        with contextlib.ExitStack() as stack:
            for name in names:
                stack.enter_context(self.doing(name, starts=starts))
            yield

    @contextlib.contextmanager
    def _doing(self, name: str, *, starts: bool) -> Iterator[Interval]:
        record = self._records[name]
        with self._lock:
            is_alone = not record.under_way and not record.may_start
            record.changes += 1
            record.under_way += 1
            interval = Interval(record.starts, record.starting, record.changes, is_alone, time.monotonic())
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

    def note(self, name: str, wanted: str, interval: Interval) -> None:
        """An operation has just ended after which a plugin is to be `running`, `stopped` or `ANYTHING`."""
        with self._lock:
            self._records[name].answers.append((interval.began, time.monotonic(), wanted))

    def forget(self, *names: str, may_start: bool = True) -> None:
        """What was done to these may go on, and nobody will learn how it ends."""
        now = time.monotonic()
        with self._lock:
            for name in {*names}.union(*(REQUIRED[name] if may_start else DEPENDENTS[name] for name in names)):
                record = self._records[name]
                record.answers.append((now, math.inf, ANYTHING))
                if may_start:
                    record.may_start, record.must_be_gone = True, False

    def forget_under_way(self) -> None:
        """The service has ended: whatever it was doing may have been done or not."""
        with self._lock:
            self.forget(*(name for name, record in self._records.items() if record.under_way))

    def note_by_hand(self, name: str) -> None:
        """An operator has just done something to a plugin's service, past Plugvisor."""
        with self._lock:
            self._records[name].by_hand_until = time.monotonic() + BY_HAND_SECONDS

    def may_overlap(self, name: str) -> bool:
        """Whether more than one process of a plugin is the operator's own doing."""
        return name in self._records and self._records[name].by_hand_until > time.monotonic()

    def note_gone(self, name: str, interval: Interval) -> None:
        """A stop was answered: nothing of the plugin is alive, unless something may have started it."""
        with self._lock:
            record = self._records[name]
            nothing_started = not interval.starting and record.starts == interval.starts and not record.starting
            record.must_be_gone |= nothing_started and not record.may_start

    def was_alone(self, name: str, interval: Interval) -> bool:
        """Whether nothing else was done to a plugin since an operation on it began, nor to the nodes or the service."""
        with self._lock:
            record = self._records[name]
            is_same = record.changes == interval.changes and not record.may_start
            return interval.is_alone and is_same and not self.was_disturbed(interval.began)

    def list_gone(self) -> dict[str, int]:
        """The plugins of which nothing may be alive, for `is_still_gone`."""
        with self._lock:
            if self.disturbed_until > time.monotonic():
                return {}
            return {name: record.starts for name, record in self._records.items() if record.must_be_gone}

    def is_still_gone(self, name: str, gone: dict[str, int]) -> bool:
        """Whether that holds to this moment."""
        with self._lock:
            record = self._records[name]
            is_disturbed = self.disturbed_until > time.monotonic()
            return record.must_be_gone and gone.get(name) == record.starts and not is_disturbed
