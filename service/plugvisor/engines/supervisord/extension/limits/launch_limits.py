"""The limits of one launch: what enforces each, from the process's first instruction."""

from __future__ import annotations

import contextlib
import mmap
import resource
import struct
from typing import TYPE_CHECKING, Any

from plugvisor.engines.supervisord.extension.limits.control_groups import ControlGroups
from plugvisor.engines.supervisord.extension.limits.hierarchy import GroupsUnavailable, write_group

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from plugvisor.engines.supervisord.extension.limits.control_groups import Group

MEMORY_LIMIT = "memory limit"
"""Why the kernel has killed a process, as `last_exit` has it."""
_KINDS = {"memory": int, "cpus": float, "processes": int, "open_files": int}
_LARGEST = 2**53  # JSON, and the service, have no larger integer
_WATCHED = ("memory", "processes")
"""The limits that the service watches if no control group enforces them."""
_RESULT = struct.Struct("=?Q")


class PluginLimits:
    """Prepares the limits of each launch.

    Args:
        run_dir: the run folder of this supervisord.
        warn: writes a line to supervisord's log.
    """

    def __init__(self, run_dir: str, warn: Callable[[str], object]) -> None:
        self.groups = ControlGroups(run_dir)
        self._warn = warn

    def prepare(self, name: str, values: Mapping[str, float]) -> LaunchLimits | None:
        """Prepare the limits of a launch that is about to be made; None if it has none.

        Args:
            values: what its launch file says, which somebody may have edited.
        """
        limits = {key: kind(min(values[key], _LARGEST)) for key, kind in _KINDS.items() if values.get(key)}
        if not limits:
            return None
        group, reason = None, "the kernel does not accept it"
        if limits.keys() & {"memory", "cpus", "processes"}:
            try:
                group = self.groups.make(name, limits)
            except (GroupsUnavailable, OSError, ValueError) as error:
                reason = str(error)
        return LaunchLimits(name, limits, group, reason)

    def settle(self, launch: LaunchLimits) -> None:
        """A launch was made: log which of its limits nothing enforces."""
        launch.settle()
        if launch.unenforced:
            keys = ", ".join(launch.unenforced)
            self._warn(f"plugins: nothing enforces a limit of {launch.name!r} ({keys}): {launch.reason}")


class LaunchLimits:
    """The limits of one launch. `enter` is called in the new process, `settle` afterwards in supervisord."""

    def __init__(self, name: str, limits: Mapping[str, float], group: Group | None, reason: str) -> None:
        self.name = name
        self.reason = reason
        self.unenforced: list[str] = []
        self._limits = dict(limits)
        self._group = group if group is not None and group.enforced else None
        self._in_group: list[str] = []
        self._result = mmap.mmap(-1, _RESULT.size)  # shared with the new process

    def enter(self) -> None:
        """Join the group, and limit the open files; a limit that cannot be set is left out."""
        is_member, open_files = False, 0
        if self._group is not None:
            with contextlib.suppress(OSError):
                write_group(self._group.path, "cgroup.procs", "0")
                is_member = True
        if "open_files" in self._limits:
            with contextlib.suppress(OSError):
                open_files = _limit_open_files(int(self._limits["open_files"]))
        self._result[:] = _RESULT.pack(is_member, open_files)

    def settle(self) -> None:
        """Take over what has become of the limits."""
        is_member, open_files = _RESULT.unpack(self._result[:])
        self._result.close()
        if self._group is not None and is_member:
            self._group.throttle()
            self._in_group = self._group.enforced
        elif self._group is not None:
            self._group, self.reason = None, "the process could not join its control group"
        enforced = {*self._in_group, *_WATCHED}
        if open_files:
            self._limits["open_files"] = open_files
            enforced.add("open_files")
        self.unenforced = [key for key in self._limits if key not in enforced]

    @property
    def exit_reason(self) -> str | None:
        """Why the kernel has ended the process, if that was because of a limit."""
        return MEMORY_LIMIT if self._group is not None and self._group.has_run_out_of_memory else None

    def describe(self) -> dict[str, Any]:
        """The member `limits` of a process in the state stream (`models.process.AppliedLimits`)."""
        watched = [key for key in _WATCHED if key in self._limits and key not in self._in_group]
        if self._in_group:
            enforced_by = "cgroup"
        elif "open_files" in self._limits and "open_files" not in self.unenforced:
            enforced_by = "rlimit"
        else:
            enforced_by = "watch" if watched else "none"
        return {**self._limits, "enforced_by": enforced_by, "watched": watched, "unenforced": self.unenforced}


def _limit_open_files(limit: int) -> int:
    """Set both limits of this process; returns the limit that there is then. Raises `OSError`."""
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    except ValueError:  # above the hard limit, or above the system's `fs.nr_open`
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        limit = min(limit, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    return limit
