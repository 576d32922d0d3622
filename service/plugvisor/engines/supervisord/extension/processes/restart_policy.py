"""The restart policy: when a program that has ended by itself is started again, and when it is given up."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class RestartValues(NamedTuple):
    """`[plugin_runtime.restart]` of a manifest, whose defaults are the same; times in seconds."""

    delay: float = 0.5
    factor: float = 2.0
    max_delay: float = 30.0
    reset_after: float = 60.0
    max_restarts: float = 0
    window: float = 600.0


_DEFAULTS = RestartValues()


class RestartPolicy:
    """The delays and the recent restarts of one program.

    Args:
        read_clock: seconds on a clock that never jumps.
    """

    __slots__ = ("_next_delay", "_read_clock", "_restarts", "values")

    def __init__(self, read_clock: Callable[[], float] = time.monotonic) -> None:
        self.values = _DEFAULTS
        self._read_clock = read_clock
        self._next_delay: float | None = None
        self._restarts: deque[float] | None = None  # kept only if their number is limited

    def begin_anew(self) -> None:
        """Forget every restart: somebody has started the program."""
        self._next_delay = None
        self._restarts = None

    def note_restart(self) -> None:
        """The program was started again."""
        if self.values.max_restarts:
            self._restarts = self._restarts or deque()
            self._restarts.append(self._read_clock())

    def find_delay(self, ran_seconds: float) -> float | None:
        """Return the seconds until the next restart of a process that has ended; the next call returns more.

        Args:
            ran_seconds: how long the process has run.

        Returns:
            None if the restart would be one too many.
        """
        values = self.values
        if self._next_delay is None or ran_seconds >= values.reset_after:
            self._next_delay = values.delay
        delay = min(self._next_delay, values.max_delay)
        if values.max_restarts and self._count_recent(self._read_clock() + delay) >= values.max_restarts:
            return None
        self._next_delay = min(delay * values.factor, values.max_delay)
        return delay

    def describe_end(self) -> str:
        """Why there is no other restart."""
        return f"it was restarted {self.values.max_restarts:.0f} times within {self.values.window:g} seconds"

    def _count_recent(self, at: float) -> int:
        restarts = self._restarts or ()
        while restarts and at - restarts[0] > self.values.window:
            restarts.popleft()
        return len(restarts)
