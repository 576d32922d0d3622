"""Making supervisord a child subreaper (prctl(2)): orphans become its own children, instead of init's."""

from __future__ import annotations

import sys

_PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> bool:
    """Make this process a child subreaper, which exec preserves; returns whether the system has such a thing."""
    if sys.platform != "linux":
        return False
    import ctypes  # noqa: PLC0415 - a megabyte that macOS need not spend

    result: int = ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    return result == 0
