"""Clients of `WS /ws/admin`, as the dialect's front end is one."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from websockets.sync.client import ClientConnection, connect

from tests.helpers.stack import ADMIN_CODE
from tests.helpers.waiting import DEADLINE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.helpers.stack import PlugvisorStack


def open_admin_socket(plugvisor: PlugvisorStack, **options: Any) -> ClientConnection:
    """One that has sent nothing yet."""
    url = f"ws://127.0.0.1:{plugvisor.port}/ws/admin"
    return connect(url, proxy=None, open_timeout=DEADLINE_SECONDS, **options)


@contextmanager
def open_signed_in(plugvisor: PlugvisorStack, code: str = ADMIN_CODE) -> Iterator[ClientConnection]:
    """One that has sent a code."""
    with open_admin_socket(plugvisor) as websocket:
        websocket.send(json.dumps({"type": "auth", "code": code}))
        yield websocket


def call(websocket: ClientConnection, method: str, **params: Any) -> dict[str, Any]:
    """Send a request; returns the answer to it."""
    websocket.send(json.dumps({"type": "req", "id": f"rpc-{method}", "method": method, "params": params}))
    answer: dict[str, Any] = json.loads(websocket.recv(DEADLINE_SECONDS))
    assert (answer["type"], answer["id"]) == ("resp", f"rpc-{method}")
    return answer
