"""What only some machines have, and tests need."""

from __future__ import annotations

import os

import pytest

DOCKER = "PLUGVISOR_TESTS_REQUIRE_DOCKER"
"""A variable that is set where Docker must be there: its absence then fails the tests instead of skipping them."""
SWARM = "PLUGVISOR_TESTS_REQUIRE_SWARM"
"""The same for a swarm of several nodes."""

SHELLS = "PLUGVISOR_TESTS_REQUIRE_SHELLS"
"""The same for bash, zsh and fish."""


def skip_or_fail(problem: str, variable: str) -> None:
    """Skip the test, or fail it where this variable is set."""
    (pytest.fail if os.environ.get(variable) else pytest.skip)(problem)
