"""The clock that supervisord measures time with, which setting the system's clock does not affect.

supervisor 4.3.0 counts with the wall clock. If that jumps an hour forward, whatever is stopping is killed at
once, and what starts counts as running before it has done anything; if it jumps back, supervisor corrects some of its
times and not others. So its modules get a `time` of ours: the wall clock as it was at the start, from which
on the monotonic clock counts. Once in a round that is brought back to the wall clock, and every time that
supervisord remembers is moved by as much: what has passed and what is left stay the same, and what it shows is right.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from supervisor import http, process, rpcinterface, supervisord

if TYPE_CHECKING:
    from collections.abc import Iterable

JUMP_SECONDS = 1.0
"""A wall clock that is off by less is let be: it is being adjusted, or differs by what two readings take."""
_EARLIEST = 1.0
"""Smaller ones are no times: `laststart`, `laststop` and `delay` are 0 if there is none."""


class SteadyClock:
    """In the place of the module `time`: `time` is its own, all the rest is that module's."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def install(self) -> None:
        """Give it to every module of supervisor's that reads the time to count with it."""
        for module in (http, process, rpcinterface, supervisord):
            module.time = self

    def time(self) -> float:
        """Seconds since 1970, without a jump."""
        return time.monotonic() + self._offset

    def follow(self, processes: Iterable[Any]) -> float:
        """Follow a jump of the wall clock, and move every time that is remembered of processes with it.

        Returns:
            the seconds; mostly 0.
        """
        jump = time.time() - self.time()
        if abs(jump) < JUMP_SECONDS:
            return 0.0
        self._offset += jump
        for subprocess in processes:
            for name in ("laststart", "laststop", "laststopreport", "delay"):
                at = getattr(subprocess, name)
                if at > _EARLIEST:
                    setattr(subprocess, name, max(at + jump, _EARLIEST))
        return jump

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)
