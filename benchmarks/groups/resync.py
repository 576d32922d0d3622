"""The longest stall of the service when every client of `/events` needs a new snapshot at once."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import selectors
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING

from benchmarks.result import Goal, Result, Sample
from benchmarks.systems.plugvisor_stack import ADMIN_CODE, HOST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.testbed import Testbed

CLIENTS = 1024
RESYNCS = 3
TIMEOUT_SECONDS = 60.0
PAUSE_SECONDS = 0.002
"""Between two requests that detect stalls."""


def measure_resync(testbed: Testbed) -> Iterator[Result]:
    """The longest `GET /health` while every client is sent a snapshot, and the time until the last client has it."""
    stalls: list[float] = []
    seconds: list[float] = []
    with _Clients(testbed.plugvisor.port) as clients:
        clients.wait_for_snapshots(1)
        for number in range(RESYNCS):
            os.kill(testbed.plugvisor.pid, signal.SIGSTOP)  # supervisord: its state stream falls silent
            clients.wait_for_loss(number + 1)
            began = time.monotonic()
            with measure_latencies(testbed.plugvisor.port) as latencies:
                os.kill(testbed.plugvisor.pid, signal.SIGCONT)
                clients.wait_for_snapshots(number + 2)
            stalls.append(max(latencies) * 1000)
            seconds.append(time.monotonic() - began)
    yield Result(
        f"resync of {CLIENTS} clients of /events: longest stall of the event loop",
        testbed.plugins,
        "ms",
        Sample.of(stalls),
        goal=Goal(50) if testbed.plugins == 1000 else None,
    )
    yield Result(
        f"resync of {CLIENTS} clients of /events: until the last has it", testbed.plugins, "s", Sample.of(seconds)
    )


@contextlib.contextmanager
def measure_latencies(port: int) -> Iterator[list[float]]:
    """Send small requests in a thread until the end of `with`; yields the seconds that each took."""
    latencies: list[float] = [0.0]
    is_over = threading.Event()

    def send_requests() -> None:
        connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_SECONDS)
        while not is_over.wait(PAUSE_SECONDS):
            began = time.perf_counter()
            connection.request("GET", "/health")
            connection.getresponse().read()
            latencies.append(time.perf_counter() - began)
        connection.close()

    thread = threading.Thread(target=send_requests)
    thread.start()
    try:
        yield latencies
    finally:
        is_over.set()
        thread.join()


class _Clients:
    """Many open streams, read in a process of their own, which counts the events."""

    def __init__(self, port: int) -> None:
        self._port = port

    def __enter__(self) -> _Clients:
        reading, writing = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(reading)
            try:
                _read_streams(self._port, writing)
            finally:
                os._exit(1)
        os.close(writing)
        self._counts = os.fdopen(reading)
        return self

    def __exit__(self, *_: object) -> None:
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        self._counts.close()

    def wait_for_snapshots(self, count: int) -> None:
        """Wait until every client has that many snapshots."""
        self._wait("snapshot", count)

    def wait_for_loss(self, count: int) -> None:
        """Wait until every client has that many events `unavailable`."""
        self._wait("unavailable", count)

    def _wait(self, kind: str, count: int) -> None:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        for line in self._counts:  # about a hundred in each second
            counts = json.loads(line)
            if counts[kind] >= count * CLIENTS:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"{CLIENTS} clients have {counts} events, and not {count} {kind!r} each")
        raise EOFError("the clients have ended")


def _read_streams(port: int, output: int) -> None:
    """Count the events of all clients, and write the counts at each change, about a hundred times a second."""
    counts = {b"snapshot": 0, b"unavailable": 0}
    selector = selectors.DefaultSelector()
    # without the code, the streams of one address are limited
    request = f"GET /events HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {ADMIN_CODE}\r\n\r\n".encode()
    for _ in range(CLIENTS):
        client = socket.create_connection((HOST, port))
        client.sendall(request)
        client.setblocking(False)
        selector.register(client, selectors.EVENT_READ, bytearray())
    while True:
        for key, _ in selector.select(0.01):
            data = key.fileobj.recv(1 << 20)  # type: ignore[union-attr]
            if not data:
                raise EOFError("a stream has ended")
            text = key.data + data
            for kind in counts:
                counts[kind] += text.count(b"event: %b\n" % kind)
            # the next event's first line may have come in part; it must not be counted twice
            key.data[:] = text[-20:] if not any(b"event: %b\n" % kind in text[-20:] for kind in counts) else b""
        numbers = {kind.decode(): count for kind, count in counts.items()}
        os.write(output, json.dumps(numbers).encode() + b"\n")
