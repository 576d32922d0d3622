"""Process states, and what they mean to a user of the API (docs/api.md)."""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Annotated, Literal

import msgspec

from plugvisor.models.cluster.task import Task  # noqa: TC001 - msgspec reads it
from plugvisor.models.enforced_limits import AppliedLimits  # noqa: TC001 - msgspec reads it
from plugvisor.models.stored.intent import Wanted  # noqa: TC001 - msgspec reads it


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


NOT_STARTED = "it was not started"
"""The beginning of the reason for which a queued start was given up."""


class Status(StrEnum):
    """The API's word for a state."""

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

_RETRY, _RESTART = " will try again ", "; it is started again "
"""The part of a reason that says when it is started again."""
LOG_MAY_SAY = "its log may say why"
"""The part of a reason, also of an engine's, that shows that the process itself has caused its end."""
STARTED = frozenset({ProcessState.STARTING, ProcessState.RUNNING})
_AT_REST = frozenset({ProcessState.STOPPED, ProcessState.EXITED, ProcessState.FATAL})
# UNKNOWN is a process that could not be signalled; it may well be alive.
_ALIVE = STARTED | {ProcessState.STOPPING, ProcessState.UNKNOWN}


# What the state stream may say: every value can be shown, as a date or in JSON.
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_ExitCode = Annotated[int, msgspec.Meta(ge=-1, le=2**31)]
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e11)]


