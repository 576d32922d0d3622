"""Watches the process table while anything is done to a Plugvisor, and knows what its promises allow.

A process is known by its mark: the witness asks neither the API nor supervisord what is alive. `Witness.violations`
holds what was promised and did not hold, each beginning with the promise's number in README.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.supervisord.cast import CAST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Plugvisor

LOOK_SECONDS = 0.005
OVERLAP_SECONDS = 2.0
"""So long what is left of an earlier life of a plugin may take to die while the next has begun."""


class Seen(NamedTuple):
    """A living process of a plugin."""

    pid: int
    started: int
    plugin_id: str
    main_pid: int

    @property
    def is_main(self) -> bool:
        """Whether it is the plugin's main process, or was."""
        return self.pid == self.main_pid

    @property
    def is_alive(self) -> bool:
        """Whether that very process is there now, and no zombie."""
        stat = read_stat(self.pid)
        return stat is not None and stat == (self.started, True)


def read_stat(pid: int) -> tuple[int, bool] | None:
    """When a process started, and whether it lives; None where there is none."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return int(fields[19]), fields[0] not in "ZX"
    return None


def list_pids() -> list[int]:
    """Every process there is."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


class Table:
    """Reads who is alive.

    Args:
        others: processes that need not be looked at; who is gone is taken out, for its number may be used again.
    """

    def __init__(self, run_dir: Path, others: set[int]) -> None:
        self._prefix = f"PLUGVISOR_PLUGIN={run_dir}:".encode()
        self._others = others
        self._known: dict[int, Seen] = {}

    def read(self) -> list[Seen]:
        """Every living process of every plugin."""
        alive, pids = [], list_pids()
        self._others.intersection_update(pids)
        for pid in pids:
            seen = None if pid in self._others else self._known.get(pid) or self._look(pid)
            if seen is not None and seen.is_alive:
                self._known[pid] = seen
                alive.append(seen)
            else:
                self._known.pop(pid, None)
        return alive

    def _look(self, pid: int) -> Seen | None:
        with contextlib.suppress(OSError):
            environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            mark = next((field for field in environ if field.startswith(self._prefix)), None)
            stat = read_stat(pid)
            if mark is not None and stat is not None:
                plugin_id, main_pid = mark.removeprefix(self._prefix).decode().split(":")
                return Seen(pid, stat[0], plugin_id, int(main_pid))
        return None


@dataclass
class Record:
    """What is known of one plugin besides the process table."""

    starts: int = 0
    """How often somebody has begun to do what may start it."""
    starting: int = 0
    """How many of them are not known to have ended."""
    is_vague: bool = False
    """Something is under way that may start it, and nobody will tell its end; until all is quiet."""
    is_held_up: bool = False
    """Something is under way that may take it a while, likewise."""
    must_be_gone: bool = False
    stirs: int = 0
    """How often anything was begun that may change it."""
    busy: int = 0
    was_running: bool = False
    may_be_stopped: bool = False
    """Since all was quiet, something was done after which it need not run."""


@dataclass
class Interval:
    """What happened to a plugin while something was done to it."""

    starts: int
    starting: int
    stirs: int
    is_alone: bool
    began: float = field(default_factory=time.monotonic)


