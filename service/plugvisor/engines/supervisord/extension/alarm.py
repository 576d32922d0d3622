"""Runs inside supervisord: wakes its loop when a process is due; by itself it comes up to a second late."""

from __future__ import annotations

import signal
from typing import Any

from supervisor.states import SupervisorStates

from plugvisor.engines.supervisord.extension.histories import restarts_by_itself
from plugvisor.models.process import ProcessState

_SHORTEST_SECONDS = 0.01


class Alarm:
    """Knows the processes to which supervisord will do something when a time has come."""

    def __init__(self) -> None:
        self._due: dict[str, Any] = {}
        signal.signal(signal.SIGALRM, lambda *_: None)  # it wakes the loop, that is all

    def watch(self, name: str, process: Any) -> None:
        """A process has changed its state."""
        if process.state in _DUE:
            self._due[name] = process
        else:
            self.forget(name)

    def forget(self, name: str) -> None:
        """A program is gone, or another one is in its place."""
        self._due.pop(name, None)

    def set(self, now: float, other_in: float | None) -> None:
        """Wake the loop when the first of them is due, or in so many seconds for something else.

        Args:
            now: on the clock by which supervisord counts.
        """
        times = [_due_at(process, now) for process in self._due.values()]
        if other_in is not None:
            times.append(now + other_in)
        first = min(times, default=None)
        if first is not None and first - now < 1:  # by then it goes its round anyway
            signal.setitimer(signal.ITIMER_REAL, max(first - now, _SHORTEST_SECONDS))

    def stop(self) -> None:
        """Wake it no more."""
        signal.setitimer(signal.ITIMER_REAL, 0)


_DUE = (ProcessState.STARTING, ProcessState.BACKOFF, ProcessState.STOPPING, ProcessState.EXITED)


def _due_at(process: Any, now: float) -> float:
    """When supervisord's next round does something to a process (`Subprocess.transition`), on its wall clock."""
    running = process.config.options.mood >= SupervisorStates.RUNNING
    match process.state:
        case ProcessState.STARTING:
            return process.laststart + process.config.startsecs  # type: ignore[no-any-return]
        case ProcessState.STOPPING:
            return process.delay  # type: ignore[no-any-return]
        case ProcessState.BACKOFF if running:
            return process.delay  # type: ignore[no-any-return]
        case ProcessState.EXITED if running and restarts_by_itself(process):
            return now
        case _:
            return now + 3600
