"""The hierarchy of control groups, version 2, as this process sees it (cgroups(7))."""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING, NamedTuple

from plugvisor.engines.supervisord.extension.processes.process_tree import read_relations

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTROLLERS = ("memory", "cpu", "pids")
_OUTSIDE = "/.."
"""The beginning of a path outside of this process's namespace (cgroup_namespaces(7))."""


class GroupsUnavailable(Exception):
    """There is no group here in which plugins could be limited; the text says why."""


class Place(NamedTuple):
    """Folders of one mount of the hierarchy."""

    root: str
    own: str
    """The group of this process."""

    @property
    def is_whole(self) -> bool:
        """Whether the root is that of the whole hierarchy: no other group lacks a type."""
        return not os.path.exists(os.path.join(self.root, "cgroup.type"))


def find_places(proc: str = "/proc/self") -> Iterator[Place]:
    """This process's group in each mount of the hierarchy that shows it; raises `OSError`."""
    path = _find_path(_read(os.path.join(proc, "cgroup")))
    if path is None:
        return
    for line in _read(os.path.join(proc, "mountinfo")).splitlines():
        fields, _, file_system = line.partition(" - ")
        if file_system.startswith("cgroup2 "):
            root, folder = map(_unescape, fields.split()[3:5])
            if not root.startswith(_OUTSIDE) and (path + "/").startswith(root.rstrip("/") + "/"):
                yield Place(folder, os.path.join(folder, os.path.relpath(path, root)).removesuffix("/."))


def list_members(group: str) -> list[int]:
    """The processes of a group, without those of the groups in it; one of another namespace is 0."""
    return [int(line) for line in read_group(group, "cgroup.procs").split()]


def has_only_own(group: str, pid: int = 0) -> bool:
    """Whether every process of a group is one process, by default this one, or a descendant of it."""
    ours = {pid or os.getpid()}
    return all(_descends(pid, ours) for pid in list_members(group))


def move(pid: int, group: str) -> None:
    """Move a process into a group, unless it has ended; raises `OSError`."""
    with contextlib.suppress(ProcessLookupError):
        write_group(group, "cgroup.procs", str(pid))


def enable_controllers(group: str) -> set[str]:
    """Enable what can be enabled for the groups in a group; returns what is."""
    for controller in CONTROLLERS:
        with contextlib.suppress(OSError):  # it is not delegated, or the system lacks it
            write_group(group, "cgroup.subtree_control", f"+{controller}")
    return set(read_group(group, "cgroup.subtree_control").split()) & set(CONTROLLERS)


def read_group(group: str, name: str) -> str:
    """Read a file of a group; raises `OSError`."""
    return _read(os.path.join(group, name))


def write_group(group: str, name: str, text: str) -> None:
    """Write a file of a group, which the kernel takes as one value; raises `OSError`."""
    descriptor = os.open(os.path.join(group, name), os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _descends(pid: int, ours: set[int]) -> bool:
    chain: list[int] = []
    while pid > 1 and pid not in ours:
        chain.append(pid)
        try:
            pid = read_relations(pid).parent
        except OSError:
            if pid == chain[0]:
                return True  # it has ended
            pid = chain[0]  # an ancestor has: its children have another parent now
            chain.clear()
    if pid in ours:
        ours.update(chain)
        return True
    return False


def _find_path(text: str) -> str | None:
    found = re.search(r"^0::(/.*)$", text, re.MULTILINE)
    return found[1] if found and not found[1].startswith(_OUTSIDE) else None


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _read(path: str) -> str:
    with open(path, "rb", buffering=0) as file:
        return os.fsdecode(file.readall())
