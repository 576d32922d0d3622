"""Checks of the file systems."""

from __future__ import annotations

import os
from collections import defaultdict
from typing import TYPE_CHECKING

from plugvisor.cli.doctor.finding import Finding, ok, problem, warning
from plugvisor.cli.doctor.mounts import find_mount
from plugvisor.cli.output import show_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from plugvisor.settings import Settings

_FEW_BYTES, _TOO_FEW_BYTES = 100_000_000, 5_000_000
_FEW_IN_RUN, _TOO_FEW_IN_RUN = 4_000_000, 500_000
"""Of the run folder, which may be a small one in memory: it needs a few KB for each plugin."""
_FEW_FILES, _TOO_FEW_FILES = 1000, 20
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - nothing is put there


def check_disks(settings: Settings) -> Iterator[Finding]:
    """There is room where Plugvisor writes, and it can be written."""
    folders = {"run": settings.run_dir, "log": settings.log_dir, "state": settings.state_dir}
    # without users, `check_folders` has said that it cannot be written
    if settings.install_dir and (settings.users or os.access(settings.install_dir, os.W_OK)):
        folders["install"] = settings.install_dir
    by_device = defaultdict(list)
    for name, folder in folders.items():
        there = next(path for path in (folder, *folder.parents) if os.path.exists(path))
        by_device[there.stat().st_dev].append((name, there))
    for places in by_device.values():
        yield from _check_device([name for name, _ in places], places[0][1])
    if (mount := find_mount(str(settings.state_dir))) and mount.is_remote:
        yield warning(
            f"the state folder is on another machine ({mount.kind}), where SQLite's locks may not work",
            "set PLUGVISOR_STATE_DIR to a folder on a disk of this machine",
        )
    for name, place in (("plugins", settings.plugins_dir), ("install", settings.install_dir)):
        if place and os.path.exists(place) and _is_noexec(place):
            yield warning(
                f"the file system of the {name} folder is mounted with noexec: no program in it can be executed",
                'mount it without noexec, or name an interpreter in `command`, as in ["sh", "main.sh"]',
            )


def _check_device(names: list[str], folder: Path) -> Iterator[Finding]:
    status = os.statvfs(folder)
    which = f"the file system of {folder} (for: {', '.join(names)})"
    if status.f_flag & os.ST_RDONLY:
        # everything but installations works without it
        found = warning if names == ["install"] else problem
        yield found(f"{which} is read-only", "mount it writable, or set the folders' variables to another one")
        return
    few, too_few = (_FEW_IN_RUN, _TOO_FEW_IN_RUN) if names == ["run"] else (_FEW_BYTES, _TOO_FEW_BYTES)
    free = status.f_bavail * status.f_frsize
    advice = "make room there: old logs and old versions of plugins are the largest files of Plugvisor"
    if free < few:
        yield (problem if free < too_few else warning)(f"{which} has {show_size(free)} left", advice)
        return
    if status.f_files and status.f_favail < _FEW_FILES:
        found = problem if status.f_favail < _TOO_FEW_FILES else warning
        yield found(f"{which} has room for {status.f_favail} more files only (inodes)", "remove files there")
        return
    yield ok(f"{show_size(free)} left in {folder} (for: {', '.join(names)})")


def check_temporary_files(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Plugins can make temporary files, and share memory."""
    # not that of `tempfile`, which goes on to the next one if this is full
    folder = environ.get("TMPDIR") or "/tmp"  # noqa: S108 - nothing is put there
    if not os.path.isdir(folder):
        yield problem(f"there is no folder {folder!r} for temporary files", f"make it: mkdir -m 1777 {folder}")
        return
    places = [folder, *([_SHARED_MEMORY] if os.path.isdir(_SHARED_MEMORY) else [])]
    wrong = [(place, reason) for place in places if (reason := _find_shortage(place))]
    for place, reason in wrong:
        yield warning(f"{place} {reason}, and plugins may need it", f"mend that, or mount a larger {place}")
    if not wrong:
        yield ok(" and ".join(f"{place}{' (noexec)' if _is_noexec(place) else ''}" for place in places))


def _is_noexec(path: str | Path) -> bool:
    return bool(os.statvfs(path).f_flag & getattr(os, "ST_NOEXEC", 0))


def _find_shortage(folder: str) -> str:
    status = os.statvfs(folder)
    if not os.access(folder, os.W_OK | os.X_OK):
        return "cannot be written"
    if status.f_bavail * status.f_frsize < _TOO_FEW_IN_RUN:
        return "is full"
    if status.f_files and status.f_favail < _TOO_FEW_FILES:
        return "has no room for more files (inodes)"
    return ""
