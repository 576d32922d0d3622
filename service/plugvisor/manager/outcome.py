"""How a plugin is when an operation on it is answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from plugvisor.models.process import Process, ProcessState

if TYPE_CHECKING:
    from plugvisor.manager.facts import Facts


@dataclass(frozen=True)
class Outcome:
    """How a plugin is when its operation is answered."""

    process: Process
    finished: bool
    """False: the caller did not wait for the end, and the operation continues."""
    facts: Facts | None = None
    remembered: bool = True
    """False: what was asked for may not outlive a restart, for the store does not take it."""


def report_stop(process: Process) -> Outcome:
    """The outcome of a stop that is no longer waited for, from the process as it is now."""
    if process.state in (ProcessState.STARTING, ProcessState.RUNNING) or (process.queued and process.is_gone):
        return Outcome(Process(ProcessState.STOPPED), finished=True)  # as it was before somebody started it again
    if process.is_gone:
        return Outcome(process, finished=True)
    # its process may have ended already, but not its orphans
    return Outcome(msgspec.structs.replace(process, state=ProcessState.STOPPING), finished=False)
