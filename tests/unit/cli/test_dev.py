"""When `plugvisor dev` begins to talk to the service that it has started."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugvisor.cli.dev.stack import DevStack, find_free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helpers.scripted_server import ScriptedServer


def test_no_client_takes_the_port_meanwhile() -> None:
    """Linux gives a client a port from 32,768 on, macOS from 49,152."""
    assert find_free_port() < 32_768


def test_it_waits_for_the_admin_code(server: ScriptedServer, tmp_path: Path) -> None:
    """A client that was made before there was one would have none for as long as it lives."""
    server.respond = lambda _request: (200, b"{}")
    stack = DevStack(tmp_path, None, server.server_address[1])
    try:
        assert stack.connect() is None
        (stack.root / "run").mkdir()
        (stack.root / "run" / "admin_code").write_text("a-code-that-was-made\n")
        client = stack.connect()
        assert client is not None
        assert client.has_token
    finally:
        stack.remove()
