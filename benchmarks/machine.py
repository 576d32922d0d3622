"""The machine, and what /proc shows about its processes."""

from __future__ import annotations

import os
import platform
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("starlette", "uvicorn", "httptools", "uvloop", "supervisor", "httpx")


def describe_machine() -> str:
    """Cores, versions and the load average, as one paragraph."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    load = os.getloadavg()[0]
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {len(os.sched_getaffinity(0))} cores ({_read_model()}), "
        f"load {load:.1f} before the run; {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}; {packages}"
    )


def read_cpu_seconds(pid: int) -> float:
    """The CPU time that the threads of a process have used, in nanoseconds if the kernel keeps them."""
    process = Path("/proc") / str(pid)
    try:
        return sum(int(path.read_text().split()[0]) for path in process.glob("task/*/schedstat")) / 1e9
    except FileNotFoundError:  # a thread has just ended, or the kernel keeps no such file
        user, system = (process / "stat").read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def read_memory_megabytes(pid: int) -> dict[str, float]:
    """A process's resident memory, `Rss`, and its share of it, `Pss`: what n processes share counts 1/n for each."""
    lines = (Path("/proc") / str(pid) / "smaps_rollup").read_text().splitlines()[1:]
    values = {name: int(value.split()[0]) * 1024 / 1e6 for name, _, value in (line.partition(":") for line in lines)}
    return {name: values[name] for name in ("Rss", "Pss")}


def read_name(pid: int) -> str:
    """The name of the program that a process executes; empty if there is none."""
    try:
        return (Path("/proc") / str(pid) / "comm").read_text().strip()
    except OSError:
        return ""


def read_children(pid: int) -> list[int]:
    """The children of a process that has a single thread."""
    path = Path("/proc") / str(pid) / "task" / str(pid) / "children"
    return [int(child) for child in path.read_text().split()]


def wait_until_gone(pids: list[int], seconds: float) -> None:
    """Wait until processes that are no children of ours are gone, or zombies.

    Raises:
        TimeoutError
    """
    deadline = time.monotonic() + seconds
    left = pids
    while left := [pid for pid in left if _is_alive(pid)]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"these processes are still alive after {seconds:g} seconds: {left}")
        time.sleep(0.002)


def _is_alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _read_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
