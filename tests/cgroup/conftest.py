"""Control groups to start a supervisord in; skips where the system has none of version 2 with controllers."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.helpers.supervisord import Supervisord, make_supervisord
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HIERARCHY = Path("/sys/fs/cgroup")
NOBODY = 65534

_ENTER = """\
import ctypes, os, sys
group, uid, container, *command = sys.argv[1:]
with open(group + "/cgroup.procs", "w") as file:
    file.write("0")
if container:
    libc = ctypes.CDLL(None, use_errno=True)
    for failed in (
        libc.unshare(0x0002_0000 | 0x0200_0000),  # CLONE_NEWNS, CLONE_NEWCGROUP
        libc.mount(None, b"/", None, 0x4_4000, None),  # MS_PRIVATE | MS_REC
        libc.umount2(b"/sys/fs/cgroup", 2),  # MNT_DETACH
        libc.mount(b"cgroup2", b"/sys/fs/cgroup", b"cgroup2", container == "read-only", None),
    ):
        if failed:
            sys.exit(os.strerror(ctypes.get_errno()))
if uid != "0":
    os.setgroups([])
    os.setgid(int(uid))
    os.setuid(int(uid))
os.execv(command[0], command)
"""


def find_reason() -> str:
    """Why there are no control groups for the tests; empty if there are."""
    try:
        controllers = (HIERARCHY / "cgroup.controllers").read_text().split()
        enabled = (HIERARCHY / "cgroup.subtree_control").read_text().split()
    except OSError:
        return "the system has no control groups of version 2; tests/cgroup/boot-vm boots one that has"
    missing = {"memory", "cpu", "pids"} - set(controllers) - set(enabled)
    if missing:
        return f"no controller for {', '.join(sorted(missing))}"
    return "" if os.geteuid() == 0 and os.access(HIERARCHY, os.W_OK) else "control groups need root"


@pytest.fixture
def group() -> Iterator[Path]:
    """An empty group with every controller; at the end nothing of it is left."""
    if reason := find_reason():
        pytest.skip(reason)
    for controller in ("memory", "cpu", "pids"):
        (HIERARCHY / "cgroup.subtree_control").write_text(f"+{controller}")
    path = HIERARCHY / f"test-{os.getpid()}"
    path.mkdir()
    yield path
    with contextlib.suppress(OSError):
        (path / "cgroup.kill").write_text("1")
    wait_for(lambda: not _is_populated(path), "the end of what is in the group")
    for folder, _, _ in os.walk(path, topdown=False):
        os.rmdir(folder)


@pytest.fixture
def outsider(group: Path) -> Iterator[int]:
    """A process in that group that supervisord has not started."""
    pid = os.fork()
    if not pid:
        signal.pause()
        os._exit(0)
    (group / "cgroup.procs").write_text(str(pid))
    yield pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@pytest.fixture
def start(group: Path) -> Iterator[Callable[..., Supervisord]]:
    """Starts a supervisord in that group; as a user, or with a namespace of a container and its `/sys/fs/cgroup`."""
    with contextlib.ExitStack() as stack:

        def start_in(uid: int = 0, container: str = "") -> Supervisord:
            supervisord = stack.enter_context(make_supervisord())
            supervisord.command = (sys.executable, "-c", _ENTER, str(group), str(uid), container, *Supervisord.command)
            for path in (supervisord.root, *supervisord.root.rglob("*")) if uid else ():
                os.chown(path, uid, uid)
            supervisord.start()
            return supervisord

        yield start_in


def _is_populated(path: Path) -> bool:
    return "populated 1" in (path / "cgroup.events").read_text()
