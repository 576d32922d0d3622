"""CPU time, memory and threads of process trees, each a process and all its descendants.

One pass over the processes of the machine finds all trees. A process that ends during the pass, is not
readable, or has reused another's id is left out.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plugvisor.metrics.process_list import list_processes, read_total_memory

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Usage:
    """The CPU time, memory and threads of a process tree at one instant."""

    pid: int
    """Process id of the root."""
    cpu_percent: float
    """Since the previous measurement; 100 is one core."""
    memory_bytes: int
    """Resident memory; shared memory counts once for each process."""
    threads: int


@dataclass(frozen=True, slots=True)
class _Times:
    """CPU seconds of one process: its own, and those of its ended children that it has waited for."""

    own: float
    waited: float


_Tree = dict[tuple[int, float], _Times]
"""By process id and time of start, because a process id can be reused."""


class ProcessTreeMeter:
    """Measures process trees repeatedly. Not thread-safe."""

    def __init__(self) -> None:
        self.cpu_seconds: dict[str, float] = {}
        """CPU time of each name since it was first measured, over all its root processes; never decreases."""
        self.total_memory_bytes = read_total_memory()
        self.measured_at = 0.0
        """When CPU times were last read, by the monotonic clock; 0 before the first time."""
        self._trees: dict[str, _Tree] = {}
        self._seen: set[int] = set()

    def measure(self, roots: Mapping[str, int]) -> dict[str, Usage]:
        """Measure the trees of these root processes, by name; those that are gone are left out."""
        processes = list_processes()
        children: defaultdict[int, list[int]] = defaultdict(list)
        for pid, parent in processes.parents.items():
            children[parent].append(pid)
        now = time.monotonic()
        passed_seconds = now - self.measured_at if self.measured_at else 0.0
        usages = {}
        trees: dict[str, _Tree] = {}
        for name, root in roots.items():
            tree: _Tree = {}
            memory_bytes = threads = 0
            for pid in _list_tree(root, children):
                if (process := processes.read(pid)) is not None:
                    memory_bytes += process.memory_bytes
                    threads += process.threads
                    tree[pid, process.started] = _Times(process.cpu_seconds, process.waited_seconds)
            if not any(pid == root for pid, _ in tree):
                continue
            trees[name] = tree
            spent, earlier = self._count_seconds(self._trees.get(name, {}), tree)
            self.cpu_seconds[name] = self.cpu_seconds.get(name, 0.0) + spent + earlier
            percent = spent / passed_seconds * 100 if passed_seconds else 0.0
            usages[name] = Usage(root, percent, memory_bytes, threads)
        # trees that were not measured this time are kept for the next time
        self._trees.update(trees)
        self._seen = set(processes.parents)
        self.measured_at = now
        return usages

    def keep(self, names: Collection[str]) -> None:
        """Forget every name but these."""
        self._trees = {name: self._trees[name] for name in names if name in self._trees}
        self.cpu_seconds = {name: self.cpu_seconds[name] for name in names if name in self.cpu_seconds}

    def _count_seconds(self, before: _Tree, after: _Tree) -> tuple[float, float]:
        """Return the CPU seconds spent since the previous measurement, and those spent before it.

        The latter belong to processes that existed then but were not measured. The time of an ended process is
        in its parent's `waited`, if that has waited for it; what was counted before must not count twice.
        """
        stayed = before.keys() & after.keys()
        own = sum(after[key].own - before[key].own for key in stayed)
        waited = sum(after[key].waited - before[key].waited for key in stayed)
        gone = sum(times.own + times.waited for key, times in before.items() if key not in stayed)
        spent, earlier = own + max(0.0, waited - gone), 0.0
        for key, times in after.items():
            if key not in stayed:
                seconds = times.own + times.waited
                if key[0] in self._seen or not self.measured_at:
                    earlier += seconds
                else:
                    spent += seconds
        return max(0.0, spent), earlier


def _list_tree(root: int, children: Mapping[int, Sequence[int]]) -> list[int]:
    """Return a process and its descendants."""
    tree, known = [root], {root, 0}
    for pid in tree:  # grows during the iteration
        found = [child for child in children.get(pid, ()) if child not in known]
        tree += found
        known.update(found)
    return tree
