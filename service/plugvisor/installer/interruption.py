"""Interrupts long work when the service hangs up: nothing waits for its outcome."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

TICK_SECONDS = 0.1


class Interrupted(BaseException):
    """Raised wherever this process is, within an interruptible block."""


class Interruptions:
    """SIGTERM, and a look at the connection ten times a second.

    A signal's handler runs between any two instructions of the main thread, and a system call that waits is
    interrupted; so nothing that is called has to know of it.

    Args:
        is_over: whether nobody waits for the outcome.
    """

    def __init__(self, is_over: Callable[[], bool]) -> None:
        self._is_over = is_over
        self._is_interruptible = False
        self.is_asked = False
        """Whether this process is to end."""
        signal.signal(signal.SIGTERM, self._handle)
        signal.signal(signal.SIGALRM, self._handle)

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """A block in which `Interrupted` may be raised, once, at any place."""
        signal.setitimer(signal.ITIMER_REAL, TICK_SECONDS, TICK_SECONDS)
        try:
            self._is_interruptible = True
            if self.is_asked:
                raise Interrupted
            yield
        finally:
            self._is_interruptible = False
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self.is_asked = self.is_asked or number == signal.SIGTERM or self._is_over()
        if self.is_asked and self._is_interruptible:
            self._is_interruptible = False
            raise Interrupted
