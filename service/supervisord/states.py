"""supervisord's process states and what they mean to a user of the API (DESIGN.md §2)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class ProcessState(IntEnum):
    """supervisord's own codes (`supervisor/states.py`)."""

    STOPPED = 0
    STARTING = 10
    RUNNING = 20
    BACKOFF = 30
    STOPPING = 40
    EXITED = 100
    FATAL = 200
    UNKNOWN = 1000


class Status(StrEnum):
    """What the API calls it."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    ERROR = "error"


_STATUS = {
    ProcessState.STOPPED: Status.STOPPED,
    ProcessState.STARTING: Status.STARTING,
    ProcessState.RUNNING: Status.RUNNING,
    ProcessState.BACKOFF: Status.ERROR,
    ProcessState.STOPPING: Status.STOPPING,
    ProcessState.EXITED: Status.STOPPED,  # unless the exit was unexpected
    ProcessState.FATAL: Status.ERROR,
    ProcessState.UNKNOWN: Status.ERROR,
}

_ALIVE = frozenset({ProcessState.STARTING, ProcessState.RUNNING, ProcessState.STOPPING})


@dataclass(frozen=True, slots=True)
class Process:
    """One program's process as supervisord told it at one instant; times are whole seconds since 1970."""

    state: ProcessState
    pid: int = 0
    """0 where no process is alive."""
    start: int = 0
    """When the last process was started; 0: never."""
    now: int = 0
    """supervisord's clock at this instant."""
    exit_status: int = 0
    """-1 for every signal: supervisord does not keep which (`decode_wait_status`)."""
    spawn_error: str = ""

    @property
    def is_alive(self) -> bool:
        """Whether there is a process; false during BACKOFF, when supervisord waits to start the next."""
        return self.state in _ALIVE and self.pid != 0

    @property
    def uptime_seconds(self) -> int:
        """Never negative: supervisord counts with the wall clock, which may be set back."""
        return max(0, self.now - self.start)

    @property
    def exited_unexpectedly(self) -> bool:
        """EXITED with a code that is not among its `exitcodes`, or by a signal.

        supervisord sets `spawnerr` ("Bad exit code …") in that case alone (`Subprocess.finish`).
        """
        return self.state is ProcessState.EXITED and bool(self.spawn_error)

    @property
    def status(self) -> Status:
        """The API's word for the state."""
        return Status.ERROR if self.exited_unexpectedly else _STATUS[self.state]

    @property
    def detail(self) -> str:
        """Why it is as it is, for a person; empty where the status says it all."""
        match self.state:
            case ProcessState.BACKOFF:
                # The time of the next try is not told over XML-RPC; it is one second after the
                # first failure, two after the second, and so on (`Subprocess.change_state`).
                return (
                    f"it could not be started: {self._reason}; supervisord will try again within seconds, "
                    "a little later after each failure"
                )
            case ProcessState.FATAL:
                return f"it could not be started and supervisord has given up: {self._reason}"
            case ProcessState.UNKNOWN:
                return "supervisord does not know what became of its process; see supervisord's log"
            case ProcessState.EXITED if self.exited_unexpectedly:
                return f"it ended unexpectedly, {self._how_it_ended}; its log may say why"
            case ProcessState.EXITED:
                return f"it exited by itself, {self._how_it_ended}"
            case _:
                return ""

    @property
    def _how_it_ended(self) -> str:
        return "killed by a signal" if self.exit_status == -1 else f"with exit code {self.exit_status}"

    @property
    def _reason(self) -> str:
        if self.spawn_error.startswith("Exited too quickly"):
            return "it exited too quickly; its log may say why"
        return self.spawn_error or "its log may say why"


NEVER_ADDED = Process(ProcessState.STOPPED)
"""A plugin whose program supervisord does not have (yet)."""
