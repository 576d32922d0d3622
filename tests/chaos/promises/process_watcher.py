"""Watches the system's processes while anything is done to a Plugvisor; it asks neither the API nor supervisord.

A plugin's processes are known by their process tag. Its main process leads a process group in supervisord's session.
The processes of its checks have a tag of their own, which begins with the plugin's id.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from tests.chaos.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.chaos.activity import Activity

LONGEST_SPAWN_SECONDS = 10.0
"""After this a process without a tag is one of somebody else's: the tag comes with exec."""
OVERLAP_SECONDS = 2.0
"""How long what is left of an earlier launch may take to end when the next has begun."""
_PLUGIN_ID = re.compile(r"[A-Za-z0-9_-]*")


class Stat(NamedTuple):
    """What `/proc/<pid>/stat` says."""

    is_alive: bool
    group: int
    session: int
    started: int


class PluginProcess(NamedTuple):
    """A living process of a plugin."""

    pid: int
    started: int
    plugin_id: str
    launch: str
    is_main: bool
    is_check: bool

    @property
    def is_alive(self) -> bool:
        """Whether that very process exists now, and is no zombie."""
        stat = read_stat(self.pid)
        return stat is not None and stat.is_alive and stat.started == self.started


def read_stat(pid: int) -> Stat | None:
    """Read a process's stat; None if there is none."""
    with contextlib.suppress(OSError):
        fields = _read_file(f"/proc/{pid}/stat").rpartition(b")")[2].split()
        return Stat(fields[0] not in b"ZX", int(fields[2]), int(fields[3]), int(fields[19]))
    return None


def _read_file(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.readall()


def list_pids() -> list[int]:
    """Every process there is."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


class ProcessReader:
    """Finds the processes of the plugins of one run folder.

    Args:
        others: processes that need not be examined; those that end are taken out, for their ids may be used again.
        learns: whether it takes other people's processes for such. Then it is faster, and may miss one of which the id
            belonged to another process at its last look.
    """

    def __init__(self, run_dir: Path, others: set[int], *, learns: bool) -> None:
        self._prefix = f"PLUGVISOR_PLUGIN={run_dir}:".encode()
        self._others = others
        self._learns = learns
        self._known: dict[int, PluginProcess] = {}

    def read(self) -> list[PluginProcess]:
        """Every living process of every plugin."""
        alive, pids = [], list_pids()
        self._others.intersection_update(pids)
        for pid in pids:
            process = None if pid in self._others else self._known.get(pid) or self._identify(pid)
            if process is not None and process.is_alive:
                self._known[pid] = process
                alive.append(process)
            else:
                self._known.pop(pid, None)
        return alive

    def _identify(self, pid: int) -> PluginProcess | None:
        with contextlib.suppress(OSError):
            environ = b"\0" + _read_file(f"/proc/{pid}/environ")
            stat = read_stat(pid)
            if stat is None:
                return None
            _, is_ours, rest = environ.partition(b"\0" + self._prefix)
            if is_ours:
                tag = rest.partition(b"\0")[0].decode()
                plugin_id, launch = _PLUGIN_ID.match(tag)[0], tag.rpartition(":")[2]  # type: ignore[index]
                is_check = tag != f"{plugin_id}:{launch}"
                leads_group = stat.group == pid != stat.session
                return PluginProcess(pid, stat.started, plugin_id, launch, leads_group and not is_check, is_check)
            age_seconds = time.clock_gettime(time.CLOCK_BOOTTIME) - stat.started / os.sysconf("SC_CLK_TCK")
            if self._learns and age_seconds > LONGEST_SPAWN_SECONDS:
                self._others.add(pid)
        return None


class RunFolderWatch:
    """Notices that somebody deletes the run folder, by the socket in it."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / "supervisor.sock"
        self._seen: tuple[int, int] | None = None

    def was_deleted(self) -> bool:
        """Whether it was deleted or written again since the last call."""
        before, self._seen = self._seen, self._read()
        return before not in (None, self._seen)

    def _read(self) -> tuple[int, int]:
        with contextlib.suppress(OSError):
            status = self._path.stat()
            return status.st_ino, status.st_ctime_ns
        return 0, 0


class ProcessWatcher(Watcher):
    """Looks for what `tests.chaos` promises."""

    look_seconds = 0.01

    def __init__(self, run_dir: Path, activity: Activity) -> None:
        super().__init__(activity)
        self.deletions = 0
        """How often the run folder was seen to be gone, or to be back."""
        self.on_look: list[Callable[[], object]] = []
        others = set(list_pids())
        self._own_reader = ProcessReader(run_dir, set(others), learns=True)
        self._callers_reader = ProcessReader(run_dir, set(others), learns=False)
        self._run_folder = RunFolderWatch(run_dir)
        self._lock = threading.Lock()
        self._overlaps: dict[tuple[str, str], float] = {}

    def read(self, plugin_id: str | None = None) -> list[PluginProcess]:
        """The processes that are alive now, of one plugin or of all."""
        with self._lock:
            processes = self._callers_reader.read()
        return [process for process in processes if plugin_id in (None, process.plugin_id)]

    def notice_deletion(self) -> None:
        """Whoever has deleted the run folder disturbs supervisord and the service."""
        if self._run_folder.was_deleted():
            self.deletions += 1
            self._activity.note_disturbed()

    def _look(self) -> None:
        self.notice_deletion()
        for look in self.on_look:
            look()
        gone = self._activity.list_gone()
        alive = self._own_reader.read()
        self.looks += 1
        mains: dict[str, list[PluginProcess]] = {}
        for process in alive:
            if process.is_main:
                mains.setdefault(process.plugin_id, []).append(process)
            # alive after the check that it must not be
            if self._activity.is_still_gone(process.plugin_id, gone) and process.is_alive:
                self.report(f"2: {process} is alive after a stop was answered")
                self._end.set()
        for several in mains.values():
            newest = max(several, key=lambda process: process.started)
            # the newest was alive before the others are looked at again
            for process in several:
                if process != newest and newest.is_alive and process.is_alive:
                    self.report(f"1: {process} and {newest} are alive together")
        self._look_for_overlaps(alive, {name: several[0] for name, several in mains.items()})

    def _look_for_overlaps(self, alive: list[PluginProcess], mains: dict[str, PluginProcess]) -> None:
        """Report what is left of an earlier launch beside a main process."""
        now = time.monotonic()
        left = {
            (process.plugin_id, process.launch): process for process in alive
            if process.plugin_id in mains and process.launch != mains[process.plugin_id].launch and not process.is_check
        }  # fmt: skip
        self._overlaps = {launch: self._overlaps.get(launch, now) for launch in left}
        for launch, since in self._overlaps.items():
            process = left[launch]
            if now - max(since, self._activity.disturbed_until) > OVERLAP_SECONDS and process.is_alive:
                self.report(f"1: {process} is alive {OVERLAP_SECONDS} s after {mains[process.plugin_id]} was")
                self._end.set()
