"""Whether a program is flapping: supervisord restarts it again and again."""

from __future__ import annotations

import time
from collections import deque

FLAPPING_RESTARTS = 3
FLAPPING_SECONDS = 60.0
"""This many restarts by supervisord within this time are flapping; as long without one ends it."""


class Flapping:
    """The recent restarts of one program."""

    def __init__(self) -> None:
        self.is_present = False
        self._restarts: deque[float] | None = None  # most programs have none

    @property
    def seconds_left(self) -> float:
        """In how many seconds it ends if there is no other restart."""
        last = self._restarts[-1] if self._restarts else 0.0
        return last + FLAPPING_SECONDS - time.monotonic()

    def note_restart(self) -> None:
        """Count a restart of a process that had run for `startsecs`; the others become FATAL and do not flap."""
        now = time.monotonic()
        recent = self._restarts = self._restarts or deque(maxlen=FLAPPING_RESTARTS)
        recent.append(now)
        self.is_present = len(recent) == FLAPPING_RESTARTS and now - recent[0] < FLAPPING_SECONDS

    def end_if_over(self) -> bool:
        """End it if there was no restart for long; returns whether it has ended now."""
        if not self.is_present or self.seconds_left > 0:
            return False
        self.is_present = False
        return True

    def forget(self) -> None:
        """Somebody has started the program: what was before is over."""
        self._restarts = None
        self.is_present = False
