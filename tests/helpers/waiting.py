"""Waiting for a condition; no test sleeps for time to pass."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE_SECONDS = 60.0
"""Far longer than anything takes on two busy cores; reached only when something is wrong."""
POLL_SECONDS = 0.01


def wait_for(condition: Callable[[], Any], what: str = "", seconds: float = DEADLINE_SECONDS) -> Any:
    """Call `condition` until what it returns is true, and return that; fail after the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds} seconds in vain for {what or condition}")
        time.sleep(POLL_SECONDS)