class Exit(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a process ended: by a code or by a signal, and when, in seconds since 1970."""

    at: _Seconds
    code: _ExitCode | None = None
    signal: str | None = None
    reason: str | None = None
    """Why it was ended, if a check or a limit has ended it."""

    def __str__(self) -> str:
        how = f"killed by {self.signal}" if self.signal else f"with exit code {self.code}"
        return f"{how}: {self.reason}" if self.reason else how


class Asked(msgspec.Struct, frozen=True):
    """An operator's request by supervisorctl or docker, past the service."""

    wanted: Wanted
    token: Annotated[str, msgspec.Meta(max_length=64)]
    """By it a request that was taken over already is recognised."""
    at: _Seconds
    """In seconds since 1970."""
    by: Literal["supervisorctl", "docker"] = "supervisorctl"
    """Whose intent it is: an identity of this name cannot be added."""


class Process(msgspec.Struct, frozen=True):
    """One program's process at one instant, as supervisord's state stream reports it, or as a swarm's tasks show it."""

    state: ProcessState
    pid: _Count = 0
    """0 if no process is alive."""
    started: _Seconds = 0.0
    """When the process was started, on the monotonic clock, which all processes of a machine share."""
    exit_status: _ExitCode = 0
    """-1 for every signal: supervisord does not keep which."""
    spawn_error: str = ""
    retry_at: _Seconds | None = None
    """When it is started again by itself, in seconds since 1970: during BACKOFF, or EXITED."""
    restarts: _Count = 0
    """How often the engine has started it by itself since the program was added."""
    last_exit: Exit | None = None
    flapping: bool = False
    """It keeps dying after `startsecs`: such a program is restarted for ever, and is RUNNING."""
    launches: _Count = 0
    """How often it was started, failed attempts included: distinguishes one start from another."""
    start_pending: bool = False
    """It is started as soon as nothing of it is alive."""
    orphans: bool = False
    """Something of an earlier process is alive, and is being ended."""
    stop_seconds: _Count = 0
    """How long it may take to obey its stop signal; then it is killed."""
    queued: Literal["", "boot", "asked"] = ""
    """Its start waits for its dependencies: at boot, or because somebody has asked for it."""
    limits: AppliedLimits | None = None
    asked: Asked | None = None
    """The last request that did not come from the service; None if there was none, or supervisord was restarted."""
    explanation: str = ""
    """Why it is as it is, in the words of an engine that has better ones than `detail`."""
    node: str = ""
    """The name of the node that it runs on, or ran on last; empty if there is only this machine."""
    tasks: tuple[Task, ...] = ()
    """Its tasks, one for each replica and by their slots, with the last one of each that has ended; of a swarm."""
    log_begin: tuple[_Count, _Count] | None = None
    """Where its log ended when it was started last, as a `Mark`; None if that is not known."""
    checks_digest: str | None = None
    """By it those checks are recognised that it was launched with (`Manifest.checks_digest`); None if unknown."""

    @property
    def is_alive(self) -> bool:
        """Whether there is a process; false during BACKOFF, when the engine waits to start the next."""
        return self.state in _ALIVE and self.pid != 0

    def uptime_seconds(self, now: float) -> int:
        """Whole seconds from the start until `now`, on the monotonic clock."""
        return max(0, int(now - self.started))

    @property
    def exited_unexpectedly(self) -> bool:
        """EXITED with a code that is not among its `exitcodes`, or by a signal.

        supervisord sets `spawnerr` ("Bad exit code …") in that case alone (`Subprocess.finish`).
        """
        return self.state is ProcessState.EXITED and bool(self.spawn_error)

    @property
    def is_starting(self) -> bool:
        """Whether it is STARTING, or is started when something has ended or its dependencies are met."""
        return self.state is ProcessState.STARTING or self.start_pending or bool(self.queued)

    @property
    def is_coming(self) -> bool:
        """Whether it is going to be started: its dependencies, the end of something or a time is waited for."""
        return bool(self.queued) or self.start_pending or self.retry_at is not None

    @property
    def is_at_rest(self) -> bool:
        """Whether it neither runs nor is going to."""
        return self.state in _AT_REST and not self.is_coming

    @property
    def is_gone(self) -> bool:
        """Whether nothing of it is alive."""
        return self.state is not ProcessState.STOPPING and not self.is_alive and not self.orphans

    @property
    def status(self) -> Status:
        """The API's word for the state."""
        if self.queued and self.state is not ProcessState.STOPPING:
            return Status.STARTING
        return Status.ERROR if self.exited_unexpectedly else _STATUS[self.state]

    @property
    def detail(self) -> str:
        """Why it is as it is, for a person; empty if the status says it all."""
        if self.explanation:
            return self.explanation
        match self.state:
            case ProcessState.BACKOFF:
                return f"it could not be started: {self._reason}; {self._engine}{_RETRY}{self._when}"
            case ProcessState.FATAL if self.spawn_error.startswith("it was restarted"):  # by its restart policy
                how = f", last {self._how_it_ended}" if self.last_exit else ""
                how = f"; last, {self._why_it_was_ended}" if self._reason_of_end else f"{how}; {LOG_MAY_SAY}"
                return f"it keeps dying and {self._engine} has given up: {self.spawn_error}{how}"
            case ProcessState.FATAL if self.spawn_error.startswith(NOT_STARTED):
                return self.spawn_error
            case ProcessState.FATAL:
                return f"it could not be started and {self._engine} has given up: {self._reason}"
            case ProcessState.UNKNOWN:
                return "supervisord could not signal its process; supervisord's log says why"
            case ProcessState.EXITED if self.retry_at is not None:
                return f"{self._what_ended_it}{_RESTART}{self._when}"
            case ProcessState.EXITED if self.exited_unexpectedly and not self._reason_of_end:
                return f"{self._what_ended_it}; {LOG_MAY_SAY}"
            case ProcessState.EXITED:
                return self._what_ended_it
            case ProcessState.STARTING | ProcessState.RUNNING if self.flapping:
                how = self._why_it_was_ended or f"{self._how_it_ended}; {LOG_MAY_SAY}"
                return f"it keeps dying: {self._engine} has restarted it {self.restarts} times; last, {how}"
            case _:
                return ""

    def describe(self, last_line: str) -> str:
        """As `detail`, with what the process has printed last, if its log may say why it has ended."""
        before, may_say, after = self.detail.partition(LOG_MAY_SAY)
        if may_say:
            return f"{before[:-2]}: {last_line}{after}" if before.endswith("; ") else f"{before}{last_line}{after}"
        reason, restart, when = self.detail.partition(_RESTART)
        is_unexplained = restart and self.status is Status.ERROR and not self._reason_of_end
        return f"{reason}: {last_line}{restart}{when}" if is_unexplained else self.detail

    @property
    def log_may_say_why(self) -> bool:
        """Whether what the process has printed last can explain its state."""
        return self.last_exit is not None and self.describe("-") != self.detail

    @property
    def _engine(self) -> str:
        return "the swarm" if self.tasks else "supervisord"

    @property
    def _what_ended_it(self) -> str:
        if not self.exited_unexpectedly:
            return f"it exited by itself, {self._how_it_ended}"
        if self._exceeded_limit:
            how = "killed" if self.last_exit and self.last_exit.signal == "SIGKILL" else "ended"
            return f"it was {how}: {self._exceeded_limit}"
        if self._reason_of_end:
            return f"it was ended: {self._reason_of_end}"
        return f"it ended unexpectedly, {self._how_it_ended}"

    @property
    def _reason_of_end(self) -> str:
        return (self.last_exit and self.last_exit.reason) or ""

    @property
    def _why_it_was_ended(self) -> str:
        return self._exceeded_limit or self._reason_of_end

    @property
    def _exceeded_limit(self) -> str:
        return self.limits.explain(self._reason_of_end) if self.limits is not None else ""

    @property
    def _how_it_ended(self) -> str:
        if self.last_exit is not None:
            return str(self.last_exit)
        return "killed by a signal" if self.exit_status == -1 else f"with exit code {self.exit_status}"

    @property
    def _when(self) -> str:
        if self.retry_at is None:
            return "soon"
        return f"at {datetime.fromtimestamp(self.retry_at).astimezone():%H:%M:%S}"

    @property
    def _reason(self) -> str:
        if self.spawn_error.startswith("Exited too quickly") and self._exceeded_limit:
            return self._exceeded_limit
        if self.spawn_error.startswith("Exited too quickly"):
            how = f", {self._how_it_ended}" if self.last_exit else ""
            return f"it exited too quickly{how}; {LOG_MAY_SAY}"
        return self.spawn_error or LOG_MAY_SAY


def remove_retry(detail: str) -> str:
    """`Process.detail` without when it is started again."""
    before, retry, _ = detail.partition(_RETRY)
    return before.rpartition("; ")[0] if retry else detail.partition(_RESTART)[0]


NEVER_ADDED = Process(ProcessState.STOPPED)
"""The process of a plugin whose program the engine does not have."""
