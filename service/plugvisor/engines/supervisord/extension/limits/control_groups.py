"""A control group for each plugin that has limits (cgroups(7), version 2).

    <group of supervisord>                 or, for root, if others are in that group:  <root of the hierarchy>
        plugvisor-supervisord              what was in the group itself, which may hold groups or processes
        plugvisor-<run folder>                                                             plugvisor-<run folder>
            <plugin's id>                                                                      <plugin's id>

Nothing exists before the first plugin with such a limit is started. A process that is not supervisord's descendant is
never moved, and a group that somebody else has made is never changed.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

from plugvisor.engines.supervisord.extension.limits.hierarchy import (
    CONTROLLERS,
    GroupsUnavailable,
    Place,
    enable_controllers,
    find_places,
    has_only_own,
    list_members,
    move,
    read_group,
    write_group,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

LEAF = "plugvisor-supervisord"
MOVE_SECONDS = 0.5
"""How long moving supervisord's processes may take: they may fork meanwhile."""
END_SECONDS = 0.5
"""How long supervisord waits for the end of what it kills when it ends."""
CPU_PERIOD_MICROSECONDS = 100_000
LEAST_QUOTA_MICROSECONDS = 1000  # the kernel takes no smaller one


class Group:
    """One plugin's group, with the limits of a launch that is about to be made.

    Attributes:
        enforced: the limits that the kernel has accepted.
    """

    def __init__(self, path: str, limits: Mapping[str, float]) -> None:
        self.path = path
        self._cpus = limits.get("cpus")
        self.enforced = [key for key, value in limits.items() if self._set(key, value)]
        for key in {"memory", "cpus", "processes"} - limits.keys():
            self._set(key, None)
        self._kills = self._count_kills()

    def throttle(self) -> None:
        """Limit the CPUs, now that the process has executed its program: supervisord waits for that."""
        if self._cpus is not None and "cpus" in self.enforced:
            try:
                write_group(self.path, "cpu.max", _make_quota(self._cpus))
            except OSError:
                self.enforced.remove("cpus")

    @property
    def has_run_out_of_memory(self) -> bool:
        """Whether the kernel has killed it since it was made, because of its limit of memory."""
        return all(now > before for now, before in zip(self._count_kills(), self._kills, strict=True))

    def _set(self, key: str, value: float | None) -> bool:
        try:
            match key:
                case "memory":
                    write_group(self.path, "memory.max", "max" if value is None else str(int(value)))
                    with contextlib.suppress(OSError):  # no swap, or an old kernel
                        write_group(self.path, "memory.oom.group", "1")
                        write_group(self.path, "memory.swap.max", "max" if value is None else "0")
                case "cpus":
                    write_group(self.path, "cpu.max", "max")  # until `throttle`
                case "processes":
                    write_group(self.path, "pids.max", "max" if value is None else str(int(value)))
                case _:
                    return False
        except OSError:
            return False
        return True

    def _count_kills(self) -> tuple[int, int]:
        """How often the limit was reached with nothing to reclaim, and how many processes were killed.

        The second alone also counts those that the kernel has killed because the whole machine had no memory left.
        """
        try:
            pairs = [line.split() for line in read_group(self.path, "memory.events").splitlines()]
        except OSError:
            return 0, 0
        events = {name: int(count) for name, count in pairs}
        return events.get("oom", 0), events.get("oom_kill", 0)


