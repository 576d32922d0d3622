"""Reads the logs of tasks from the Engine."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

from plugvisor.engines.swarm.docker.frames import FrameDecoder
from plugvisor.engines.swarm.logs.positions import Connection
from plugvisor.errors import SupervisorUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Self

    from plugvisor.engines.swarm.docker.client import DockerClient
    from plugvisor.engines.swarm.logs.plugin_log import PluginLog
    from plugvisor.engines.swarm.logs.task_list import LoggedTask

FEW_PIECES, MOST_PIECES = 1_000, 50_000
"""How much of a task's log is asked for: its end. The Engine reads all of it, whatever `since` says; so it is more only
if a few are not enough."""
SILENCE_SECONDS = 1.5
"""A node that is lost says nothing, and the Engine waits for it."""
_NEVER_SECONDS = 3600.0
_MOST_AT_ONCE_BYTES = 128 * 1024
_MOST_PENDING_BYTES = 16 * 1024 * 1024
_FLOOD_PIECES = 20_000
_FLOOD_SECONDS = 1.0


class Flood(Exception):
    """A task prints faster than is read here; the Engine would keep all of it in memory."""


class _TooFew(Exception):
    """An answer does not reach back to where the log was left."""


class TaskReader:
    """Brings what is new of tasks' logs."""

    def __init__(self, client: DockerClient) -> None:
        self._client = client
        self._silent: set[str] = set()
        """Tasks that had ended, and of which nothing came."""

    async def read(self, log: PluginLog, task: LoggedTask, *, follows: bool = False) -> int:
        """Take what is new of a task's log; returns how many pieces that were.

        Args:
            follows: do not end when all was read.

        Raises:
            Flood: only if it follows.
            SupervisorUnavailable, DockerError, TimeoutError, ValueError: it cannot be read.
            OSError: it cannot be written.
        """
        if log.find_time(task.id):
            with suppress(_TooFew):
                return await self._read(log, task, FEW_PIECES, follows=follows)
        return await self._read(log, task, MOST_PIECES, follows=follows)

    async def _read(self, log: PluginLog, task: LoggedTask, most: int, *, follows: bool) -> int:
        query: dict[str, int | str] = {"stdout": 1, "stderr": 1, "timestamps": 1, "tail": most, "follow": int(follows)}
        if begin := log.find_begin(task.id):
            query["since"] = f"{begin:.6f}"
        async with AsyncExitStack() as stack:
            # not by the client's own timeout: that a node is silent is not the manager's fault
            async with asyncio.timeout(None if follows else SILENCE_SECONDS):
                chunks = await stack.enter_async_context(
                    self._client.stream(
                        "GET",
                        f"/tasks/{task.id}/logs",
                        query=query,
                        silence_seconds=None if follows else SILENCE_SECONDS,
                        timeout_seconds=_NEVER_SECONDS,
                    )
                )
            pump = await stack.enter_async_context(_Pump(chunks, follows=follows))
            return await self._take(log, task, pump, follows=follows, may_miss=most == MOST_PIECES)

    async def read_to_end(self, log: PluginLog, task: LoggedTask) -> None:
        """Take what is left of the log of a task that has ended; raises as `read` does."""
        try:
            await self.read(log, task)
        except (SupervisorUnavailable, TimeoutError):
            if task.id not in self._silent:  # of a container that has never run there is no log, ever
                self._silent.add(task.id)
                raise
        self._silent.discard(task.id)
        await log.note_complete(task.id)

    async def _take(self, log: PluginLog, task: LoggedTask, pump: _Pump, *, follows: bool, may_miss: bool) -> int:
        decoder = FrameDecoder()
        connection = Connection()
        count = recent_count = 0
        began = time.monotonic()
        while data := await pump.next():
            frames = decoder.feed(data)
            if not may_miss and connection.is_new and log.is_beyond(task.id, frames):
                raise _TooFew
            count += await log.take(task.id, task.prefix, connection, frames)
            recent_count += len(frames)
            now = time.monotonic()
            if now - began > _FLOOD_SECONDS:
                began, recent_count = now, 0
            elif follows and recent_count > _FLOOD_PIECES:
                raise Flood
        return count + await log.take(task.id, task.prefix, connection, decoder.finish())


class _Pump:
    """Reads an answer while what has arrived before is written; it is an asynchronous context manager."""

    def __init__(self, chunks: AsyncIterator[bytes], *, follows: bool) -> None:
        self._chunks = chunks
        self._follows = follows
        self._pending = bytearray()
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def next(self) -> bytes:
        """Some of the bytes that have arrived; empty at the end. Raises the error that has ended the answer."""
        while not self._pending:
            if self._task.done():
                self._task.result()
                return b""
            self._moved.clear()
            await self._moved.wait()
        data = bytes(self._pending[:_MOST_AT_ONCE_BYTES])
        del self._pending[:_MOST_AT_ONCE_BYTES]
        return data

    async def _run(self) -> None:
        try:
            async for chunk in self._chunks:
                self._pending += chunk
                self._moved.set()
                while len(self._pending) > _MOST_PENDING_BYTES:
                    if self._follows:
                        raise Flood
                    await asyncio.sleep(0.01)
        finally:
            self._moved.set()
