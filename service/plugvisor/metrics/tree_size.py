"""The memory and the number of processes of one process tree, at little cost."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass

MOST_PROCESSES = 10_000
"""A larger tree is measured in part."""
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_HAS_PROC = os.path.exists("/proc/self/statm")
_LARGEST_READ = 65_536
_LEAST_PART = 2048
"""A file of /proc is read in parts of a memory page, unless it is shorter."""
_PROPORTIONAL = re.compile(rb"^Pss: +([0-9]+) kB", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class TreeSize:
    """The memory and the number of processes of a process tree at one instant."""

    memory: int
    """In bytes."""
    processes: int
    """Processes and threads."""


def measure_tree(root: int, memory_limit: int = 0) -> TreeSize | None:
    """Measure a process tree; None if the process is gone.

    Args:
        memory_limit: in bytes. Resident memory counts shared pages once for each process; if that is more than the
            limit, each process's proportion of them is read instead, which takes long, if this user may read it.
    """
    pids, resident, processes = _walk(root) if _HAS_PROC else _walk_slowly(root)
    if not pids:
        return None
    memory = sum(resident)
    if 0 < memory_limit < memory:
        memory = sum(map(_read_proportional, pids, resident))
    return TreeSize(memory, processes)


def list_tree(root: int) -> list[int]:
    """The process ids of a tree, its root first; empty if the process is gone."""
    return (_walk(root) if _HAS_PROC else _walk_slowly(root))[0]


def _walk(root: int) -> tuple[list[int], list[int], int]:
    """The processes of a tree, the resident memory of each, and how many they are with their threads."""
    pids: list[int] = []
    resident: list[int] = []
    processes = 0
    pending = [root]
    for pid in pending:  # grows meanwhile
        with contextlib.suppress(OSError):  # it has ended
            folder = f"/proc/{pid}/task"
            threads = os.stat(folder).st_nlink - 2
            size = int(_read(f"/proc/{pid}/statm").split()[1]) * _PAGE_BYTES
            if not size and _is_dead(pid):
                continue
            pids.append(pid)
            resident.append(size)
            processes += threads
            for task in [pid] if threads == 1 else os.listdir(folder):
                with contextlib.suppress(OSError):
                    pending += map(int, _read(f"{folder}/{task}/children").split())
        if len(pending) > MOST_PROCESSES:
            break
    return pids, resident, processes


def _walk_slowly(root: int) -> tuple[list[int], list[int], int]:
    """The same without /proc (macOS)."""
    import psutil  # noqa: PLC0415 - a megabyte and a moment of each start, which few need

    pids, resident, processes = [], [], 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(root)
        for one in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                memory, threads = one.memory_info().rss, one.num_threads()
                pids.append(one.pid)
                resident.append(memory)
                processes += threads
    return pids, resident, processes


def _read_proportional(pid: int, resident: int) -> int:
    with contextlib.suppress(OSError):
        if found := _PROPORTIONAL.search(_read(f"/proc/{pid}/smaps_rollup")):
            return int(found[1]) * 1024
    return resident


def _is_dead(pid: int) -> bool:
    return _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[0] in (b"Z", b"X")


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(descriptor, _LARGEST_READ)
        while more := os.read(descriptor, _LARGEST_READ) if len(data) > _LEAST_PART else b"":
            data += more
    finally:
        os.close(descriptor)
    return data
