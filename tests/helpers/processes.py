"""Processes as the system sees them, past supervisord and the service."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterable


def is_alive(pid: int) -> bool:
    """Whether a process exists and is no zombie; while other threads of a zombie end, it has its files open still."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        state, threads = fields[0], int(fields[17])
        return state != "Z" or threads > 1
    return False


def find_processes(folder: Path) -> list[int]:
    """The living processes that have to do with a folder, by working directory, command line or environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            texts = [os.readlink(process / "cwd")]
            texts += [(process / name).read_text(errors="replace") for name in ("cmdline", "environ")]
            if any(str(folder) in text for text in texts) and is_alive(int(process.name)):
                found.append(int(process.name))
    return found


def kill_all(pids: Iterable[int]) -> None:
    """Kill processes and wait until they are gone."""
    pids = list(pids)
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not any(is_alive(pid) for pid in pids), "the end of what was killed")


def cpu_seconds(pid: int) -> float:
    """The processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def list_children(pid: int) -> list[int]:
    """The children of a process, whichever of its threads has begun them; none if it is gone."""
    children: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            children += map(int, (thread / "children").read_text().split())
    return children


def read_command(pid: int) -> str:
    """A process's arguments, each with a NUL behind it; empty if it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    return ""


def count_descriptors(pid: int) -> int:
    """How many open files a process has."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident_megabytes(pid: int) -> float:
    """A process's resident memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def count_spooled(pid: int) -> int:
    """How many files of packages a service has open: two for each that arrives, and one for each that is installed."""
    names = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            names.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    return len([name for name in names if "/state/uploads/" in name])
