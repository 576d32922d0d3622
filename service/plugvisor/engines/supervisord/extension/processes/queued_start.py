"""A start that waits until the service says that the program's dependencies are met."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from supervisor.states import ProcessStates

if TYPE_CHECKING:
    from collections.abc import Callable

NEVER_STARTED = 0.5
"""A `laststart` that supervisord shows as 0 but takes for true: it does not start such a program by itself."""
_SETTLED = (ProcessStates.BACKOFF, ProcessStates.EXITED, ProcessStates.FATAL)


class QueuedStart:
    """Whether a program's start waits for `plugins.start`; nothing starts it by itself meanwhile.

    supervisord keeps this, and not the service, so that a service that is killed loses nothing.
    """

    def __init__(self, process: Any, on_cancel: Callable[[], object]) -> None:
        self.why = ""
        """"boot": it starts by itself; "asked": of `plugins.queue`; empty: it does not wait."""
        self._process = process
        self._on_cancel = on_cancel
        self._failure = ""  # shown when the process that is still stopping has ended

    def __bool__(self) -> bool:
        return bool(self.why)

    def begin(self, why: str) -> None:
        """Wait from now on; what the process was before is over."""
        process = self._process
        if process.state in _SETTLED:
            process.change_state(ProcessStates.STOPPED)
        process.spawnerr = None
        self.why, self._failure = why, ""

    def clear(self) -> None:
        """Wait no more: the process is started."""
        self.why = self._failure = ""

    def cancel(self) -> bool:
        """Wait no more, and stay STOPPED; returns whether it waited."""
        waited = bool(self.why or self._failure)
        if waited:
            self.clear()
            self._process.laststart = self._process.laststart or NEVER_STARTED
            self._on_cancel()
        return waited

    def fail(self, reason: str) -> None:
        """Give the start up: FATAL, as soon as the process has ended that was to be restarted."""
        self.why, self._failure = "", reason
        self.show_failure()

    def show_failure(self) -> None:
        """Be FATAL if the start was given up and no process is left."""
        process = self._process
        if self._failure and process.is_stopped:
            process.config.options.logger.warn(f"gave up: {process.name}: {self._failure}")  # noqa: G004, G010
            process.spawnerr, self._failure = self._failure, ""
            process.system_stop = True
            process.change_state(ProcessStates.FATAL)
