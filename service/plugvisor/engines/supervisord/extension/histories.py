"""Runs inside supervisord: what it does not keep itself of its programs."""

from __future__ import annotations

import os
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from supervisor.datatypes import RestartUnconditionally
from supervisor.options import signame

from plugvisor.models.process import ProcessState

FLAPPING_RESTARTS = 3
FLAPPING_SECONDS = 60.0
"""So many restarts by supervisord within this time are flapping; as long without one, and it is over."""


@dataclass
class History:
    """Of one program, since it was added."""

    restarts: int = 0
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=FLAPPING_RESTARTS))
    flapping: bool = False
    is_due: bool = False
    """It has exited and supervisord is about to start it again."""
    last_exit: dict[str, Any] | None = None
    started: float = 0.0
    """On the monotonic clock, which nobody sets."""


class Histories:
    """The history of each program."""

    def __init__(self) -> None:
        self._known: dict[str, History] = {}

    def get(self, name: str) -> History:
        """One program's."""
        return self._known.setdefault(name, History())

    def forget(self, name: str) -> None:
        """The program was removed."""
        self._known.pop(name, None)

    def note_state(self, name: str, process: Any, before: int, wait_status: int | None) -> None:
        """A process has changed its state.

        Args:
            before: the state that it had.
            wait_status: how it ended, where it has just ended (wait(2)).
        """
        history = self.get(name)
        if wait_status is not None:
            history.last_exit = _describe_exit(wait_status)
        if process.state == ProcessState.STARTING:
            history.started = time.monotonic()
            if before == ProcessState.BACKOFF:
                history.restarts += 1
            elif history.is_due:
                history.restarts += 1
                _note_death(history)
            else:  # a person's start: what was before is over
                history.recent.clear()
                history.flapping = False
        history.is_due = restarts_by_itself(process)

    def end_flapping(self) -> list[str]:
        """Those that were flapping and have lived long enough since."""
        now = time.monotonic()
        over = []
        for name, history in self._known.items():
            if history.flapping and now - history.recent[-1] > FLAPPING_SECONDS:
                history.flapping = False
                over.append(name)
        return over


def restarts_by_itself(process: Any) -> bool:
    """Whether supervisord is about to start a process that has exited (`Subprocess.transition`)."""
    if process.state != ProcessState.EXITED:
        return False
    restart = process.config.autorestart
    return restart is RestartUnconditionally or (bool(restart) and process.exitstatus not in process.config.exitcodes)


def _note_death(history: History) -> None:
    """Of one that had lived for `startsecs`: the others end in FATAL and are no flapping."""
    now = time.monotonic()
    history.recent.append(now)
    history.flapping = len(history.recent) == FLAPPING_RESTARTS and now - history.recent[0] < FLAPPING_SECONDS


def _describe_exit(status: int) -> dict[str, Any]:
    at = time.time()
    if os.WIFSIGNALED(status):
        return {"signal": signame(os.WTERMSIG(status)), "at": at}
    return {"code": os.WEXITSTATUS(status), "at": at}
