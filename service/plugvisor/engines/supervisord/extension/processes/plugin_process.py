"""A plugin's process as supervisord knows it: started from its launch file, and with a history."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Protocol

from supervisor.states import STOPPED_STATES, ProcessStates, SupervisorStates
from supervisor.xmlrpc import Faults, RPCError

from plugvisor.engines.supervisord.extension.patches.log_files import begin_log
from plugvisor.engines.supervisord.extension.processes.flapping import FLAPPING_SECONDS
from plugvisor.engines.supervisord.extension.processes.launch_file import LaunchFileError
from plugvisor.engines.supervisord.extension.processes.launch_number import numbering_children
from plugvisor.engines.supervisord.extension.processes.process_tag import TAG_VARIABLE, ProcessTag
from plugvisor.engines.supervisord.extension.processes.queued_start import QueuedStart
from plugvisor.engines.supervisord.extension.processes.restart_policy import RestartValues
from plugvisor.engines.supervisord.extension.processes.restarting_process import RestartingProcess
from plugvisor.engines.supervisord.extension.processes.spawn import describe_spawn_error
from plugvisor.engines.supervisord.extension.processes.variable_reader import spawn_launch

if TYPE_CHECKING:
    from plugvisor.engines.supervisord.extension.intents.requests import Requests
    from plugvisor.engines.supervisord.extension.limits.launch_limits import LaunchLimits, PluginLimits
    from plugvisor.engines.supervisord.extension.patches.clock import SteadyClock
    from plugvisor.engines.supervisord.extension.processes.launch_file import Launch
    from plugvisor.engines.supervisord.extension.processes.variable_reader import VariableReader

_TICK_SECONDS = 0.001  # supervisord compares with `>`


class Owner(Protocol):
    """The parts of the extension that a plugin's process uses."""

    clock: SteadyClock
    run_dir: str
    boot_id: str
    limits: PluginLimits
    requests: Requests

    def read_launch(self, name: str) -> Launch:
        """A program's launch file; raises `LaunchFileError`."""

    def has_orphans(self, name: str) -> bool:
        """Whether something of an earlier process of a program is alive."""

    def prepare_spawn(self, process: PluginProcess) -> None:
        """Called before a process is started."""

    def process_spawned(self, process: PluginProcess) -> None:
        """Called when a process has been started."""

    def process_changed(self, process: PluginProcess) -> None:
        """Called when something other than the state has changed, such as when it is started again."""

    def process_written_to(self, process: PluginProcess) -> None:
        """Called when something may wait for a process to read it."""

    def process_stopping(self, process: PluginProcess) -> None:
        """Called before a process is sent the signal that is to end it."""

    def process_ending(self, process: PluginProcess) -> None:
        """Called while a process is being reaped, before its pipes are closed."""


