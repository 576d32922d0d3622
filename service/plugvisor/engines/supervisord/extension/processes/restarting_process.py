"""A process that supervisord restarts as its restart policy says, and that can be ended because it does not work."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from supervisor.datatypes import RestartUnconditionally
from supervisor.options import signame
from supervisor.process import Subprocess
from supervisor.states import STOPPED_STATES, ProcessStates

from plugvisor.engines.supervisord.extension.processes.flapping import Flapping
from plugvisor.engines.supervisord.extension.processes.restart_policy import RestartPolicy

if TYPE_CHECKING:
    from plugvisor.engines.supervisord.extension.patches.clock import SteadyClock


class Ending(NamedTuple):
    """Why a process is ended that is not to be STOPPED, but EXITED unexpectedly."""

    reason: str
    restart: str
    """Whether it is started again: "always", "never", or by "policy", as `autorestart` says."""


class RestartingProcess(Subprocess):  # type: ignore[misc] # supervisor has no type hints
    """A process that is started again by its policy.

    While it waits for its next start, as EXITED or as BACKOFF, `delay` is the time of that on the steady clock.
    """

    delay: float
    spawnerr: str | None
    pipes: dict[str, int]
    dispatchers: dict[int, Any]

    def __init__(self, config: Any, clock: SteadyClock) -> None:
        super().__init__(config)
        self._clock = clock
        self.policy = RestartPolicy()
        self.flapping = Flapping()
        self.restarts = 0
        self.last_exit: dict[str, Any] | None = None
        self.log_begin: tuple[int, int] | None = None
        """Where its log ended when it was started last: the inode of a file, and bytes."""
        self.started = 0.0
        """When the process was started, on the monotonic clock."""
        self._ran_seconds = 0.0  # the last process
        self._ending: Ending | None = None
        self._is_restart_planned = False
        self._is_restart = False  # what is being started

    @property
    def is_stopped(self) -> bool:
        """Whether it has no process; BACKOFF does not count as stopped."""
        return self.state in STOPPED_STATES and not self.pid

    @property
    def restarts_by_itself(self) -> bool:
        """Whether it has exited and supervisord is about to start it again."""
        return self.state == ProcessStates.EXITED and self._is_restart_planned

    @property
    def retry_at(self) -> float | None:
        """When it is started again by itself, on the steady clock; None if it is not."""
        return self.delay if self.state == ProcessStates.BACKOFF or self.restarts_by_itself else None

    @property
    def is_given_up(self) -> bool:
        """Whether it is BACKOFF and about to be FATAL, after `startretries` failed starts."""
        return bool(self.state == ProcessStates.BACKOFF and self.backoff > self.config.startretries)

    def restart(self) -> None:
        """Start it again, by itself."""
        self._is_restart = True
        self.spawn()

    def cancel_restart(self) -> bool:
        """Have it not be started again by itself; returns whether that had to be done."""
        if self.restarts_by_itself:
            self.change_state(ProcessStates.STOPPED)
            return True
        if self.state == ProcessStates.STOPPING and self._ending is not None:
            self._ending = None  # from now on it is stopped like any other
            return True
        return False

    def end(self, reason: str, restart: str) -> str | None:
        """Begin to stop a process that is to be EXITED unexpectedly then; returns what went wrong.

        Args:
            restart: see `Ending`.
        """
        self._ending = Ending(reason, restart)
        self.laststopreport = 0
        error: str | None = self.kill(self.config.stopsignal)
        if error:
            self._ending = None
        return error

    def fail_start(self, reason: str) -> None:
        """Be BACKOFF: a process that is STARTING has none, and its pipes are closed here."""
        options = self.config.options
        if self.pipes:
            options.close_child_pipes(self.pipes)
            options.close_parent_pipes(self.pipes)
        self.dispatchers, self.pipes = {}, {}
        self.record_spawnerr(reason)
        self.change_state(ProcessStates.BACKOFF)

    def finish_unexecuted(self, reason: str) -> None:
        """Be BACKOFF, as if it could not be spawned: the plugin itself was never executed."""
        self.drain()
        self.config.options.close_parent_pipes(self.pipes)
        self.pid, self.pipes = 0, {}
        self.fail_start(reason)

    def abandon(self) -> None:
        """Be STOPPED, after `finish` has failed: its process is gone, and its pipes are closed here."""
        self.config.options.close_parent_pipes(self.pipes)
        self.dispatchers, self.pipes = {}, {}
        self.pid = 0
        self.killing = False
        self.delay = 0
        if self.state not in STOPPED_STATES:
            self.change_state(ProcessStates.STOPPED)

    # -- supervisor's methods

    def finish(self, pid: int, sts: int) -> None:
        """Called by supervisor when the process was reaped."""
        self._ran_seconds = time.monotonic() - self.started
        self.last_exit = _describe_exit(sts, self._clock.time())
        reason = self._ending.reason if self._ending is not None else self.find_exit_reason()
        if reason is not None:
            self.last_exit["reason"] = reason
        super().finish(pid, sts)

    def record_spawnerr(self, msg: str) -> None:
        """Keep why a start has failed, and log it with the program's name, which supervisor does not."""
        self.spawnerr = msg
        self.config.options.logger.info(f"spawnerr: {self.config.name}: {msg}")  # noqa: G004 - supervisor's own logger

    def find_exit_reason(self) -> str | None:
        """Why the system has ended the process that is being reaped, if that is known."""
        return None

    def change_state(self, new_state: int, expected: bool = True) -> bool | None:
        """Change the state, keep the history, and plan the next start."""
        before = self.state
        if new_state == ProcessStates.STOPPED and before == ProcessStates.STOPPING and self._ending is not None:
            new_state, expected = ProcessStates.EXITED, False
            self.record_spawnerr(f"Ended: {self._ending.reason}")
        if new_state == ProcessStates.STOPPED:
            self.backoff = 0  # else the next start, which somebody asks for, would have fewer tries
        if new_state in (ProcessStates.STOPPED, ProcessStates.STARTING):
            self._ending = None
        changed: bool | None = super().change_state(new_state, expected)
        if new_state == ProcessStates.STARTING:
            self._count_start(before)
        self._is_restart_planned = new_state == ProcessStates.EXITED and self._is_to_be_restarted()
        if self._is_restart_planned or (new_state == ProcessStates.BACKOFF and not self.is_given_up):
            self._plan_restart()
        return changed

    def _is_to_be_restarted(self) -> bool:
        """Whether it is started again now that it has exited; a configuration that is applied later changes nothing."""
        restart = self.config.autorestart
        if self._ending is not None:
            return self._ending.restart == "always" or (self._ending.restart == "policy" and bool(restart))
        return restart is RestartUnconditionally or (bool(restart) and self.exitstatus not in self.config.exitcodes)

    def _count_start(self, before: int) -> None:
        if before == ProcessStates.BACKOFF:
            self.restarts += 1
            self.policy.note_restart()
        elif self._is_restart:
            self.restarts += 1
            self.policy.note_restart()
            self.flapping.note_restart(self._ran_seconds)
        else:  # somebody's start: what was before is over
            self.policy.begin_anew()
            self.flapping.forget()
        self._is_restart = False
        self._ran_seconds = 0.0

    def _plan_restart(self) -> None:
        """Set when it is started again, or give it up."""
        delay = self.policy.find_delay(self._ran_seconds)
        if delay is not None:
            self.delay = self._clock.time() + delay
            return
        self.delay = self.backoff = 0
        self.system_stop = True
        self.record_spawnerr(self.policy.describe_end())
        text = f"gave up: {self.config.name} entered FATAL state, {self.policy.describe_end()}"
        self.config.options.logger.warn(text)  # noqa: G010 - supervisor has its own loggers
        self.change_state(ProcessStates.FATAL)

    def _check_and_adjust_for_system_clock_rollback(self, _test_time: float) -> None:
        """Do nothing: the steady clock never jumps, and supervisor would cut a long delay short."""


def _describe_exit(status: int, at: float) -> dict[str, Any]:
    if os.WIFSIGNALED(status):
        return {"signal": signame(os.WTERMSIG(status)), "at": at}
    return {"code": os.WEXITSTATUS(status), "at": at}
