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

from benchmarks.figure import Figure, Sample
from benchmarks.stage import HOST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.stage import Stage

CLIENTS = 1024
RESYNCS = 3
PATIENCE_SECONDS = 60.0
PAUSE_SECONDS = 0.002
"""Between two requests of the one who looks for stalls."""


def measure_resync(stage: Stage) -> Iterator[Figure]:
    """How long `GET /health` takes at worst while all clients are sent a snapshot, and until the last has it."""
    stalls, took = [], []
    with _Clients(stage.ours.port) as clients:
        clients.wait_for_snapshots(1)
        for number in range(RESYNCS):
            os.kill(stage.ours.pid, signal.SIGSTOP)  # supervisord: its state stream falls silent
            clients.wait_for_loss(number + 1)
            began = time.monotonic()
            with _looking_for_stalls(stage.ours.port) as seen:
                os.kill(stage.ours.pid, signal.SIGCONT)
                clients.wait_for_snapshots(number + 2)
            stalls.append(max(seen) * 1000)
            took.append(time.monotonic() - began)
    yield Figure(f"resync of {CLIENTS} clients of /events: longest stall", stage.plugins, "ms", Sample.of(stalls))
    yield Figure(f"resync of {CLIENTS} clients of /events: until the last has it", stage.plugins, "s", Sample.of(took))


@contextlib.contextmanager
def _looking_for_stalls(port: int) -> Iterator[list[float]]:
    """The seconds that each of many small requests takes, meanwhile."""
    seen: list[float] = [0.0]
    is_over = threading.Event()

    def look() -> None:
        connection = http.client.HTTPConnection(HOST, port, timeout=PATIENCE_SECONDS)
        while not is_over.wait(PAUSE_SECONDS):
            began = time.perf_counter()
            connection.request("GET", "/health")
            connection.getresponse().read()
            seen.append(time.perf_counter() - began)
        connection.close()

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        is_over.set()
        thread.join()


class _Clients:
    """Many open streams, read in one process of their own, which counts what they are sent."""

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
        """Wait until every client has got so many snapshots."""
        self._wait("snapshot", count)

    def wait_for_loss(self, count: int) -> None:
        """Wait until every client was told so often that supervisord cannot be reached."""
        self._wait("unavailable", count)

    def _wait(self, kind: str, count: int) -> None:
        for line in self._counts:
            counts = json.loads(line)
            if counts[kind] >= count * CLIENTS:
                return
        raise EOFError("the clients have ended")


def _read_streams(port: int, output: int) -> None:
    """Count the events of all clients, and write the counts at each change, about a hundred times a second."""
    counts = {b"snapshot": 0, b"unavailable": 0}
    selector = selectors.DefaultSelector()
    for _ in range(CLIENTS):
        client = socket.create_connection((HOST, port))
        client.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
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
            # an event's first line may have come in part; that it is counted twice is what this prevents
            key.data[:] = text[-20:] if not any(b"event: %b\n" % kind in text[-20:] for kind in counts) else b""
        told = {kind.decode(): count for kind, count in counts.items()}
        os.write(output, json.dumps(told).encode() + b"\n")
