"""Fixtures for every test; what they are made of is in `tests/helpers/`."""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING

import pytest

from tests.helpers.plugin_code import HESITANT, OBEDIENT
from tests.helpers.ports import find_free_port
from tests.helpers.processes import find_processes, is_alive
from tests.helpers.stack import ADMIN_CODE, PlugvisorStack, run_stack
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# under their old names, for the tests that have not moved yet
Plugvisor, make_plugvisor = PlugvisorStack, run_stack
__all__ = [
    "ADMIN_CODE",
    "DEADLINE_SECONDS",
    "HESITANT",
    "OBEDIENT",
    "Plugvisor",
    "find_free_port",
    "find_processes",
    "is_alive",
    "make_plugvisor",
    "wait_for",
]


@pytest.fixture
def plugvisor() -> Iterator[PlugvisorStack]:
    """A Plugvisor of this test's own, not up yet."""
    with run_stack() as stack:
        yield stack


@pytest.fixture(scope="module")
def shared() -> Iterator[PlugvisorStack]:
    """One Plugvisor for a whole file, up, with no plugin: each test adds its own under an id of its own."""
    with run_stack() as stack:
        stack.up()
        yield stack


@pytest.fixture
def add(shared: PlugvisorStack, request: pytest.FixtureRequest) -> Callable[..., str]:
    """Adds a plugin, named after the test, to the shared Plugvisor; returns its id."""

    def add_plugin(code: str = OBEDIENT, *, runtime: str = "auto_start = false", suffix: str = "") -> str:
        name = re.sub(r"[^A-Za-z0-9_-]", "-", request.node.name)
        plugin_id = (name if len(name) <= 50 else f"{name[:40]}-{zlib.crc32(name.encode()):08x}") + suffix
        shared.write_plugin(plugin_id, code, runtime=runtime)
        refreshed = shared.post("/plugins/refresh")
        assert plugin_id in refreshed.json()["added"], refreshed.text
        return plugin_id

    return add_plugin
