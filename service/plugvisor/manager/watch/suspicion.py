"""Decides when a plugin that writes its own watched files is not reloaded any more, and when again."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

MOST_RELOADS = 3
WINDOW_SECONDS = 10.0
"""After so many reloads within this time that nobody has certainly asked for, watching is suspended; the time that the
reloads take themselves does not count."""
LONGEST_HOLD_SECONDS = 600.0
FORGETTING_SECONDS = 60.0
MOST_IN_ANY_CASE = 10
"""So many within the window are nobody's, whatever it looks like."""


class Suspicion:
    """One plugin's recent reloads. A person's save is one that the plugin cannot have made itself."""

    def __init__(self) -> None:
        self.is_suspended = False
        self.suspects: set[str] = set()
        """The files whose changes have led to the last reloads."""
        self._known: Collection[str] = ()
        # a plugin can change files so that it looks like a person: each save in vain ends the next suspension later
        self._vain_saves = 0
        self._saved_at = -math.inf
        self._held_until = -math.inf
        self._gaps: list[float] = []
        self._ended_at: float | None = None
        self._reloads: deque[float] = deque(maxlen=MOST_IN_ANY_CASE)

    def admits(self, paths: Collection[str], now: float, *, by_person: bool) -> bool:
        """Whether a reload for these changes is to be made; if not, watching is to be suspended.

        Args:
            now: in seconds, on the monotonic clock.
            by_person: whether the plugin has certainly not made them.
        """
        is_flood = len(self._reloads) == MOST_IN_ANY_CASE and now - self._reloads[0] < WINDOW_SECONDS
        if by_person and not is_flood:
            self._gaps, self.suspects = [], set()
        else:
            gap = WINDOW_SECONDS if self._ended_at is None else now - self._ended_at
            if gap >= WINDOW_SECONDS:
                self._gaps, self.suspects = [0.0], set()
            elif is_flood or (len(self._gaps) == MOST_RELOADS and sum(self._gaps) + gap < WINDOW_SECONDS):
                self.suspects.update(paths)
                return False
            else:
                self._gaps = [*self._gaps, gap][-MOST_RELOADS:]
        self.suspects.update(paths)
        self._reloads.append(now)
        return True

    def note_end(self, now: float) -> None:
        """A reload has been made."""
        self._ended_at = now

    def suspend(self, now: float) -> None:
        """Suspend watching."""
        self.is_suspended = True
        if now - self._saved_at >= FORGETTING_SECONDS:
            self._vain_saves = 0
        elif self._vain_saves:
            self._held_until = now + min(WINDOW_SECONDS * 2.0 ** (self._vain_saves - 1), LONGEST_HOLD_SECONDS)

    def note_known(self, known: Collection[str]) -> None:
        """Watching is suspended, and these files are there."""
        if self.is_suspended:
            self._known = known

    def ends_by(self, paths: Collection[str], now: float, *, by_person: bool) -> bool:
        """Whether changes end the suspension: a person's save, or one of a file that was there and is no suspect.

        One that comes soon after another that has changed nothing does not.
        """
        is_save = by_person or any(path in self._known and path not in self.suspects for path in paths)
        return is_save and now >= self._held_until

    def resume(self, saved_at: float | None = None) -> None:
        """Reload again.

        Args:
            saved_at: when a file was saved that has ended the suspension; None if something else has.
        """
        self._vain_saves = 0 if saved_at is None else min(self._vain_saves + 1, 16)
        self._saved_at = -math.inf if saved_at is None else saved_at
        self._held_until = -math.inf
        self.is_suspended, self._known, self._gaps, self.suspects = False, (), [], set()
        self._ended_at = None
        self._reloads.clear()
