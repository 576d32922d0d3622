"""A response has to be there in time as a whole; a long one may take longer, and a stream for ever."""

from __future__ import annotations

import socket
import threading
from contextlib import closing, contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from plugvisor.cli import health
from plugvisor.cli.client import Client, Credential, NoAnswer
from plugvisor.cli.connection import timed_response
from plugvisor.cli.connection.timed_response import SLOWEST_BYTES_PER_SECOND, TimedResponse
from plugvisor.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator

CREDENTIAL = Credential("pv_a-token-for-tests", "PLUGVISOR_TOKEN")
HEAD = b"HTTP/1.1 200 OK\r\n"
BODY = b"{" + b" " * 198 + b"}"
ANSWER = HEAD + b"Content-Length: 200\r\n\r\n" + BODY
PAUSE_SECONDS = 0.02


@contextmanager
def run_dripping_server(at_once: int) -> Iterator[int]:
    """Answer with some bytes at once, and each other after a pause; returns the port."""
    has_gone = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            try:
                connection.sendall(ANSWER[:at_once])
                for byte in ANSWER[at_once:]:
                    has_gone.wait(PAUSE_SECONDS)
                    connection.sendall(bytes([byte]))
            except OSError:
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            has_gone.set()
            thread.join()


@pytest.mark.parametrize("at_once", [0, len(HEAD), len(ANSWER) - 200], ids=["status", "headers", "body"])
def test_a_server_that_sends_a_byte_now_and_then(at_once: int) -> None:
    """Each comes long before the timeout, and all of them only after it."""
    with run_dripping_server(at_once) as port:
        client = Client(f"http://127.0.0.1:{port}", CREDENTIAL)
        with pytest.raises(NoAnswer, match=r"^cannot reach the service at .*: timed out; `plugvisor doctor`"):
            client.call("GET", "/x", timeout_seconds=50 * PAUSE_SECONDS)


def test_a_health_check_of_such_a_server(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(health, "HEALTH_TIMEOUT_SECONDS", 50 * PAUSE_SECONDS)
    with run_dripping_server(0) as port:
        monkeypatch.setenv("PLUGVISOR_PORT", str(port))
        assert main(["health"]) == 1
    assert "timed out" in capsys.readouterr().err


class Clock:
    """The time as the response sees it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 100.0
        monkeypatch.setattr(timed_response, "time", SimpleNamespace(monotonic=lambda: self.seconds))


def test_a_long_response_may_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    part = b"x" * SLOWEST_BYTES_PER_SECOND  # of a second
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        ours.settimeout(5)
        response = TimedResponse(ours)
        theirs.sendall(HEAD + b"\r\n")
        response.begin()
        for _ in range(20):
            clock.seconds += 1
            theirs.sendall(part)
            assert response.read(len(part)) == part
        clock.seconds += 5.1
        theirs.sendall(part)
        with pytest.raises(TimeoutError):
            response.read(len(part))
        response.close()


def test_a_stream_takes_as_long_as_it_likes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        ours.settimeout(5)
        response = TimedResponse(ours)
        theirs.sendall(HEAD + b"\r\n")
        clock.seconds += 4
        response.begin()
        response.allow_pauses()
        assert ours.gettimeout() == 5
        for _ in range(3):
            clock.seconds += 1000
            theirs.sendall(b"x\n")
            assert response.readline() == b"x\n"
        response.close()
