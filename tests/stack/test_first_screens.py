"""What live screens show before the service has measured anything."""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from tests.helpers.scripted_server import run_server
from tests.helpers.stack import ADMIN_CODE, QUICK, PlugvisorStack
from tests.helpers.terminal import open_terminal
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class SlowMeasuring(ThreadingHTTPServer):
    """Passes requests on to a service; those for usage when it is allowed."""

    def __init__(self, target: PlugvisorStack) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.target = target
        self.sockets: list[socket.socket] = []
        self.may_measure = threading.Event()
        self.is_given_up = False
        """Whether a command has waited for usage in vain."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Passing(BaseHTTPRequestHandler):
    server: SlowMeasuring

    def do_GET(self) -> None:
        if self.path == "/plugin/metrics":
            while not self.server.may_measure.wait(0.02):
                if select.select([self.connection], [], [], 0)[0]:
                    self.server.is_given_up = True  # the command has closed the connection
                    return
        host, _, port = self.server.target.url.removeprefix("http://").rpartition(":")
        with (
            contextlib.closing(http.client.HTTPConnection(host, int(port), timeout=DEADLINE_SECONDS)) as connection,
            contextlib.suppress(OSError, http.client.HTTPException),  # the command has ended, or the test
        ):
            connection.connect()
            self.server.sockets.append(connection.sock)
            connection.request("GET", self.path, headers={"Authorization": f"Bearer {ADMIN_CODE}"})
            with connection.getresponse() as response:
                self.send_response(response.status)
                self.send_header("Content-Type", response.headers["Content-Type"])
                self.end_headers()
                while part := response.read1():
                    self.wfile.write(part)

    def log_message(self, *_arguments: object) -> None:
        """Print nothing."""


@pytest.fixture
def slow(shared: PlugvisorStack) -> Iterator[SlowMeasuring]:
    server = SlowMeasuring(shared)
    with run_server(server):
        yield server
        server.may_measure.set()
        for sock in server.sockets:  # those of streams; the others are closed
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("command", ["top", "ls --watch"])
def test_plugins_are_shown_before_they_are_measured(
    shared: PlugvisorStack, add: Callable[..., str], slow: SlowMeasuring, command: str
) -> None:
    plugin_id = add(runtime=QUICK)
    shared.start_running(plugin_id)
    environ = {"PLUGVISOR_URL": slow.url, "PLUGVISOR_TOKEN": ADMIN_CODE}
    with open_terminal(shared, *command.split(), plugin_id, **environ) as terminal:

        def find_row() -> list[str]:
            rows = [line.split() for line in terminal.text.splitlines()]
            return next((row for row in reversed(rows) if row[:1] == [plugin_id] and "running" in row), [])

        wait_for(find_row, "the plugin")
        assert not slow.is_given_up
        assert not any(cell.endswith(("%", "MB")) for cell in find_row())
        if command == "top":
            assert terminal.screen[0] == "1 plugins; measuring what they use"
        slow.may_measure.set()
        wait_for(lambda: any(cell.endswith("MB") for cell in find_row()), "its memory")
        terminal.type("\x03")
        assert terminal.wait() == 130


def test_what_cannot_be_measured_ends_the_screen(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    add()
    with open_terminal(shared, "top", PLUGVISOR_TOKEN="pv_no-such-token") as terminal:
        assert terminal.wait() == 1
        assert "plugvisor: " in terminal.text
        assert "Traceback" not in terminal.text
        assert terminal.read_modes() == terminal.modes
