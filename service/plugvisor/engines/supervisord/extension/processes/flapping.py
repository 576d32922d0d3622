"""Whether a program is flapping: supervisord restarts it again and again."""

from __future__ import annotations

from collections import deque

FLAPPING_RESTARTS = 3
FLAPPING_SECONDS = 60.0
"""This many restarts by supervisord within this time are flapping; as long without one ends it.

Only the time in which the program runs counts: the delays before the restarts may be longer than that.
"""


class Flapping:
    """The recent restarts of one program."""

    def __init__(self) -> None:
        self.is_present = False
        self._ran_seconds = 0.0
        self._restarts: deque[float] | None = None  # by the time that it had run; most programs have none

    def note_restart(self, ran_seconds: float) -> None:
        """Count a restart of a process that had run for `startsecs`; the others become FATAL and do not flap.

        Args:
            ran_seconds: how long the process has run.
        """
        self._ran_seconds += ran_seconds
        recent = self._restarts = self._restarts or deque(maxlen=FLAPPING_RESTARTS)
        recent.append(self._ran_seconds)
        self.is_present = len(recent) == FLAPPING_RESTARTS and self._ran_seconds - recent[0] < FLAPPING_SECONDS

    def end_if_over(self, runs_seconds: float) -> bool:
        """End it if the present process has run for long; returns whether it has ended now."""
        if not self.is_present or runs_seconds < FLAPPING_SECONDS:
            return False
        self.is_present = False
        return True

    def forget(self) -> None:
        """Forget earlier restarts: an operator has started the program."""
        self._ran_seconds = 0.0
        self._restarts = None
        self.is_present = False
