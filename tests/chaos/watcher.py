"""Looks for broken promises all the while, whichever engine runs the plugins."""

from __future__ import annotations

import time
from abc import abstractmethod
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from tests.helpers.background import Background

if TYPE_CHECKING:
    from tests.chaos.activity import Activity
    from tests.chaos.swarm.activity import Activity as SwarmActivity


STARVED_SECONDS = 0.5
"""A look takes 20 ms at most; if the next begins so late, the machine is starved, and so is all that runs on it."""


class Watcher(Background):
    """Looks again and again, from `with` to its end."""

    look_seconds: ClassVar[float]
    """The pause between two looks."""

    def __init__(self, activity: Activity | SwarmActivity) -> None:
        super().__init__()
        self.violations: list[str] = []
        self.looks = 0
        self._activity = activity

    def report(self, violation: str) -> None:
        """A promise does not hold; the text begins with its number."""
        self.violations.append(f"{datetime.now():%H:%M:%S.%f} {violation}")  # noqa: DTZ005 - as in the logs

    def _run(self) -> None:
        looked_at = time.monotonic()
        while not self._end.is_set():
            if time.monotonic() - looked_at > STARVED_SECONDS:
                self._activity.note_starved()
            looked_at = time.monotonic()
            try:
                self._look()
            except Exception as error:  # noqa: BLE001 - a thread's error would be lost
                self.report(f"the watcher itself: {error!r}")
                return
            self._end.wait(self.look_seconds)

    @abstractmethod
    def _look(self) -> None:
        """Look once, and report what is wrong."""
