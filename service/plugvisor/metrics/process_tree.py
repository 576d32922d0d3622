"""CPU time, memory and threads of process families: a process and all its descendants, summed.

All families are found in one pass over the processes of the machine. Anything may happen meanwhile: what
has ended, belongs to someone else or has another process's old id is left out.
"""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Usage:
    """What one family uses at one instant."""

    pid: int
    """The main process's."""
    cpu_percent: float
    """Over the time since the measurement before; 100 is one core."""
    memory_bytes: int
    """Resident memory; what the family's processes share counts once for each."""
    threads: int


@dataclass(frozen=True, slots=True)
class _Times:
    """CPU seconds of one process: its own, and those of its children that have ended and were waited for."""

    own: float
    waited: float


_Family = dict[tuple[int, float], _Times]
"""By pid and the time of creation: a pid alone may be another process's by now."""


class FamilyMeter:
    """Measures families again and again. Not thread-safe: one measurement after another."""

    def __init__(self) -> None:
        self.cpu_seconds: dict[str, float] = {}
        """What each family has used for as long as it was known, and its main processes before; never less."""
        self.total_memory_bytes = psutil.virtual_memory().total
        self._families: dict[str, _Family] = {}
        self._seen: set[int] = set()
        self._measured_at = 0.0

    def measure(self, roots: Mapping[str, int]) -> dict[str, Usage]:
        """Measure the families of these main processes, by whatever names; those that are gone are left out."""
        children: defaultdict[int, list[int]] = defaultdict(list)
        processes: dict[int, psutil.Process] = {}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                children[process.ppid()].append(process.pid)
                processes[process.pid] = process
        now = time.monotonic()
        passed_seconds = now - self._measured_at if self._measured_at else 0.0
        usages = {}
        families: dict[str, _Family] = {}
        for name, root in roots.items():
            family: _Family = {}
            memory_bytes = threads = 0
            for pid in _list_family(root, children):
                with contextlib.suppress(psutil.Error, OSError, KeyError):
                    process = processes[pid]
                    with process.oneshot():
                        memory = process.memory_info().rss
                        times = process.cpu_times()
                        threads += process.num_threads()
                    memory_bytes += memory
                    waited = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
                    family[pid, process.create_time()] = _Times(times.user + times.system, waited)
            if not any(pid == root for pid, _ in family):
                continue
            families[name] = family
            spent, found = self._count_seconds(self._families.get(name, {}), family)
            self.cpu_seconds[name] = self.cpu_seconds.get(name, 0.0) + spent + found
            percent = spent / passed_seconds * 100 if passed_seconds else 0.0
            usages[name] = Usage(root, percent, memory_bytes, threads)
        # a family that was not asked for this time is kept: it may be again
        self._families.update(families)
        self._seen = set(processes)
        self._measured_at = now
        return usages

    def keep(self, names: Collection[str]) -> None:
        """Forget all but these."""
        self._families = {name: self._families[name] for name in names if name in self._families}
        self.cpu_seconds = {name: self.cpu_seconds[name] for name in names if name in self.cpu_seconds}

    def _count_seconds(self, before: _Family, after: _Family) -> tuple[float, float]:
        """CPU seconds spent since the measurement before, and those found: of processes that were there unnoticed.

        What has ended is in its parent's `waited`, if that has waited for it; what was known of it before
        must not count twice.
        """
        stayed = before.keys() & after.keys()
        own = sum(after[key].own - before[key].own for key in stayed)
        waited = sum(after[key].waited - before[key].waited for key in stayed)
        gone = sum(times.own + times.waited for key, times in before.items() if key not in stayed)
        spent, found = own + max(0.0, waited - gone), 0.0
        for key, times in after.items():
            if key not in stayed:
                seconds = times.own + times.waited
                if key[0] in self._seen or not self._measured_at:
                    found += seconds
                else:
                    spent += seconds
        return max(0.0, spent), found


def _list_family(root: int, children: Mapping[int, Sequence[int]]) -> list[int]:
    """A process and its descendants."""
    family, known = [root], {root, 0}
    for pid in family:  # it grows meanwhile
        found = [child for child in children.get(pid, ()) if child not in known]
        family += found
        known.update(found)
    return family
