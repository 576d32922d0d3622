"""`python -m plugvisor.engines.swarm.keeper SECONDS CONTROL [USER]`: starts a worker, and ends all that is left of it.

Descriptor 0 is the worker's. The pipe CONTROL ends when the service wants the worker to end, or has ended itself.
It is a child subreaper (prctl(2)): what loses its parent becomes its own child, so that nothing leaves its tree. It
needs the standard library alone.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import selectors
import signal
import subprocess
import sys
import time
from typing import Any

_PR_SET_CHILD_SUBREAPER = 36
_POLL_SECONDS = 0.05
KILL_SECONDS = 10.0
"""How long it is tried to end what is left."""


def main() -> int:
    """Keep a worker; returns its exit status."""
    seconds, control = float(sys.argv[1]), int(sys.argv[2])
    become_subreaper()
    worker = start_worker(sys.argv[3] if len(sys.argv) > 3 else "")
    code = wait(worker, control, time.monotonic() + seconds)
    kill_tree(worker)
    return code


def become_subreaper() -> None:
    """Have orphans become children of this process."""
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 - there is no other way to prctl(2)

        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def start_worker(user: str) -> int:
    """Start it as a user; returns its process id."""
    credentials: dict[str, Any] = {}
    environment = dict(os.environ)
    if user:
        entry = pwd.getpwnam(user)
        groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
        credentials = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": groups}
        environment |= {"HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "plugvisor.installer"],
        cwd="/",
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
        **credentials,
    )
    process.returncode = 0  # it is waited for here
    return process.pid


def wait(worker: int, control: int, deadline: float) -> int:
    """Return when the worker has ended, is to be ended, or its time is over."""
    os.set_blocking(control, False)
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while time.monotonic() < deadline:
            if selector.select(_POLL_SECONDS):
                return 0
            with contextlib.suppress(ChildProcessError):
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == worker:
                    return abs(os.waitstatus_to_exitcode(status))
    return 1


def kill_tree(worker: int) -> None:
    """Kill every descendant: each is stopped first, as it could fork faster than it is found."""
    deadline = time.monotonic() + KILL_SECONDS
    with contextlib.suppress(ProcessLookupError, PermissionError):  # without /proc this is all that can be done
        os.killpg(worker, signal.SIGKILL)
    while time.monotonic() < deadline:
        stopped: set[int] = set()
        while found := set(find_descendants(os.getpid())) - stopped:
            send_all(found, signal.SIGSTOP)
            stopped |= found
            if time.monotonic() > deadline:
                break
        send_all(stopped, signal.SIGKILL)
        if not reap():
            return
        time.sleep(0.001)


def send_all(pids: set[int], number: int) -> None:
    """Send a signal to processes, which cannot be others': their parents, and so this process, have not reaped them."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def reap() -> bool:
    """Reap what has ended; returns whether there are children left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def find_descendants(pid: int) -> list[int]:
    """The processes below one, as /proc shows them."""
    pending = [pid]
    for parent in pending:  # grows meanwhile
        pending += list_children(parent)
    return pending[1:]


def list_children(pid: int) -> list[int]:
    """The children of a process."""
    children: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                children += map(int, file.read().split())
    return children


if __name__ == "__main__":
    sys.exit(main())