class Witness:
    """Looks again and again, from `with` to its end."""

    def __init__(self, plugvisor: Plugvisor) -> None:
        self.violations: list[str] = []
        self.looks = 0
        self.disturbed_at = 0.0
        """Until when supervisord or the service are kept from working, by the test."""
        self._is_stock = plugvisor.stock
        self._plugvisor = plugvisor
        others = set(list_pids())
        self._tables = [Table(plugvisor.run_dir, others) for _ in range(2)]
        self._records = {name: Record() for name in CAST}
        self._lock = threading.RLock()
        self._end = threading.Event()
        self._overlaps: dict[Seen, float] = {}
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Witness:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def read(self) -> list[Seen]:
        """Who is alive now."""
        with self._lock:
            return self._tables[1].read()

    def report(self, violation: str) -> None:
        """Something promised does not hold."""
        with self._lock:
            self.violations.append(f"{time.time():.3f} {violation}")

    # -- what the clients do

    @contextlib.contextmanager
    def doing(self, name: str, *, starts: bool = False, stops: bool = False) -> Iterator[Interval]:
        """Something is done to a plugin that may start or stop it."""
        with self._lock:
            record = self._records[name]
            record.stirs += 1
            record.busy += 1
            interval = Interval(
                record.starts, record.starting, record.stirs, record.busy == 1 and not record.is_held_up
            )
            record.may_be_stopped |= stops
            if starts:
                record.starts += 1
                record.starting += 1
                record.must_be_gone = False
        try:
            yield interval
        finally:
            with self._lock:
                record.busy -= 1
                record.starting -= starts

    def was_alone(self, name: str, interval: Interval) -> bool:
        """Whether nothing else was done to a plugin meanwhile, nor to supervisord or the service."""
        with self._lock:
            record = self._records[name]
            is_same = record.stirs == interval.stirs and not record.is_held_up
            return is_same and interval.is_alone and self.disturbed_at < interval.began

    def disturb(self, seconds: float) -> None:
        """supervisord or the service is kept from working for so long."""
        self.disturbed_at = max(self.disturbed_at, time.monotonic() + seconds)

    def lose_sight(self, *names: str, may_start: bool = True) -> None:
        """Nobody will tell how an operation on these ends; until all is quiet."""
        with self._lock:
            for name in names:
                record = self._records[name]
                record.is_held_up = True
                record.is_vague |= may_start
                record.must_be_gone &= not may_start

    def lose_sight_of_what_is_under_way(self) -> None:
        """The service is killed."""
        with self._lock:
            self.lose_sight(*(name for name, record in self._records.items() if record.busy))

    def check_stopped(self, name: str, interval: Interval) -> None:
        """A stop was just answered with 200: from now on nothing of the plugin may be alive."""
        with self._lock:
            record = self._records[name]
            began_quietly = not interval.starting and record.starts == interval.starts
            if began_quietly and not record.starting and not record.is_vague:
                record.must_be_gone = True

    def is_stopped(self, name: str) -> bool:
        """Whether a stop of it was answered, and nobody has started it since."""
        with self._lock:
            return self._records[name].must_be_gone

    def begin_round(self) -> None:
        """All is quiet: what runs now is known for sure."""
        running = {seen.plugin_id for seen in self.read() if seen.is_main}
        with self._lock:
            for name, record in self._records.items():
                record.is_vague = record.may_be_stopped = record.is_held_up = False
                record.was_running = name in running

    def must_run(self, name: str) -> bool:
        """Whether a plugin ran at the beginning, and nobody did what could end it for good."""
        with self._lock:
            record = self._records[name]
            return record.was_running and not record.may_be_stopped and CAST[name].is_steady

    # -- what the table shows

    def _watch(self) -> None:
        while not self._end.is_set():
            try:
                self._look()
            except Exception as error:  # noqa: BLE001 - else nobody would notice that nobody looks
                self.report(f"the witness itself: {error!r}")
                return
            self._end.wait(LOOK_SECONDS)

    def _look(self) -> None:
        with self._lock:
            must_be_gone = {name: record.starts for name, record in self._records.items() if record.must_be_gone}
        alive = self._tables[0].read()
        self.looks += 1
        mains: dict[str, list[Seen]] = {}
        for seen in alive:
            if seen.is_main:
                mains.setdefault(seen.plugin_id, []).append(seen)
            starts = must_be_gone.get(seen.plugin_id)
            with self._lock:
                record = self._records[seen.plugin_id]
                if starts == record.starts and record.must_be_gone and seen.is_alive:
                    self.report(f"2: {seen} is alive after a stop was answered")
                    record.must_be_gone = False
        for several in mains.values():
            newest = max(several, key=lambda seen: seen.started)
            # the newest was alive before the others are looked at again
            for seen in several:
                if seen != newest and newest.is_alive and seen.is_alive:
                    self.report(f"1: {seen} and {newest} are alive together")
        if not self._is_stock:
            self._look_for_overlaps(alive, {name: several[0] for name, several in mains.items()})

    def _look_for_overlaps(self, alive: list[Seen], mains: dict[str, Seen]) -> None:
        """What is left of an earlier life beside a main process."""
        now = time.monotonic()
        left = {seen for seen in alive if seen.plugin_id in mains and seen.main_pid != mains[seen.plugin_id].pid}
        self._overlaps = {seen: self._overlaps.get(seen, now) for seen in left}
        for seen, since in self._overlaps.items():
            if now - max(since, self.disturbed_at) > OVERLAP_SECONDS and seen.is_alive:
                self.report(f"1: {seen} is alive {OVERLAP_SECONDS} s after {mains[seen.plugin_id]} was")
                self._end.set()
