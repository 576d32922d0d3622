"""Checks of what this user's processes may use, and of whether plugins can be limited."""

from __future__ import annotations

import os
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from plugvisor.cli.doctor.finding import Finding, ok, problem, warning
from plugvisor.cli.doctor.plugins import count_plugins, list_limited
from plugvisor.cli.doctor.run_folder import find_supervisord
from plugvisor.engines.supervisord.extension.limits.control_groups import find_controllers
from plugvisor.engines.supervisord.extension.limits.hierarchy import CONTROLLERS, GroupsUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plugvisor.settings import Settings

_FILES, _FILES_PER_PLUGIN = 256, 4
"""Open files that supervisord or the service needs, and those for each plugin."""
_PROCESSES = 20
_LIMITS = {"memory": "memory", "cpu": "cpus", "pids": "processes"}
"""The keys of `[plugin_runtime.limits]`, by the controllers that enforce them."""
_INSTEAD = {
    "memory": "memory is measured once a second instead",
    "cpus": "cpus are not limited at all",
    "processes": "processes are counted once a second instead",
}
_MOST_NAMED = 5


def check_resources(settings: Settings) -> Iterator[Finding]:
    """There may be enough open files and processes."""
    count = count_plugins(settings)
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = _FILES + _FILES_PER_PLUGIN * count
    is_enough = files in (resource.RLIM_INFINITY, -1) or files >= needed
    if not is_enough:
        yield problem(
            f"a process may open {files} files, and {count} plugins need {needed}",
            f"raise the limit: ulimit -n {max(1024, needed)}, LimitNOFILE= of systemd, --ulimit nofile= of docker",
        )
    left = _count_processes_left()
    if left is not None and left < _PROCESSES + 2 * count:
        is_enough = False
        found = problem if left < _PROCESSES else warning
        yield found(
            f"this user may start {max(0, left)} more processes and threads only",
            "raise the limit: ulimit -u, TasksMax= of systemd, --pids-limit of docker",
        )
    if is_enough:
        yield ok(
            f"{'any number of' if files < 0 else files} open files, {'enough' if left is None else left} processes left"
        )


def _count_processes_left() -> int | None:
    """How many processes and threads this user may start; None if there is no limit, or it is not known."""
    room = []
    limit, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if limit >= 0 and os.geteuid() != 0 and sys.platform == "linux":  # root is not limited
        room.append(limit - _count_own_threads())
    with suppress(OSError, ValueError):
        own = Path("/proc/self/cgroup").read_text(encoding="utf-8")
        group = next(line[3:] for line in own.splitlines() if line.startswith("0::"))
        folder = Path(f"/sys/fs/cgroup{group}")
        room.append(int((folder / "pids.max").read_text()) - int((folder / "pids.current").read_text()))
    return min(room, default=None)


def _count_own_threads() -> int:
    count = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if folder.stat().st_uid == os.getuid():
                count += sum(1 for _ in (folder / "task").iterdir())
    return count


def check_control_groups(settings: Settings) -> Iterator[Finding]:
    """The limits of the plugins that have some are enforced by the kernel."""
    if settings.engine != "supervisord":
        return
    supervisord = find_supervisord(settings)
    reason = ""
    try:
        controllers = find_controllers(supervisord)
    except GroupsUnavailable as error:
        controllers, reason = set(), str(error)
    missing = [_LIMITS[name] for name in CONTROLLERS if name not in controllers]
    if not missing:
        yield ok("plugins can be limited by control groups")
        return
    words = f"{reason}; " if reason else ""
    keys, plugins = list_limited(settings, missing)
    if not plugins:
        yield ok(f"{words}none is needed, because no plugin limits its {', '.join(missing)}")
        return
    names = ", ".join(plugins[:_MOST_NAMED]) + (" …" if len(plugins) > _MOST_NAMED else "")
    yield warning(
        f"{words}no control group limits {', '.join(keys)} of: {names}",
        f"{'; '.join(_INSTEAD[key] for key in keys)}; for the kernel to limit them, run `plugvisor up` in a group of "
        "its own: Delegate=yes in a unit, systemd-run --user --scope -p Delegate=yes, or see docs/container.md",
    )
