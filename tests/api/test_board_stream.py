"""The process_table on the state stream: after any break it follows anew, and a silent stream is no good news."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.engines.supervisord.client import SupervisorClient
from plugvisor.engines.supervisord.process_table import SILENCE_SECONDS, ProcessTable
from plugvisor.models.process import ProcessState

from tests.conftest import OBEDIENT
from tests.supervisord.lone import make_lone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from tests.supervisord.lone import Lone

LIE: dict[str, Any] = {"name": "steady", "state": 20, "pid": 1, "uptime": 5.0, "exit_status": 0, "spawn_error": ""}
LIE |= {"retry_at": None, "restarts": 0, "last_exit": None, "flapping": False}
"""What no supervisord has told."""


@pytest.fixture(scope="module")
def lone() -> Iterator[Lone]:
    with make_lone() as made:
        made.add("steady", OBEDIENT, autorestart="true")
        made.add("other", autostart="false")
        made.start()
        yield made


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def follow(lone: Lone, stream: str | None = None) -> AsyncIterator[ProcessTable]:
    client = SupervisorClient(f"unix://{lone.root}/rpc.sock")
    process_table = ProcessTable(client, stream or str(lone.root / "state.sock"))
    try:
        yield process_table
    finally:
        await process_table.close()
        await client.close()


async def call(lone: Lone, *arguments: Any) -> Any:
    return await asyncio.to_thread(lone.rpc, *arguments)


async def agree(lone: Lone, process_table: ProcessTable) -> bool:
    await process_table.reach(await call(lone, "plugins.sync"))  # what supervisord has said may still be on its way
    told = {name: (int(process.state), process.pid) for name, process in process_table.read().items()}
    return told == await asyncio.to_thread(lambda: lone.states)


def test_it_follows_and_resynchronises_after_a_reload(lone: Lone) -> None:
    async def scenario() -> None:
        async with follow(lone) as process_table:
            await until(lambda: process_table.is_live)
            for _ in range(3):
                await until(lambda: process_table.processes["steady"].state is ProcessState.RUNNING)
                assert await agree(lone, process_table)
                version = process_table.version
                pid = process_table.processes["steady"].pid
                os.kill(lone.pid, signal.SIGHUP)
                await until(lambda: not process_table.is_live)
                assert process_table.version != version
                await until(
                    lambda pid=pid: process_table.is_live and process_table.processes["steady"].pid not in (0, pid)
                )
                await call(lone, "supervisor.startProcess", "other")
                await process_table.reach(await call(lone, "plugins.sync"))
                assert process_table.processes["other"].state is ProcessState.RUNNING
                await call(lone, "supervisor.stopProcess", "other")

    asyncio.run(scenario())


def test_a_frozen_supervisord_is_not_believed(lone: Lone) -> None:
    async def scenario() -> None:
        async with follow(lone) as process_table:
            await until(lambda: process_table.is_live)
            os.kill(lone.pid, signal.SIGSTOP)
            try:
                await until(lambda: not process_table.is_live, SILENCE_SECONDS + 1)
            finally:
                os.kill(lone.pid, signal.SIGCONT)
            await until(lambda: process_table.is_live, 3)
            assert await agree(lone, process_table)

    asyncio.run(scenario())


class FakeStream:
    """Stands where the extension's socket would, and says what the test says."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.connections: list[asyncio.StreamWriter] = []
        self.first: bytes = b""

    async def __aenter__(self) -> FakeStream:
        self._server = await asyncio.start_unix_server(self._serve, self.path)
        return self

    async def __aexit__(self, *_: object) -> None:
        for writer in self.connections:
            writer.close()
        self._server.close()
        os.unlink(self.path)

    async def _serve(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        writer.write(self.first)

    def say(self, message: bytes) -> None:
        self.connections[-1].write(message)


def line(kind: str, number: int, **fields: Any) -> bytes:
    return json.dumps({"type": kind, "seq": number, **fields}).encode() + b"\n"


def on_fake(lone: Lone, scenario: Callable[[FakeStream, ProcessTable], Awaitable[None]]) -> None:
    async def run() -> None:
        async with FakeStream(lone.root / "fake.sock") as stream:
            stream.first = line("snapshot", 1, processes=[LIE])
            async with follow(lone, stream.path) as process_table:
                await until(lambda: process_table.is_live)
                assert process_table.read()["steady"].pid == 1
                await scenario(stream, process_table)

    asyncio.run(run())


def test_a_silent_stream_is_not_believed(lone: Lone) -> None:
    async def scenario(stream: FakeStream, process_table: ProcessTable) -> None:
        began = time.monotonic()
        await until(lambda: not process_table.is_live, SILENCE_SECONDS + 1)
        assert time.monotonic() - began > SILENCE_SECONDS - 0.5
        assert await agree(lone, process_table), "it asks"
        process = await process_table.get("steady")
        assert process is not None
        assert process.pid == lone.states["steady"][1]
        version = process_table.version
        stream.say(line("heartbeat", 1))
        await until(lambda: process_table.is_live)
        assert process_table.version != version, "what was put together meanwhile holds no more"
        stream.say(line("removed", 2, name="steady"))
        await until(lambda: "steady" not in process_table.processes)

    on_fake(lone, scenario)


@pytest.mark.parametrize(
    "nonsense",
    [
        *(b"nonsense\n", b"{}\n", b"[]\n", b"null\n", b"5\n", b'{"type": "process", "seq": 2}\n', b"\xff\xfe\n", b"\n"),
        line("process", 2, process={"name": "steady"}),
        line("process", 2, process=LIE | {"state": 12345}),
        line("process", 2, process=LIE | {"uptime": "long"}),
        line("snapshot", 2, processes=None),
        b'{"type": "snapshot", "seq": 2, "processes": [{"na',  # and then nothing but the end
    ],
)
def test_a_broken_stream_is_followed_anew(lone: Lone, nonsense: bytes) -> None:
    async def scenario(stream: FakeStream, process_table: ProcessTable) -> None:
        stream.first = b""  # who comes back is told nothing: only supervisord tells the truth
        stream.say(nonsense)
        if not nonsense.endswith(b"\n"):
            stream.connections[-1].close()
        await until(lambda: not process_table.is_live, 1)
        assert await agree(lone, process_table)
        await until(lambda: len(stream.connections) == 2, 3)
        stream.say(line("snapshot", 1, processes=[LIE | {"pid": 2}]))
        await until(lambda: process_table.is_live, 1)
        assert process_table.read()["steady"].pid == 2

    on_fake(lone, scenario)


def test_before_the_snapshot_nothing_is_believed(lone: Lone) -> None:
    async def scenario(stream: FakeStream, process_table: ProcessTable) -> None:
        stream.first = line("process", 7, process=LIE | {"pid": 3}) + line("heartbeat", 7)
        stream.connections[-1].close()
        await until(lambda: len(stream.connections) == 2, 3)
        for number in range(10):
            stream.say(line("heartbeat", 7 + number))
            assert not process_table.is_live
            assert await agree(lone, process_table)

    on_fake(lone, scenario)


def test_waiting_for_a_change_that_never_comes_ends(lone: Lone) -> None:
    async def scenario(stream: FakeStream, process_table: ProcessTable) -> None:
        began = time.monotonic()
        await process_table.reach(5)
        assert SILENCE_SECONDS - 0.5 < time.monotonic() - began < SILENCE_SECONDS + 3
        stream.say(line("heartbeat", 1))
        await until(lambda: process_table.is_live)
        waiting = asyncio.create_task(process_table.reach(5))
        await asyncio.sleep(0)
        for number in (2, 3, 4):
            stream.say(line("process", number, process=LIE | {"restarts": number}))
        await until(lambda: process_table.processes["steady"].history.restarts == 4)
        assert not waiting.done()
        stream.say(line("process", 5, process=LIE | {"restarts": 5}))
        await asyncio.wait_for(waiting, 1)
        assert process_table.processes["steady"].history.restarts == 5

    on_fake(lone, scenario)


def test_waiting_ends_when_the_stream_breaks(lone: Lone) -> None:
    async def scenario(stream: FakeStream, process_table: ProcessTable) -> None:
        waiting = asyncio.create_task(process_table.reach(5))
        await asyncio.sleep(0.05)
        began = time.monotonic()
        stream.connections[-1].close()
        await asyncio.wait_for(waiting, 1)
        assert time.monotonic() - began < 1

    on_fake(lone, scenario)
