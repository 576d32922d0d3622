"""A scripted service for commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.helpers.scripted_server import ScriptedServer, run_server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    """A service that answers as the test says; commands find it."""
    made = ScriptedServer()
    monkeypatch.setenv("PLUGVISOR_PORT", str(made.server_address[1]))
    monkeypatch.setenv("PLUGVISOR_TOKEN", "pv_a-token-for-tests")
    with run_server(made):
        yield made
