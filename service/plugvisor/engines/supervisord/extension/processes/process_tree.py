"""The process tree, as /proc shows it, and signals to processes in it.

On a system without /proc (macOS) nothing is found.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING, NamedTuple

from plugvisor.engines.supervisord.extension.processes.process_tag import ProcessTag, parse_process_tag

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


_CHILDREN = "/proc/{}/task/{}/children"


class Process(NamedTuple):
    """One process; its id alone may be another one's later."""

    pid: int
    started: int
    """When it started, in the kernel's ticks."""


class Relations(NamedTuple):
    """The fields of `/proc/<pid>/stat` that are used here."""

    is_dead: bool
    parent: int
    group: int
    session: int
    started: int


def walk_trees(roots: Iterable[Process]) -> Iterator[Process]:
    """Processes and their descendants."""
    for root in roots:
        yield from walk_tree(root.pid)


def walk_tree(root: int) -> Iterator[Process]:
    """A process and its descendants; what ends meanwhile is left out."""
    pending = [root]
    for pid in pending:  # grows meanwhile
        with contextlib.suppress(OSError):
            relations = read_relations(pid)
            if not relations.is_dead:
                pending += list_children(pid)  # first: it may be sent a signal and end as soon as it is yielded
                yield Process(pid, relations.started)


def list_children(pid: int) -> list[int]:
    """The children of a process."""
    children: list[int] = []
    is_listed = False
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(_CHILDREN.format(pid, task), "rb", buffering=0) as file:
                is_listed = True
                children += map(int, file.readall().split())
    return children if is_listed else _find_children(pid)


def _find_children(parent: int) -> list[int]:
    """The children of a process whose kernel lists none (CONFIG_PROC_CHILDREN), or which is gone."""
    children: list[int] = []
    if not os.path.isdir(f"/proc/{parent}/task"):
        return children
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if read_relations(int(name)).parent == parent:
                children.append(int(name))
    return children


def read_tag(pid: int) -> ProcessTag | None:
    """The process tag of a process; None if it has none, or may not be examined."""
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            return parse_process_tag(file.readall())
    except OSError:
        return None


def is_same_folder(pid: int, theirs: str, ours: str) -> bool:
    """Whether a path, as a process sees it, is the run folder: in a container the same path is another folder."""
    try:
        their_status, our_status = os.stat(f"/proc/{pid}/root{theirs}"), os.stat(ours)
    except OSError:  # it does not see the folder, or the folder is gone
        with contextlib.suppress(OSError):
            return theirs == ours and os.readlink(f"/proc/{pid}/ns/pid") == os.readlink("/proc/self/ns/pid")
        return False
    return (their_status.st_dev, their_status.st_ino) == (our_status.st_dev, our_status.st_ino)


def is_alive(process: Process) -> bool:
    """Whether that very process exists and is no zombie."""
    try:
        relations = read_relations(process.pid)
    except OSError:
        return False
    return relations.started == process.started and not relations.is_dead


def send_signal(process: Process, number: int) -> bool:
    """Signal that very process, and none that has got its number since; returns whether it was there."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    except (OSError, AttributeError):  # an old kernel, or a filter of system calls
        descriptor = -1
    try:
        if not is_alive(process):
            return False
        if descriptor >= 0:
            signal.pidfd_send_signal(descriptor, number)
        else:
            os.kill(process.pid, number)
    except OSError:
        return False
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    return True


def read_relations(pid: int) -> Relations:
    """Read `/proc/<pid>/stat`; raises `OSError`."""
    with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
        # after the command's name, which stands in parentheses and may itself hold some (proc_pid_stat(5))
        fields = file.readall().rpartition(b")")[2].split()
    return Relations(fields[0] in (b"Z", b"X"), int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))
