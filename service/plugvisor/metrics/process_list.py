"""All processes of the machine, and what one of them uses.

A process that ends meanwhile, or is not readable, is left out.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psutil

_HAS_PROC = os.path.exists("/proc/self/stat")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_LARGEST_READ = 4096


class ProcessUsage(NamedTuple):
    """The usage of one process."""

    started: float
    """The time of its start, in a unit of the system's; another process with its id has another."""
    cpu_seconds: float
    waited_seconds: float
    """CPU time of those of its ended children that it has waited for."""
    memory_bytes: int
    """Resident."""
    threads: int


class ProcessList(Protocol):
    """The processes at one instant."""

    @property
    def parents(self) -> Mapping[int, int]:
        """The parent of each."""

    def read(self, pid: int) -> ProcessUsage | None:
        """Read the usage of a process of the list; None if that is not possible."""


def list_processes() -> ProcessList:
    """List the processes."""
    return ProcList() if _HAS_PROC else PsutilList()


def read_total_memory() -> int:
    """The bytes of memory that the machine has."""
    if _HAS_PROC:
        with contextlib.suppress(OSError, ValueError, IndexError):
            # not sysconf: in some containers this file alone is about the container
            return int(_read("/proc/meminfo").partition(b"MemTotal:")[2].split()[0]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * _PAGE_BYTES


class ProcList:
    """The processes, by the files of /proc."""

    def __init__(self) -> None:
        self.parents: dict[int, int] = {}
        self._started: dict[int, bytes] = {}
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            with contextlib.suppress(OSError):
                fields = _read_fields(pid)
                self.parents[pid], self._started[pid] = int(fields[1]), fields[19]

    def read(self, pid: int) -> ProcessUsage | None:
        """Read the usage of a process of the list; None if it has ended, even if another one has its id now."""
        with contextlib.suppress(OSError):
            # again, right after its parent's: a child that ends between two distant readings would count twice
            fields = _read_fields(pid)
            if fields[19] == self._started.get(pid):
                # from statm: stat lacks what each core has not added yet, megabytes with many cores
                pages = int(_read(f"/proc/{pid}/statm").split()[1])
                return ProcessUsage(
                    started=int(fields[19]),
                    cpu_seconds=(int(fields[11]) + int(fields[12])) / _TICKS,
                    waited_seconds=(int(fields[13]) + int(fields[14])) / _TICKS,
                    memory_bytes=pages * _PAGE_BYTES,
                    threads=int(fields[17]),
                )
        return None


class PsutilList:
    """The processes of a system without /proc (macOS)."""

    def __init__(self) -> None:
        import psutil  # noqa: PLC0415 - a megabyte and a moment of each start, which few need

        self.parents: dict[int, int] = {}
        self._processes: dict[int, psutil.Process] = {}
        self._errors = (psutil.Error, OSError, KeyError)
        for process in psutil.process_iter():
            with contextlib.suppress(*self._errors):
                self.parents[process.pid] = process.ppid()
                self._processes[process.pid] = process

    def read(self, pid: int) -> ProcessUsage | None:
        """Read the usage of a process of the list; None if it has ended, even if another one has its id now."""
        with contextlib.suppress(*self._errors):
            process = self._processes[pid]
            with process.oneshot():
                times = process.cpu_times()
                waited = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
                memory, threads = process.memory_info().rss, process.num_threads()
            return ProcessUsage(process.create_time(), times.user + times.system, waited, memory, threads)
        return None


def _read_fields(pid: int) -> list[bytes]:
    """The fields of `/proc/<pid>/stat` after the command's name, which may hold parentheses (proc_pid_stat(5))."""
    return _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _LARGEST_READ)
    finally:
        os.close(descriptor)
