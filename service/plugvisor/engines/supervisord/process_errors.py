"""The errors that a process's state means to the operation that has waited for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugvisor.errors import StopTimeout

if TYPE_CHECKING:
    from plugvisor.models.process import Process

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
