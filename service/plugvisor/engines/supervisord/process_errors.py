"""The errors that a process's state means to the operation that has waited for it."""

from __future__ import annotations

from plugvisor.errors import StartFailed, StopTimeout
from plugvisor.models.process import Process, ProcessState, Status

KILL_GRACE_SECONDS = 5.0
"""How long a process may take to be gone after SIGKILL; the kernel may hold one that waits for a disk."""


def check_gone(process: Process) -> None:
    """Raise `StopTimeout` if something of a process is alive."""
    if process.is_gone:
        return
    what = "an orphan of it" if process.orphans and not process.is_alive else "its process"
    raise StopTimeout(
        f"{what} is still alive {KILL_GRACE_SECONDS:g} seconds after SIGKILL; the kernel may be waiting for a device"
    )


def check_started(process: Process) -> None:
    """Raise `StartFailed` if a process has not been started, or has ended since."""
    if process.status is Status.ERROR:
        raise StartFailed(process.detail)
    if process.state in (ProcessState.STOPPED, ProcessState.STOPPING):
        raise StartFailed("it was stopped while it was starting")
