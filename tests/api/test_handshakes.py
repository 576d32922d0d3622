"""WebSocket handshakes that no browser sends: each is rejected, and none is in the way of a shutdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.helpers.raw_http import AUTHORIZED, ask, connect, parse, receive, send
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from tests.helpers.stack import PlugvisorStack

HANDSHAKE = (
    b"GET /ws/logs/_server?code=x HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
UNREADABLE = {
    "with a body": b"Content-Length: 100\r\n\r\nx",
    "with chunks": b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    "with a long header": b"X: " + b"x" * 9000 + b"\r\n\r\n",
    "with many headers": b"X: y\r\n" * 200 + b"\r\n",
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_an_unreadable_handshake_is_rejected(shared: PlugvisorStack, kind: str) -> None:
    [answer] = ask(shared, HANDSHAKE + UNREADABLE[kind])
    assert (answer.status, answer.code) == (400, "malformed_request")


def test_a_rejected_handshake_is_no_error_of_the_service(plugvisor: PlugvisorStack) -> None:
    plugvisor.up()
    [answer] = ask(plugvisor, HANDSHAKE + b"\r\n")
    assert (answer.status, answer.code) == (401, "unauthorized")
    plugvisor.http.post("/plugin/later/start")
    wait_for(lambda: "/plugin/later/start" in plugvisor.service_log, "the log to have what came before, too")
    assert " ERROR " not in plugvisor.service_log


def test_a_shutdown_after_unreadable_handshakes(plugvisor: PlugvisorStack) -> None:
    plugvisor.up()
    with connect(plugvisor) as client:
        send(client, HANDSHAKE + UNREADABLE["with many headers"])
        assert plugvisor.http.get("/health").status_code == 200, "the handshake has arrived by then"
        plugvisor.rpc("stopProcess", "plugvisor")
    wait_for(lambda: plugvisor.rpc("getProcessInfo", "plugvisor")["statename"] == "STOPPED", "the service to stop")
    assert "Traceback" not in plugvisor.service_log


def test_a_handshake_while_a_request_is_answered(plugvisor: PlugvisorStack) -> None:
    """The response to the earlier request would be sent into the WebSocket."""
    plugvisor.write_plugin("slow", runtime="auto_start = false\nsupervisor.startsecs = 1")
    plugvisor.up()
    start = (
        b"POST /plugin/slow/start?wait=5 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n" + AUTHORIZED + b"\r\n"
    )
    with connect(plugvisor) as client:
        send(client, start + HANDSHAKE + b"\r\n")
        data, is_closed = receive(client)
    assert is_closed
    assert [answer.status for answer in parse(data)] == [200]
