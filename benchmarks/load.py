"""A load generator: kept-alive HTTP/1.1 connections, each of which sends a request as soon as it has a response.

It is a process of its own, so that it competes with the server for a core and not for an interpreter. It connects to
this machine only, and ends by itself: `python -m benchmarks.load PORT PATH CONNECTIONS SECONDS`.
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

from benchmarks.result import Sample

HOST = "127.0.0.1"
MAX_CONNECTIONS = 512
MAX_SECONDS = 60.0
LAST_RESPONSE_SECONDS = 120.0
"""How long the last responses may take after the end."""


@dataclass(frozen=True)
class Load:
    """The result of one run."""

    requests: int
    seconds: float
    median_ms: float
    worst_ms: float

    @property
    def per_second(self) -> float:
        """Responses per second."""
        return self.requests / self.seconds


def run_load(port: int, path: str, connections: int, seconds: float) -> Load:
    """Run the load generator in another process until its end.

    Args:
        seconds: no request is sent later; responses to those that were sent are awaited and count.

    Raises:
        subprocess.CalledProcessError: a response was not 200, or did not come; stderr says which.
    """
    command = [sys.executable, "-m", "benchmarks.load", str(port), path, str(connections), str(seconds)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=seconds + LAST_RESPONSE_SECONDS + 10)
    return Load(**json.loads(ended.stdout))


class Connection(asyncio.Protocol):
    """Sends a request, reads the response, and repeats that until the end."""

    def __init__(self, request: bytes, latencies: list[float]) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._latencies = latencies
        self._transport: asyncio.WriteTransport | None = None
        self._received = bytearray()
        self._began = self._end = 0.0

    def begin(self, end: float) -> None:
        """Send the first request."""
        self._end = end
        self._send()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's does not inherit from it

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        self._received += data
        head, blank_line, body = self._received.partition(b"\r\n\r\n")
        if not blank_line:
            return
        if not head.startswith(b"HTTP/1.1 200 "):
            self._fail(f"the response was {bytes(head.splitlines()[0])!r}")
            return
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if len(body) < int(length):
            return
        now = time.perf_counter()
        self._latencies.append(now - self._began)
        self._received.clear()
        if now < self._end:
            self._send()
        elif not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        """Called by asyncio."""
        self._fail(f"the server closed the connection ({error})")

    def _send(self) -> None:
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
    clients = [
        (await loop.create_connection(lambda: Connection(request, latencies), HOST, port))[1]
        for _ in range(connections)
    ]
    began = time.perf_counter()
    for connection in clients:
        connection.begin(began + seconds)
    async with asyncio.timeout(seconds + LAST_RESPONSE_SECONDS):
        await asyncio.gather(*(connection.done for connection in clients))
    seconds_taken = time.perf_counter() - began
    sample = Sample.of(latencies)
    return Load(len(latencies), seconds_taken, sample.median * 1000, (sample.worst or sample.median) * 1000)


def main(argv: list[str]) -> None:
    """Run the load and print the result as JSON."""
    port, path, connections, seconds = argv
    load = _load(int(port), path, min(int(connections), MAX_CONNECTIONS), min(float(seconds), MAX_SECONDS))
    print(json.dumps(asdict(uvloop.run(load))))


if __name__ == "__main__":
    main(sys.argv[1:])
