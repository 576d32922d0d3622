"""The service's requests: start, stop, restart, add and remove; and the starts that are pending."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from supervisor.states import ProcessStates, SupervisorStates
from supervisor.xmlrpc import Faults, RPCError

from plugvisor.engines.supervisord.extension.processes.queued_start import NEVER_STARTED

if TYPE_CHECKING:
    from plugvisor.engines.supervisord.extension.commands.checks import CheckCommands
    from plugvisor.engines.supervisord.extension.commands.workers import Workers
    from plugvisor.engines.supervisord.extension.processes.orphans import Orphans
    from plugvisor.engines.supervisord.extension.processes.plugin_process import PluginProcess
    from plugvisor.engines.supervisord.extension.programs import Programs
    from plugvisor.engines.supervisord.extension.reporter import StateReporter

AWAITED_SECONDS = 1.0
"""How long a pending start waits for a call that waits for the stop, and may have gone away."""
LONGEST_CHECK_SECONDS = 86_400
LONGEST_WORK_SECONDS = 7 * 86_400
_ALIVE = (ProcessStates.STARTING, ProcessStates.RUNNING)
_NOT_SPAWNED = (ProcessStates.BACKOFF, ProcessStates.FATAL)


class Changes:
    """Changes what runs; `PluginsNamespace` says what each method does.

    Raises:
        RPCError: nothing was changed.
    """

    def __init__(
        self,
        options: Any,
        programs: Programs,
        orphans: Orphans,
        reporter: StateReporter,
        *,
        checks: CheckCommands,
        workers: Workers,
    ) -> None:
        self._checks = checks
        self._workers = workers
        self._options = options
        self._programs = programs
        self._orphans = orphans
        self._reporter = reporter
        self._pending: dict[str, PluginProcess] = {}  # start as soon as nothing of them is alive

    def sync(self) -> int:
        """See `PluginsNamespace.sync`."""
        self._check_mood()
        return self._reporter.flush()

    def add(self, name: str) -> int:
        """See `PluginsNamespace.add`."""
        self._check_mood()
        if not self._programs.will_read(name):
            self._programs.prepare(name)
        self._reporter.note(name)
        return self._reporter.flush()

    def start(self, name: str) -> int:
        """See `PluginsNamespace.start`."""
        self._check_mood()
        process = self._programs.find(name)
        if process is not None and (process.state in _ALIVE or process.is_unsignallable):
            raise RPCError(Faults.ALREADY_STARTED, name)
        process = self._programs.prepare(name)
        if process.state == ProcessStates.BACKOFF:
            process.change_state(ProcessStates.STOPPED)  # this start is no restart by supervisord
        process.cancel_restart()
        self._start_when_clear(process)
        sequence = self._reporter.flush()
        if process.state in _NOT_SPAWNED and not process.start_pending:
            raise RPCError(Faults.SPAWN_ERROR, process.spawnerr)
        return sequence

    def stop(self, name: str) -> int:
        """See `PluginsNamespace.stop`."""
        if self._programs.will_read(name):
            self._programs.prepare(name)  # which keeps it from being started
            self._reporter.note(name)
            return self._reporter.flush()
        process = self._programs.get(name)
        was_pending = self._cancel_start(process)
        if process.waits_for_first_start:
            process.laststart = NEVER_STARTED
        elif process.cancel_restart():
            pass  # it stays as it is, or ends
        elif _can_stop(process):
            self._begin_stop(process)
        elif process.state != ProcessStates.STOPPING and not self._orphans.has(name) and not was_pending:
            raise RPCError(Faults.NOT_RUNNING, name)
        return self._reporter.flush()

    def restart(self, name: str) -> int:
        """See `PluginsNamespace.restart`."""
        self._check_mood()
        process = self._programs.prepare(name)
        if _can_stop(process):
            self._begin_stop(process)
        process.cancel_restart()  # this start is no restart by supervisord
        self._start_when_clear(process)
        return self._reporter.flush()

    def end(self, name: str, launches: int, reason: str, restart: str) -> int:
        """See `PluginsNamespace.end`."""
        self._check_mood()
        process = self._programs.find(name)
        if process is not None and process.launches == launches and process.state in _ALIVE:
            self._options.logger.info(f"plugins: ending {name!r}: {reason}")  # noqa: G004
            if error := process.end(reason, restart):
                raise RPCError(Faults.FAILED, error)
        return self._reporter.flush()

    def queue(self, names: list[str], restart: str) -> int:
        """See `PluginsNamespace.queue`."""
        self._check_mood()
        processes = [self._programs.prepare(name) for name in names]
        if restart:
            process = self._programs.prepare(restart)
            if _can_stop(process):
                self._begin_stop(process)
            self._queue(process)
        for process in processes:
            if process.name != restart and not _is_started(process):
                self._queue(process)
        return self._reporter.flush()

    def fail(self, name: str, reason: str) -> int:
        """See `PluginsNamespace.fail`."""
        process = self._programs.find(name)
        if process is not None and process.queued:
            process.queued.fail(reason)
            self._reporter.note(name)
        return self._reporter.flush()

    def execute(self, name: str, launches: int, check: str, timeout_seconds: float, number: int) -> int:
        """See `PluginsNamespace.execute`."""
        self._check_mood()
        if not (isinstance(check, str) and isinstance(number, int) and 0 < timeout_seconds <= LONGEST_CHECK_SECONDS):
            raise TypeError("a check has a name, a time of at most a day and a number")  # wrong parameters
        process = self._programs.get(name)
        if process.launches != launches or not process.pid or process.state not in _ALIVE:
            raise RPCError(Faults.NOT_RUNNING, name)
        self._checks.begin(process, check, timeout_seconds, number)
        return self._reporter.flush()

    def open_worker(self, timeout_seconds: float) -> str:
        """See `PluginsNamespace.open_worker`."""
        self._check_mood()
        if not 0 < timeout_seconds <= LONGEST_WORK_SECONDS:
            raise TypeError("a worker has a time of at most a week")  # wrong parameters
        return self._workers.open(timeout_seconds)

    def end_workers(self, name: str) -> bool:
        """See `PluginsNamespace.end_workers`."""
        self._check_mood()
        self._workers.end(name)
        return True

    def remove(self, name: str) -> int:
        """See `PluginsNamespace.remove`."""
        self._check_mood()
        self._programs.remove(name)
        self._pending.pop(name, None)
        self._reporter.note(name)
        return self._reporter.flush()

    # -- pending starts

    def start_cleared(self) -> None:
        """Start what waited for the end of its process or of its orphans."""
        for process in list(self._pending.values()):
            if not process.start_pending:
                del self._pending[process.name]  # an operator has stopped it
            elif not self._orphans.has(process.name):
                self._start_pending(process)

    def forget_start(self, name: str, process: PluginProcess | None = None) -> None:
        """A program was started by somebody else, or another one is in its place: `process`."""
        if self._pending.get(name) is not process:
            self._pending.pop(name, None)

    def forget_starts(self) -> None:
        """supervisord is stopping: nothing is started any more."""
        self._pending.clear()

    def _queue(self, process: PluginProcess) -> None:
        self._cancel_start(process)
        process.cancel_restart()
        process.queued.begin("asked")
        self._reporter.note(process.name)

    def _start_when_clear(self, process: PluginProcess) -> None:
        process.queued.clear()
        process.start_pending = True
        self._pending[process.name] = process
        self._reporter.note(process.name)
        if not self._orphans.has(process.name):
            self._start_pending(process)

    def _start_pending(self, process: PluginProcess) -> None:
        """Start a process whose start is pending, if nothing of it is alive."""
        if not process.is_stopped or self._options.mood < SupervisorStates.RUNNING:
            return
        if time.monotonic() - process.stop_awaited_at < AWAITED_SECONDS:
            return  # `supervisorctl stop` would wait for the end of the new process, if it never saw the old one's
        self._cancel_start(process)
        process.backoff = 0
        process.spawn()
        process.transition()  # with `startsecs` 0 it counts as running at once

    def _cancel_start(self, process: PluginProcess) -> bool:
        process.start_pending = False
        was_pending = process.queued.cancel() | (self._pending.pop(process.name, None) is not None)
        if was_pending:
            self._reporter.note(process.name)
        return was_pending

    def _begin_stop(self, process: PluginProcess) -> None:
        if error := process.stop():
            raise RPCError(Faults.FAILED, error)

    def _check_mood(self) -> None:
        if self._options.mood < SupervisorStates.RUNNING:
            raise RPCError(Faults.SHUTDOWN_STATE)


def _is_started(process: PluginProcess) -> bool:
    return process.state in _ALIVE or process.start_pending or process.is_unsignallable


def _can_stop(process: PluginProcess) -> bool:
    return process.state in (*_ALIVE, ProcessStates.BACKOFF) or process.is_unsignallable
