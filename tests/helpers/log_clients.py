"""Clients that follow a log, as tests need them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.helpers.event_client import EventClient, open_events
from tests.helpers.stack import ADMIN_CODE
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    import contextlib

    from websockets.frames import Close

    from tests.helpers.stack import PlugvisorStack

HEADERS = {"Authorization": f"Bearer {ADMIN_CODE}"}


def following(
    plugvisor: PlugvisorStack, plugin_id: str, last_event_id: str | None = None, **query: str
) -> contextlib.AbstractContextManager[EventClient]:
    path = f"/plugin/{plugin_id}/logs/stream"
    return open_events(plugvisor.port, last_event_id, path=path, code=ADMIN_CODE, **query)


def messages_of(listener: EventClient) -> list[str]:
    """Every line that came, in the order in which they came."""
    return [entry["message"] for event in list(listener.events) for entry in event.data["logs"]]


def wait_for_lines(listener: EventClient, *expected: str) -> None:
    wait_for(
        lambda: messages_of(listener)[-1:] == [*expected][-1:], f"{expected[-1]!r} in {messages_of(listener)[-5:]}"
    )
    assert messages_of(listener)[-len(expected) :] == [*expected]


def open_websocket(
    plugvisor: PlugvisorStack, plugin_id: str, code: str | None = ADMIN_CODE, **options: Any
) -> ClientConnection:
    query = f"?code={code}" if code is not None else ""
    url = f"ws://127.0.0.1:{plugvisor.port}/ws/logs/{plugin_id}{query}"
    return connect(url, proxy=None, open_timeout=DEADLINE_SECONDS, **options)


def receive(websocket: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(websocket.recv(DEADLINE_SECONDS))
    return message


def receive_lines(websocket: ClientConnection, count: int) -> list[str]:
    lines: list[str] = []
    while len(lines) < count:
        message = receive(websocket)
        if message["type"] != "ping":
            assert message.keys() == {"type", "logs"}
            assert message["type"] == "append"
            lines += [entry["message"] for entry in message["logs"]]
    return lines


def wait_for_close(websocket: ClientConnection) -> Close:
    """How a WebSocket is closed, whatever else it has received before."""
    try:
        while True:
            websocket.recv(DEADLINE_SECONDS)
    except ConnectionClosed as closed:
        close = closed.rcvd
    assert close is not None, "it was cut off"
    return close


def refused_with(plugvisor: PlugvisorStack, plugin_id: str, code: str | None, **options: Any) -> dict[str, Any]:
    """The problem with which the handshake of a WebSocket is answered that is not served."""
    with pytest.raises(InvalidStatus) as refused:
        open_websocket(plugvisor, plugin_id, code, **options)
    response = refused.value.response
    assert response.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = json.loads(response.body or b"")
    assert problem["status"] == response.status_code
    return problem