class PluginProcess(RestartingProcess):
    """One program's process; the object outlives every process it starts, and every change of its configuration."""

    def __init__(self, config: Any, owner: Owner) -> None:
        super().__init__(config, owner.clock)
        self._owner = owner
        self.launches = 0
        self.starts_by_itself = False
        """Whether it is started when its program is added, which another configuration does not change."""
        self.start_pending = False
        """It is started as soon as nothing of it is alive."""
        self.queued = QueuedStart(self, lambda: owner.process_changed(self))
        self.stop_awaited_at = 0.0
        """When a call that waits for the stop has looked last, on the monotonic clock; 0 once it has seen the end."""
        self.next_config: Any = None
        """The configuration that the next start applies; None if it has not changed."""
        self.launch: Launch | None = None
        """The launch file as its last process was started from it."""
        self.limits: LaunchLimits | None = None
        """Of the last launch; None if it has none."""
        self._reader: VariableReader | None = None  # what its last process was launched by
        self._stopped_launch = 0  # the launch that was sent a signal to end it

    @property
    def name(self) -> str:
        """The program's name, which is the plugin's id."""
        return self.config.name  # type: ignore[no-any-return]

    @property
    def tag(self) -> ProcessTag:
        """The process tag of the present launch."""
        return ProcessTag(self._owner.run_dir, self.name, f"{self._owner.boot_id}-{self.launches}")

    @property
    def has_orphans(self) -> bool:
        """Whether something of an earlier process of its program is alive."""
        return self._owner.has_orphans(self.name)

    @property
    def asked(self) -> dict[str, Any] | None:
        """The last request of an operator that the service has to be told of; None if there is none."""
        return self._owner.requests.get(self.name)

    @property
    def is_unsignallable(self) -> bool:
        """Whether it is alive and could not be signalled, such as one that `sudo` runs as root: it is UNKNOWN."""
        return self.state == ProcessStates.UNKNOWN and bool(self.pid)

    @property
    def is_due(self) -> bool:
        """Whether `transition` has something to do now."""
        now = self._owner.clock.time()
        due_at = self.find_due(now)
        return due_at is not None and due_at <= now

    @property
    def waits_for_first_start(self) -> bool:
        """Whether supervisord is about to start it for the first time."""
        return self.state == ProcessStates.STOPPED and self.find_due(self._owner.clock.time()) is not None

    @property
    def is_being_executed(self) -> bool:
        """Whether its process is the program that reads its files of variables, and may yet become the plugin."""
        return self.state == ProcessStates.STARTING and self._reader is not None and not self._reader.was_executed

    def apply_config(self) -> None:
        """Take over the new configuration, if there is one; the process must be stopped."""
        if self.next_config is not None:
            self.group.config = self.next_config
            [self.config] = self.next_config.process_configs
            self.next_config = None

    def cancel_pending_start(self) -> bool:
        """Have it not be started when nothing of it is alive any more; returns whether that had to be done."""
        was_pending, self.start_pending = self.start_pending, False
        if was_pending:
            self._owner.process_changed(self)
        return was_pending

    # -- supervisor's methods

    def spawn(self) -> int | None:
        """Start the process; returns its id, or None if it could not be started and is BACKOFF."""
        if self.pid:
            return None  # it runs already
        self._owner.prepare_spawn(self)
        self.apply_config()
        self.killing = self.system_stop = self.administrative_stop = self.start_pending = False
        self.queued.clear()
        self.spawnerr = self.exitstatus = self._reader = self.log_begin = None
        self.laststart = self._owner.clock.time()
        self.started = time.monotonic()
        self.launches += 1
        self.change_state(ProcessStates.STARTING)
        try:
            with numbering_children(self.tag):
                pid = self._launch()
        except LaunchFileError as error:
            self.fail_start(str(error))
            return None
        self._spawn_as_parent(pid)
        self._owner.process_spawned(self)
        return pid

    def _launch(self) -> int:
        launch = self.launch = self._owner.read_launch(self.name)
        self.policy.values = RestartValues(**launch.restart)
        environment = launch.build_environment(os.environ) | {TAG_VARIABLE: self.tag.render()}
        try:
            self.dispatchers, self.pipes = self.config.make_dispatchers(self)
            self.log_begin = begin_log(self.config.stdout_logfile, self.config.stdout_logfile_backups)
        except OSError as error:
            raise LaunchFileError(describe_spawn_error(error, launch.directory, "open its log")) from error
        try:
            self.limits = self._owner.limits.prepare(self.name, launch.limits)
            enter = self.limits.enter if self.limits else None
            stdin, stdout = self.pipes["child_stdin"], self.pipes["child_stdout"]
            pid, self._reader = spawn_launch(launch, environment, stdin, stdout, self.config.uid, enter=enter)
        except OSError as error:
            raise LaunchFileError(describe_spawn_error(error, launch.directory)) from error
        if self._reader is not None:
            self._reader.on_report = self._note_report
            self.dispatchers[self._reader.descriptor] = self._reader
        if self.limits is not None:
            self._owner.limits.settle(self.limits)
        return pid

    def _note_report(self, reader: VariableReader) -> None:
        self.dispatchers.pop(reader.descriptor, None)  # another file may get its number
        if reader.was_executed:
            self.laststart = self._owner.clock.time() - _TICK_SECONDS  # `startsecs` begins now
            self.transition()  # with 0 it counts as running at once
            self._owner.process_changed(self)

    def write(self, chars: bytes) -> None:
        """Write to its standard input; raises `OSError`."""
        super().write(chars)
        self._owner.process_written_to(self)

    def kill(self, sig: int) -> str | None:
        """Send the signal that is to end it; returns what went wrong."""
        self._stopped_launch = self.launches
        if self.pid:
            self._owner.process_stopping(self)
        if self.is_unsignallable:
            self.state = ProcessStates.RUNNING  # supervisor tries no other; what stood in the way may be gone
        return super().kill(sig)  # type: ignore[no-any-return]

    def finish(self, pid: int, sts: int) -> None:
        """Called by supervisor when the process was reaped."""
        self._owner.process_ending(self)
        if self.state == ProcessStates.UNKNOWN:
            # supervisor does not expect that such a process ends, and its AssertionError would end supervisord
            self.killing, self.state = True, ProcessStates.STOPPING
        failure = self._reader.finish() if self._reader is not None else ""
        if failure and self.state == ProcessStates.STARTING:
            self.finish_unexecuted(failure)
        else:
            super().finish(pid, sts)
        self.queued.show_failure()
        if self.is_given_up:
            self.transition()  # to FATAL, so that nobody reads of another try

    def find_exit_reason(self) -> str | None:
        """Why the kernel has ended the process, if that was because of a limit."""
        return self.limits.exit_reason if self.limits is not None else None

    def stop_report(self) -> None:
        """Called by supervisor each time that a call which waits for the stop looks whether it has ended.

        Raises:
            RPCError: somebody has started it again since; the call would wait for the end of the new process.
        """
        if self.launches != self._stopped_launch and self.state not in STOPPED_STATES:
            raise RPCError(Faults.FAILED, f"{self.name} was started again")
        super().stop_report()
        self.stop_awaited_at = time.monotonic() if self.state == ProcessStates.STOPPING else 0.0

    def transition(self) -> None:
        """Do what is due; nothing is started while it is queued or something of an earlier process is alive."""
        if self.state == ProcessStates.RUNNING and self.flapping.end_if_over(time.monotonic() - self.started):
            self._owner.process_changed(self)
        is_at_rest = self.state in (*STOPPED_STATES, ProcessStates.BACKOFF)
        must_wait = self.queued or (self.has_orphans and not self.is_given_up)
        if self.is_being_executed or (is_at_rest and must_wait):
            return
        if self.state not in (ProcessStates.EXITED, ProcessStates.STOPPED):
            super().transition()
        elif self.is_due:
            self.restart() if self.state == ProcessStates.EXITED else self.spawn()

    def change_state(self, new_state: int, expected: bool = True) -> bool | None:
        """Change the state; supervisor's event for it comes before the time of the next start is known."""
        changed = super().change_state(new_state, expected)
        if self.retry_at is not None:
            self._owner.process_changed(self)
        return changed

    # -- for the event loop

    def find_due(self, now: float) -> float | None:
        """When `transition` has something to do next, on the steady clock; None if it never has."""
        running = self.config.options.mood >= SupervisorStates.RUNNING
        match self.state:
            case ProcessStates.STARTING:
                return None if self.is_being_executed else self.laststart + self.config.startsecs + _TICK_SECONDS
            case ProcessStates.STOPPING:
                return self.delay
            case ProcessStates.BACKOFF if running:
                return now if self.is_given_up else self.delay + _TICK_SECONDS
            case ProcessStates.EXITED if running and self.restarts_by_itself:
                return self.delay
            case ProcessStates.STOPPED if running and self.starts_by_itself and not (self.laststart or self.queued):
                return now
            case ProcessStates.RUNNING if self.flapping.is_present:
                return now + self.started + FLAPPING_SECONDS - time.monotonic()
        return None
