"""The precedence of supervisord and the service over plugins, if memory or CPU time runs out.

Both values are set after exec, from here. In the child they would need fork(2) in place of vfork(2), which takes
ten times as long; and supervisord must not take them itself for the moment of a spawn, because exec can be what
runs out of memory, and the kernel would kill supervisord.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

OOM_SCORE_ADJ = 1000
"""The largest value: the kernel kills the largest process that has it before it considers any other (proc(5))."""
NICE_INCREMENT = 5
"""A third of the CPU time that a process without it gets."""
HIGHEST_NICE = 19
"""A seventieth of the CPU time; as PID 1, for the container's processes have their CPU time to themselves.

With 400 busy processes of a fork bomb the service starts in 4 seconds; with an increment of 5 it takes a minute.
"""
_MOST_PROCESSES = 64
"""A plugin that has more children already has not waited for supervisord; the others wait no longer for it."""


def put_behind(pid: int, uid: int | None) -> None:
    """Have the kernel kill a new process group first and run it last; a refusal changes nothing else.

    Every child inherits both values. One that the process has started already gets them here; what such a child has
    orphaned does not.

    Args:
        uid: the group's user; None for this process's own.
    """
    nice = HIGHEST_NICE
    if os.getpid() != 1:
        nice = min(os.getpriority(os.PRIO_PROCESS, 0) + NICE_INCREMENT, HIGHEST_NICE)
    with contextlib.suppress(OSError), _acting_as(uid):
        os.setpriority(os.PRIO_PGRP, pid, nice)
    pids = deque([pid])
    for _ in range(_MOST_PROCESSES):
        if not pids:
            break
        parent = pids.popleft()
        with contextlib.suppress(OSError, ValueError):  # it has ended, or this is not Linux
            _set_oom_score_adj(parent, uid)
            pids.extend(_read_children(parent))


def _set_oom_score_adj(pid: int, uid: int | None) -> None:
    with _acting_as(uid):  # without CAP_DAC_OVERRIDE, root may not open it
        descriptor = os.open(f"/proc/{pid}/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
    try:
        # as root: if that has CAP_SYS_RESOURCE, the process cannot take it back
        os.write(descriptor, b"%d" % OOM_SCORE_ADJ)
    finally:
        os.close(descriptor)


def _read_children(pid: int) -> list[int]:
    """The children of a process's main thread."""
    descriptor = os.open(f"/proc/{pid}/task/{pid}/children", os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(descriptor, 4096)
        return [int(child) for child in data[: data.rfind(b" ") + 1].split()]  # the last number may be cut in two
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _acting_as(uid: int | None) -> Iterator[None]:
    """Use another user's rights over its own processes."""
    own = os.geteuid()
    if uid is None or uid == own:
        yield
        return
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(own)
