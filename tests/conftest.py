"""Fixtures for every test; what they are made of is in `tests/helpers/`."""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING

import pytest

from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.stack import PlugvisorStack, run_stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


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
