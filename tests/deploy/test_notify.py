"""Readiness for systemd (sd_notify(3)): what `plugvisor up` sends to the socket that `NOTIFY_SOCKET` names."""

from __future__ import annotations

import os
import signal
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.stack import QUICK
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.helpers.stack import PlugvisorStack

PRINT_ENVIRONMENT = f"import os\nprint(sorted(os.environ), flush=True)\n{OBEDIENT}"


class ServiceManager:
    """What systemd does: a socket that receives messages, with the process id of who has sent each."""

    def __init__(self, stack: PlugvisorStack, kind: str) -> None:
        address = f"{stack.root}/notify.sock" if kind == "path" else f"@{stack.root}/notify"
        stack.environ["NOTIFY_SOCKET"] = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace("@", "\0"))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.settimeout(DEADLINE_SECONDS)

    def receive(self) -> tuple[bytes, int]:
        """The next message, and its sender."""
        message, [(_, _, credentials)], _, _ = self.socket.recvmsg(4096, 256)
        pid, _, _ = struct.unpack("iii", credentials)
        return message, pid

    def has_more(self) -> bool:
        """Whether another message has come."""
        self.socket.setblocking(False)
        try:
            return bool(self.socket.recv(4096))
        except BlockingIOError:
            return False
        finally:
            self.socket.settimeout(DEADLINE_SECONDS)


@pytest.fixture(params=["path", "abstract"])
def manager(plugvisor: PlugvisorStack, request: pytest.FixtureRequest) -> Iterator[ServiceManager]:
    manager = ServiceManager(plugvisor, request.param)
    yield manager
    manager.socket.close()


def list_variables(pid: int) -> set[str]:
    return {field.partition(b"=")[0].decode() for field in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")}


def test_it_is_ready_when_the_service_answers_and_says_when_it_stops(
    plugvisor: PlugvisorStack, manager: ServiceManager
) -> None:
    plugvisor.process = plugvisor.spawn("up")
    assert manager.receive() == (b"READY=1", plugvisor.supervisord_pid)
    assert plugvisor.get("/plugin/status").status_code == 200
    plugvisor.restart_service()
    os.kill(plugvisor.supervisord_pid, signal.SIGTERM)
    assert manager.receive() == (b"STOPPING=1", plugvisor.supervisord_pid)
    assert plugvisor.process.wait(DEADLINE_SECONDS) == 0
    assert not manager.has_more()


def test_nothing_that_it_starts_can_send_messages(plugvisor: PlugvisorStack, manager: ServiceManager) -> None:
    plugvisor.write_plugin("curious", PRINT_ENVIRONMENT, runtime=QUICK)
    plugvisor.up()
    plugvisor.start_running("curious")
    assert "NOTIFY_SOCKET" not in plugvisor.read_log("curious")
    assert "PATH" in plugvisor.read_log("curious")
    service = list_variables(plugvisor.service_pid)
    assert "NOTIFY_SOCKET" not in service
    assert "PATH" in service


def test_a_service_without_a_supervisord_of_its_own_notifies_itself(
    plugvisor: PlugvisorStack, manager: ServiceManager
) -> None:
    """As `plugvisor serve`, and `plugvisor up` on a swarm."""
    plugvisor.process = process = plugvisor.spawn("serve")
    assert manager.receive() == (b"READY=1", process.pid)
    assert plugvisor.get("/health").status_code == 200
    process.terminate()
    assert manager.receive() == (b"STOPPING=1", process.pid)
    process.wait(DEADLINE_SECONDS)


def test_a_socket_that_is_gone_keeps_nothing_from_running(plugvisor: PlugvisorStack, manager: ServiceManager) -> None:
    manager.socket.close()
    plugvisor.write_plugin("echo", runtime=QUICK)
    plugvisor.up()
    plugvisor.start_running("echo")
    wait_for(lambda: "cannot notify the service manager" in plugvisor.output_path.read_text(), "the warning")
    plugvisor.down()
    output = plugvisor.output_path.read_text()
    assert output.count("cannot notify the service manager") == 2  # that it is ready, and that it stops
    assert "Traceback" not in output