class ControlGroups:
    """The groups of one supervisord's plugins.

    Args:
        run_dir: distinguishes the groups of two supervisords.
        proc: the folder of this process in /proc.
    """

    def __init__(self, run_dir: str, proc: str = "/proc/self") -> None:
        self._run_dir = run_dir
        self._proc = proc
        self._base: str | None = None
        self._own: str | None = None  # the group that was vacated, if one was
        self._names: set[str] = set()

    def make(self, name: str, limits: Mapping[str, float]) -> Group:
        """Make a plugin's group, or change its limits, before the plugin is started.

        Raises:
            GroupsUnavailable
        """
        try:
            if self._base is None:
                self._base = self._open()
            path = os.path.join(self._base, name)
            with contextlib.suppress(FileExistsError):
                os.mkdir(path)
        except OSError as error:
            raise GroupsUnavailable(f"a group cannot be made: {error.strerror}") from error
        self._names.add(name)
        return Group(path, limits)

    def list_members(self, name: str) -> list[int]:
        """The processes in a plugin's group; none if it has no group."""
        if name not in self._names or self._base is None:
            return []
        with contextlib.suppress(OSError):
            return list_members(os.path.join(self._base, name))
        return []

    def kill(self, name: str) -> None:
        """Kill whatever is in a plugin's group."""
        if name in self._names and self._base is not None:
            _kill(os.path.join(self._base, name))

    def remove(self, name: str) -> None:
        """A plugin was removed."""
        if name in self._names and self._base is not None:
            self._names.discard(name)
            _remove(os.path.join(self._base, name))

    def close(self) -> None:
        """Remove every group; nothing is to be left in them."""
        if self._base is None:
            return
        _kill(self._base)
        deadline = time.monotonic() + END_SECONDS
        while not _remove(self._base) and time.monotonic() < deadline:
            time.sleep(0.01)
        if self._own is not None:
            for controller in CONTROLLERS:
                with contextlib.suppress(OSError):
                    write_group(self._own, "cgroup.subtree_control", f"-{controller}")
            with contextlib.suppress(OSError):  # somebody may have entered it with nsenter(1)
                move(os.getpid(), self._own)
                os.rmdir(os.path.join(self._own, LEAF))
        self._base = self._own = None
        self._names.clear()

    def _open(self) -> str:
        """Find the group for the plugins' groups, and make it; raises `OSError`, `GroupsUnavailable`."""
        reason = "the system has no control groups of version 2"
        for place in find_places(self._proc):
            try:
                return self._open_at(place)
            except GroupsUnavailable as error:
                reason = str(error)
        raise GroupsUnavailable(reason)

    def _open_at(self, place: Place) -> str:
        status = os.stat(self._run_dir)
        name = f"plugvisor-{status.st_dev:x}-{status.st_ino:x}"
        parent, is_own = find_parent(place)
        if is_own:
            self._vacate(parent)
            self._own = parent
        if not enable_controllers(parent):
            raise GroupsUnavailable("no controller is available in supervisord's control group")
        base = os.path.join(parent, name)
        with contextlib.suppress(FileExistsError):
            os.mkdir(base)
        _kill(base)  # what an earlier supervisord has left there
        if not enable_controllers(base):
            raise GroupsUnavailable("no controller is available for the control groups of plugins")
        return base

    def _vacate(self, own: str) -> None:
        leaf = os.path.join(own, LEAF)
        with contextlib.suppress(FileExistsError):
            os.mkdir(leaf)
        deadline = time.monotonic() + MOVE_SECONDS
        while members := list_members(own):
            if time.monotonic() > deadline or not has_only_own(own):
                raise GroupsUnavailable("other processes are in supervisord's control group")
            for pid in members:
                move(pid, leaf)


def find_parent(place: Place, pid: int = 0) -> tuple[str, bool]:
    """The group in which the plugins' groups can be made, and whether it is supervisord's own; changes nothing.

    Args:
        pid: supervisord's; by default this process's.

    Raises:
        OSError
        GroupsUnavailable
    """
    own = place.own
    if os.path.basename(own) == LEAF:  # supervisord has restarted itself
        own = os.path.dirname(own)
    if os.path.exists(os.path.join(own, "cgroup.type")) and os.access(own, os.W_OK) and has_only_own(own, pid):
        return own, True
    if place.is_whole and os.geteuid() == 0 and os.access(place.root, os.W_OK):
        return place.root, False  # it may hold processes and groups
    if not os.access(own, os.W_OK):
        raise GroupsUnavailable("supervisord's control group is not writable; see Delegate= of systemd")
    raise GroupsUnavailable("other processes are in supervisord's control group")


def find_controllers(pid: int = 0) -> set[str]:
    """The controllers that plugins' groups would have; changes nothing.

    Args:
        pid: supervisord's; by default this process's.

    Raises:
        GroupsUnavailable
    """
    reason = "the system has no control groups of version 2"
    try:
        for place in find_places(f"/proc/{pid or 'self'}"):
            try:
                parent, _ = find_parent(place, pid)
                return set(read_group(parent, "cgroup.controllers").split()) & set(CONTROLLERS)
            except GroupsUnavailable as error:
                reason = str(error)
    except OSError as error:
        reason = f"they cannot be read: {error.strerror}"
    raise GroupsUnavailable(reason)


def _make_quota(cpus: float) -> str:
    quota = max(LEAST_QUOTA_MICROSECONDS, round(cpus * CPU_PERIOD_MICROSECONDS))
    return f"{quota} {CPU_PERIOD_MICROSECONDS}"


def _kill(group: str) -> None:
    with contextlib.suppress(OSError):  # a kernel before 5.14
        write_group(group, "cgroup.kill", "1")


def _remove(group: str) -> bool:
    """Remove a group and the groups in it; returns whether it is gone."""
    for folder, _, _ in os.walk(group, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(folder)
    return not os.path.exists(group)
