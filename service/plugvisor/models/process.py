"""supervisord's process states and what they mean to a user of the API (DESIGN.md §2)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import TypedDict


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
class History:
    """What supervisord itself does not keep of a program; times are seconds since 1970."""

    restarts: int
    """How often supervisord has started it again by itself since the program was added."""
    last_exit: Exit | None
    retry_at: float | None
    """During BACKOFF: when supervisord will try again."""
    flapping: bool
    """It keeps dying after `startsecs`: supervisord restarts such a program for ever and shows it as RUNNING."""


class Exit(TypedDict, total=False):
    """How a process ended: `code` or `signal`, and when."""

    code: int
    signal: str
    at: float


@dataclass(frozen=True, slots=True)
class Process:
    """One program's process as supervisord told it at one instant."""

    state: ProcessState
    pid: int = 0
    """0 where no process is alive."""
    started: float = 0.0
    """When the process was started, on this process's monotonic clock."""
    exit_status: int = 0
    """-1 for every signal: supervisord does not keep which (`decode_wait_status`)."""
    spawn_error: str = ""
    history: History | None = None
    """Told by the state stream alone."""
    last_start: int = 0
    """On supervisord's own clock, to tell one start from another; 0 before the first. Told by XML-RPC alone."""

    @property
    def is_alive(self) -> bool:
        """Whether there is a process; false during BACKOFF, when supervisord waits to start the next."""
        return self.state in _ALIVE and self.pid != 0

    def uptime_seconds(self, now: float) -> int:
        """Whole seconds from the start until `now`, on the monotonic clock; never negative."""
        return max(0, int(now - self.started))

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
                return f"it could not be started: {self._reason}; supervisord will try again {self._when}"
            case ProcessState.FATAL:
                return f"it could not be started and supervisord has given up: {self._reason}"
            case ProcessState.UNKNOWN:
                return "supervisord does not know what became of its process; see supervisord's log"
            case ProcessState.EXITED if self.exited_unexpectedly:
                return f"it ended unexpectedly, {self._how_it_ended}; its log may say why"
            case ProcessState.EXITED:
                return f"it exited by itself, {self._how_it_ended}"
            case ProcessState.STARTING | ProcessState.RUNNING if self.history and self.history.flapping:
                return (
                    f"it keeps dying: supervisord has restarted it {self.history.restarts} times "
                    f"(last: {self._how_it_ended}); its log may say why"
                )
            case _:
                return ""

    @property
    def _how_it_ended(self) -> str:
        last_exit = self.history.last_exit if self.history else None
        if last_exit is not None:
            return (
                f"killed by {last_exit['signal']}" if "signal" in last_exit else f"with exit code {last_exit['code']}"
            )
        return "killed by a signal" if self.exit_status == -1 else f"with exit code {self.exit_status}"

    @property
    def _when(self) -> str:
        if self.history and self.history.retry_at:
            return f"at {datetime.fromtimestamp(self.history.retry_at).astimezone():%H:%M:%S}"
        # Over XML-RPC the time is not told; it is one second after the first failure, two after the
        # second, and so on (`Subprocess.change_state`).
        return "within seconds, a little later after each failure"

    @property
    def _reason(self) -> str:
        if self.spawn_error.startswith("Exited too quickly"):
            how = f", {self._how_it_ended}" if self.history and self.history.last_exit else ""
            return f"it exited too quickly{how}; its log may say why"
        return self.spawn_error or "its log may say why"


NEVER_ADDED = Process(ProcessState.STOPPED)
"""A plugin whose program supervisord does not have (yet)."""
