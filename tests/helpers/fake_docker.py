"""A Docker Engine that answers as a test says, over a Unix socket."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote

import msgspec

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


class Fault:
    """What an Engine does instead of answering."""

    def __init__(self, status: int = 0, message: str = "", *, closes: bool = False) -> None:
        """Args: `status`: 0: it never answers, or closes the connection."""
        self.status = status
        self.message = message
        self.closes = closes


HANG = Fault()
CLOSE = Fault(closes=True)


class FakeDocker:
    """Answers calls by their method and path, without the version; used as an asynchronous context manager."""

    def __init__(
        self, folder: Path, name: str = "docker", api_version: str = "1.41", tls: ssl.SSLContext | None = None
    ) -> None:
        """Args: `tls`: it listens at a port of this machine then, over TLS."""
        self.path = folder / f"{name}.sock"
        self.api_version = api_version
        self._tls = tls
        self.calls: list[str] = []
        """Every call's method, path and query, in order; without `/_ping` and `/events`."""
        self.bodies: list[bytes] = []
        self.answers: dict[str, object] = {"GET /tasks": [], "GET /services": [], "GET /nodes": []}
        """What is sent as JSON, bytes that are sent as they are, or a `Fault`."""
        self.before_answer: Callable[[str], object] = lambda _call: None
        self._events: asyncio.Queue[bytes] = asyncio.Queue()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """For `PLUGVISOR_DOCKER_HOST`."""
        if self._tls is not None:
            assert self._server is not None
            return f"tcp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return f"unix://{self.path}"

    def send_event(self, event: object) -> None:
        """Send an event to whoever follows `/events`."""
        self._events.put_nowait(msgspec.json.encode(event) + b"\n")

    async def __aenter__(self) -> Self:
        if self._tls is not None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        else:
            self._server = await asyncio.start_unix_server(self._serve, self.path)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self.path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while await self._answer_next(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has gone, or the test is over
        finally:
            self._connections.discard(task)
            writer.close()

    async def _answer_next(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; returns whether the connection stays open."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target, _ = head.split("\r\n", 1)[0].split(" ")
        length = next((int(line[15:]) for line in head.lower().split("\r\n") if line.startswith("content-length:")), 0)
        body = await reader.readexactly(length)
        path = target.partition("?")[0]
        if path == "/_ping":
            self._send(writer, 200, b"OK")
            return True
        path = "/" + path.lstrip("/").partition("/")[2]
        if path == "/events":
            await self._stream_events(writer)
            return False
        self.calls.append(f"{method} {unquote(target)}")
        self.bodies.append(body)
        self.before_answer(f"{method} {path}")
        answer = self.answers.get(f"{method} {path}", Fault(404, "page not found"))
        if isinstance(answer, Fault):
            if answer.closes:
                return False
            if not answer.status:
                await asyncio.Event().wait()
            self._send(writer, answer.status, msgspec.json.encode({"message": answer.message}))
        else:
            self._send(writer, 200, answer if isinstance(answer, bytes) else msgspec.json.encode(answer))
        return True

    def _send(self, writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
        head = f"HTTP/1.1 {status} x\r\nApi-Version: {self.api_version}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)

    async def _stream_events(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        async for event in self._list_events():
            writer.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
            await writer.drain()

    async def _list_events(self) -> AsyncIterator[bytes]:
        while True:
            yield await self._events.get()
