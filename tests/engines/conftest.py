"""The same tests over each engine: what a plugin's user is promised holds whatever runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.helpers.stack import run_stack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.helpers.stack import PlugvisorStack

ENGINES = ("supervisord", "swarm")


@pytest.fixture(params=ENGINES)
def plugvisor(request: pytest.FixtureRequest) -> Iterator[PlugvisorStack]:
    """A Plugvisor of this test's own, not up yet, over each engine."""
    if request.param == "swarm":
        yield request.getfixturevalue("swarm_stack")
    else:
        with run_stack() as stack:
            yield stack


@pytest.fixture(scope="module", params=ENGINES)
def shared(request: pytest.FixtureRequest) -> Iterator[PlugvisorStack]:
    """One Plugvisor for a whole file, up, over each engine."""
    if request.param == "swarm":
        yield request.getfixturevalue("swarm_shared")
    else:
        with run_stack() as stack:
            stack.up()
            yield stack
