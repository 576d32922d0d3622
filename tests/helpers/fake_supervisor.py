"""A supervisord at the wire, for what a real one never says, or says at no moment that a test could choose."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import shutil
import tempfile
import xmlrpc.client
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plugvisor.engines.supervisord.engine import SupervisordEngine
from plugvisor.settings import Settings

from tests.helpers.scenarios import let_tasks_run, run_scenario, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

HEARTBEAT_SECONDS = 0.1


class FakeSupervisor:
    """XML-RPC and the state stream, each on a Unix socket.

    A method answers what `methods[name]` returns, which may be asynchronous or raise a `Fault`; without one, it
    answers the sequence number of the last line of the stream.
    """

    def __init__(self, folder: Path) -> None:
        self.url = f"unix://{folder}/supervisor.sock"
        self.stream_path = str(folder / "state.sock")
        self.methods: dict[str, Callable[..., Any]] = {}
        self.raw_response: bytes | None = None
        """A whole HTTP response, sent instead of an answer."""
        self.respond: Callable[[bytes, asyncio.StreamWriter], Awaitable[None]] | None = None
        """Writes the response to a request, whose head it is given, instead of an answer."""
        self.keeps_alive = True
        """False: an HTTP connection is closed, unannounced, after its first response."""
        self.requests: list[list[tuple[Any, ...]]] = []
        """The calls of each request, each with its parameters."""
        self.processes: dict[str, dict[str, Any]] = {}
        self.sequence = 0
        self.streams: list[asyncio.StreamWriter] = []
        """Every connection to the stream, the last is the newest."""
        self.first_line: bytes | None = None
        """What a new connection to the stream begins with, instead of a snapshot."""
        self.connections: set[asyncio.StreamWriter] = set()
        """The HTTP connections that are open."""
        self.is_silent = False
        """No heartbeats."""
        self._servers: list[asyncio.Server] = []
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def calls(self) -> list[tuple[Any, ...]]:
        """Every call, in order."""
        return [call for request in self.requests for call in request]

    # -- the state stream

    def set(self, name: str, **fields: Any) -> int:
        """Change a process, and write its line; returns the line's sequence number."""
        self.processes[name] = {"state": 0} | self.processes.get(name, {}) | fields | {"name": name}
        return self.write("process", process=self.processes[name])

    def remove(self, name: str) -> int:
        """Remove a program, and write its line."""
        del self.processes[name]
        return self.write("removed", name=name)

    def write(self, kind: str, **fields: Any) -> int:
        """Write a line of the next sequence number, which is returned."""
        self.sequence += 1
        self.write_raw(self.make_line(kind, **fields))
        return self.sequence

    def make_line(self, kind: str, **fields: Any) -> bytes:
        """A line with the present sequence number."""
        return json.dumps({"type": kind, "seq": self.sequence, **fields}).encode() + b"\n"

    def make_snapshot(self) -> bytes:
        """The line that a connection begins with."""
        return self.make_line("snapshot", processes=list(self.processes.values()))

    def write_raw(self, data: bytes) -> None:
        """Write bytes to the newest connection, if there is one."""
        if self.streams and not self.streams[-1].is_closing():
            self.streams[-1].write(data)

    def break_stream(self) -> None:
        """Close the newest connection."""
        self.streams[-1].close()

    # -- the sockets

    async def open(self) -> None:
        """Listen on both sockets."""
        self._servers += [
            await asyncio.start_unix_server(self._serve, self.url.removeprefix("unix://")),
            await asyncio.start_unix_server(self._serve_stream, self.stream_path),
        ]
        self._tasks.append(asyncio.create_task(self._write_heartbeats()))

    async def listen_on_tcp(self) -> int:
        """Serve XML-RPC on a port of this machine too, which is returned."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Close every connection."""
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in (*self.connections, *self.streams):
            writer.transport.abort()
        await let_tasks_run()  # until the transports are closed

    async def _write_heartbeats(self) -> None:
        while True:
            if not self.is_silent:
                self.write_raw(self.make_line("heartbeat"))
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def _serve_stream(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.streams.append(writer)
        writer.write(self.make_snapshot() if self.first_line is None else self.first_line)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.append(task)
        self.connections.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split()[0]))
                if self.respond is not None:
                    await self.respond(head, writer)
                else:
                    writer.write(await self._answer(body) if self.raw_response is None else self.raw_response)
                await writer.drain()
                if not self.keeps_alive:
                    break
        writer.close()
        self.connections.discard(writer)

    async def _answer(self, body: bytes) -> bytes:
        parameters, method = xmlrpc.client.loads(body)
        if method == "system.multicall":
            [structs] = parameters
            calls = [(struct["methodName"], *struct["params"]) for struct in structs]
        else:
            calls = [(method, *parameters)]
        self.requests.append(calls)
        results = [await self._call(*call) for call in calls]
        if method == "system.multicall":
            return render_response(
                [
                    {"faultCode": result.faultCode, "faultString": result.faultString}
                    if isinstance(result, xmlrpc.client.Fault)
                    else result
                    for result in results
                ]
            )
        return render_response(results[0])

    async def _call(self, method: str, *parameters: Any) -> Any:
        try:
            result = self.methods[method](*parameters) if method in self.methods else self.sequence
            return await result if inspect.isawaitable(result) else result
        except xmlrpc.client.Fault as fault:
            return fault


def render_response(value: Any) -> bytes:
    """The HTTP response that answers a call with a value, or with a `Fault`."""
    is_fault = isinstance(value, xmlrpc.client.Fault)
    body = xmlrpc.client.dumps(value if is_fault else (value,), methodresponse=None if is_fault else True).encode()
    return make_http(body)


def make_http(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """An HTTP response."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@contextlib.asynccontextmanager
async def run_fake_supervisor() -> AsyncIterator[FakeSupervisor]:
    """A fake supervisord that listens on both sockets, in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="pv-"))  # not tmp_path: a Unix socket's path must be short
    fake = FakeSupervisor(folder)
    try:
        await fake.open()
        yield fake
    finally:
        await fake.close()
        shutil.rmtree(folder)


def run_engine(
    tmp_path: Path, scenario: Callable[[SupervisordEngine, FakeSupervisor], Awaitable[Any]], **process: Any
) -> None:
    """Run a scenario with an engine that follows a fake supervisord, whose program `echo` has this process."""

    async def opened() -> None:
        async with run_fake_supervisor() as fake:
            fake.set("echo", **process)
            run_dir = fake.stream_path.removesuffix("/state.sock")
            environ = {"PLUGVISOR_RUN_DIR": run_dir, "PLUGVISOR_PLUGINS_DIR": str(tmp_path)}
            engine = SupervisordEngine(Settings.from_env(environ))
            await engine.open()
            await wait_until(lambda: engine.is_live)
            try:
                await scenario(engine, fake)
            finally:
                await engine.close()

    run_scenario(opened())
