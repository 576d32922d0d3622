"""The load: keep-alive HTTP/1.1 connections that ask for one path again and again, each as soon as it is answered.

A process of its own, so that it competes with the server for a core and not for an interpreter. It
talks to this machine alone, and ends by itself: `python -m benchmarks.load PORT PATH CONNECTIONS SECONDS`.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import cast

import uvloop

from benchmarks.figure import Sample

HOST = "127.0.0.1"
MOST_CONNECTIONS = 512
MOST_SECONDS = 60.0
PATIENCE_SECONDS = 120.0
"""How long the last answers may take after the end."""


@dataclass(frozen=True)
class Load:
    """What one run of it has seen."""

    requests: int
    seconds: float
    median_ms: float
    worst_ms: float

    @property
    def per_second(self) -> float:
        """Requests answered per second."""
        return self.requests / self.seconds


def run_load(port: int, path: str, connections: int, seconds: float) -> Load:
    """Put load on a server in another process and wait for the end of it.

    Args:
        seconds: no request begins later; those that have begun are waited for, and count.

    Raises:
        subprocess.CalledProcessError: an answer was not 200, or none came; stderr has said so.
    """
    command = [sys.executable, "-m", "benchmarks.load", str(port), path, str(connections), str(seconds)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=seconds + PATIENCE_SECONDS + 10)
    return Load(**json.loads(ended.stdout))


class Connection(asyncio.Protocol):
    """Asks, reads the answer, and asks again until the end."""

    def __init__(self, request: bytes, latencies: list[float]) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._latencies = latencies
        self._transport: asyncio.WriteTransport | None = None
        self._received = bytearray()
        self._began = self._end = 0.0

    def begin(self, end: float) -> None:
        """Ask for the first time."""
        self._end = end
        self._ask()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio tells that it is connected."""
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        """asyncio hands over what has come."""
        self._received += data
        head, blank_line, body = self._received.partition(b"\r\n\r\n")
        if not blank_line:
            return
        if not head.startswith(b"HTTP/1.1 200 "):
            self._fail(f"it answered {bytes(head.splitlines()[0])!r}")
            return
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if len(body) < int(length):
            return
        now = time.perf_counter()
        self._latencies.append(now - self._began)
        self._received.clear()
        if now < self._end:
            self._ask()
        elif not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio tells that the connection is closed."""
        self._fail(f"it closed the connection ({error})")

    def _ask(self) -> None:
        assert self._transport is not None
        self._began = time.perf_counter()
        self._transport.write(self._request)

    def _fail(self, reason: str) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError(f"cannot measure {self._request.splitlines()[0]!r}: {reason}"))


async def _load(port: int, path: str, connections: int, seconds: float) -> Load:
    loop = asyncio.get_running_loop()
    request = f"GET {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\n\r\n".encode()
    latencies: list[float] = []
    crowd = [
        (await loop.create_connection(lambda: Connection(request, latencies), HOST, port))[1]
        for _ in range(connections)
    ]
    began = time.perf_counter()
    for connection in crowd:
        connection.begin(began + seconds)
    async with asyncio.timeout(seconds + PATIENCE_SECONDS):
        await asyncio.gather(*(connection.done for connection in crowd))
    took = time.perf_counter() - began
    sample = Sample.of(latencies)
    return Load(len(latencies), took, sample.median * 1000, (sample.worst or sample.median) * 1000)


def main(argv: list[str]) -> None:
    """Run the load and print what it has seen as JSON."""
    port, path, connections, seconds = argv
    load = _load(int(port), path, min(int(connections), MOST_CONNECTIONS), min(float(seconds), MOST_SECONDS))
    print(json.dumps(asdict(uvloop.run(load))))


if __name__ == "__main__":
    main(sys.argv[1:])
