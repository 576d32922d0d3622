"""Streams of logs: many of them, clients that do not read, and the end of the service."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING

from plugvisor.api.resources.logs.streams import MOST_STREAMS
from plugvisor.logs.follow import MOST_BEHIND_BYTES

from tests.helpers.log_clients import (
    HEADERS,
    following,
    open_websocket,
    receive,
    refused_with,
    wait_for_close,
    wait_for_lines,
)
from tests.helpers.processes import count_descriptors, cpu_seconds, resident_megabytes
from tests.helpers.stack import ADMIN_CODE, OVERDUE, PlugvisorStack
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def deaf_clients(plugvisor: PlugvisorStack, plugin_id: str, count: int) -> Iterator[list[socket.socket]]:
    """Clients that ask for the stream and never read."""
    with contextlib.ExitStack() as stack:
        clients = []
        for number in range(count):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", plugvisor.port))
            if number % 2:
                client.sendall(
                    f"GET /ws/logs/{plugin_id}?code={ADMIN_CODE} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
                )
            else:
                client.sendall(
                    f"GET /plugin/{plugin_id}/logs/stream HTTP/1.1\r\nHost: localhost\r\n"
                    f"Authorization: Bearer {ADMIN_CODE}\r\n\r\n".encode()
                )
            clients.append(client)
        yield clients


def test_streams_are_bounded_in_number_and_given_back(shared: PlugvisorStack) -> None:
    before = count_descriptors(shared.service_pid)
    with contextlib.ExitStack() as stack:
        for number in range(MOST_STREAMS):
            if number % 2:
                stack.enter_context(following(shared, "_server")).wait("initial")
            else:
                assert receive(stack.enter_context(open_websocket(shared, "_server")))["type"] == "initial"
        response = shared.http.get("/plugin/_server/logs/stream", headers=HEADERS)
        assert (response.status_code, response.json()["code"]) == (503, "too_many_streams")
        assert int(response.headers["Retry-After"]) > 0
        problem = refused_with(shared, "_server", ADMIN_CODE)
        assert (problem["status"], problem["code"]) == (503, "too_many_streams")
        assert problem["retry_after"] > 0
        assert shared.http.get("/plugin/_server/logs", headers=HEADERS).status_code == 200
    wait_for(lambda: count_descriptors(shared.service_pid) <= before + 5, "what was followed to be closed")
    with following(shared, "_server") as listener:
        listener.wait("initial")


def test_who_does_not_read_costs_no_memory_and_keeps_nobody_waiting(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("loud", runtime="auto_start = false")
    plugvisor.up()
    log = plugvisor.log_dir / "loud.log"
    log.write_bytes(b"first\n")
    with deaf_clients(plugvisor, "loud", 10), following(plugvisor, "loud") as listener:
        wait_for_lines(listener, "first")
        before = resident_megabytes(plugvisor.service_pid)
        line = b"2026-11-22 10:11:12 INFO " + b"x" * 200 + b"\n"
        with log.open("ab") as file:
            for _ in range(30):
                file.write(line * 5000)  # a megabyte
                file.flush()
        with log.open("ab") as file:
            file.write(b"last\n")
        wait_for_lines(listener, "last")
        assert resident_megabytes(plugvisor.service_pid) - before < 38, "of 30 MB for each of ten, and JSON of them"
        assert "initial" in listener.kinds[1:], f"nobody sends more than {MOST_BEHIND_BYTES} bytes late"
        plugvisor.ctl("restart", "plugvisor")
        assert OVERDUE not in plugvisor.service_log
        wait_for(lambda: listener.ended)
        assert listener.ended == "cleanly"
    wait_for(plugvisor.is_ready)
    assert "Traceback" not in plugvisor.service_log


def test_open_streams_delay_no_end(plugvisor: PlugvisorStack) -> None:
    plugvisor.up()
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(following(plugvisor, "_server")) for _ in range(20)]
        websockets = [stack.enter_context(open_websocket(plugvisor, "_server")) for _ in range(20)]
        for listener in listeners:
            listener.wait("initial")
        for websocket in websockets:
            receive(websocket)
        plugvisor.ctl("restart", "plugvisor")
        assert OVERDUE not in plugvisor.service_log
        wait_for(lambda: all(listener.ended for listener in listeners))
        assert {listener.ended for listener in listeners} == {"cleanly"}
        for websocket in websockets:
            assert wait_for_close(websocket).code == 1012
    wait_for(plugvisor.is_ready)
    assert "Traceback" not in plugvisor.service_log


def test_followers_of_a_quiet_log_cost_little(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add()
    shared.start_running(plugin_id)
    pid = shared.service_pid
    with contextlib.ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(following(shared, plugin_id)).wait("initial")
        before, began = cpu_seconds(pid), time.monotonic()
        while time.monotonic() - began < 3:
            time.sleep(0.1)
        assert cpu_seconds(pid) - before < 0.1 * (time.monotonic() - began)
