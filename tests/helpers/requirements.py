"""What only some machines have, and tests need."""

from __future__ import annotations

import os
import shutil

import pytest

DOCKER = "PLUGVISOR_TESTS_REQUIRE_DOCKER"
"""A variable that is set where Docker must be there: its absence then fails the tests instead of skipping them."""
SWARM = "PLUGVISOR_TESTS_REQUIRE_SWARM"
"""The same for a swarm of several nodes."""
DEPLOY = "PLUGVISOR_TESTS_REQUIRE_DEPLOY"
"""The same for the programs that run what is in `deploy/`: Prometheus, nginx, Caddy and systemd."""

SHELLS = "PLUGVISOR_TESTS_REQUIRE_SHELLS"
"""The same for bash, zsh and fish."""


def skip_or_fail(problem: str, variable: str) -> None:
    """Skip the test, or fail it where this variable is set."""
    (pytest.fail if os.environ.get(variable) else pytest.skip)(problem)


def find_program(name: str, variable: str) -> str:
    """The path of a program; skips the test, or fails it where this variable is set, if there is none."""
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if path is None:
        skip_or_fail(f"there is no {name}", variable)
        raise AssertionError
    return path
