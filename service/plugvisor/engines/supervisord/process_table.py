"""The live picture of every plugin's process: the only thing that reads touch.

With the extension it is kept current by supervisord's state stream, and a read costs supervisord nothing.
Without it, or while the stream is silent, each read is answered by a `getAllProcessInfo` that began after
the read arrived, and all reads that wait share one. An old picture is never shown for a new one.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from plugvisor.engines.supervisord.system import StopWatch, get_peer_pid
from plugvisor.errors import SupervisorUnavailable
from plugvisor.models.process import History, Process, ProcessState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from plugvisor.engines.supervisord.client import SupervisorClient

logger = logging.getLogger(__name__)

SILENCE_SECONDS = 2.0
"""So long a stream may say nothing: supervisord writes a heartbeat every second."""
_RECONNECT_SECONDS = 0.5
_LOOK_SECONDS = 0.005
_PATIENCE_SECONDS = 0.5  # so often who waits for a line looks whether any will come
_LONGEST_LINE_BYTES = 64 * 1024 * 1024


class ProcessTable:
    """Knows every program's process.

    Args:
        stream_path: the extension's socket; nothing need be there.
    """

    def __init__(self, client: SupervisorClient, stream_path: str | None = None) -> None:
        self._client = client
        self._silence: asyncio.TimerHandle | None = None
        self._processes: dict[str, Process] = {}
        self._sequence = 0
        self._heard_at = -SILENCE_SECONDS
        self._connected = False
        # a supervisord that was sent SIGSTOP falls silent too, but that takes a while to be noticed
        self._stop_watch = StopWatch(0)
        self._looked_at = 0.0
        self._is_stopped = False
        self._waiting: defaultdict[str | None, set[asyncio.Future[None]]] = defaultdict(set)
        self._listener = asyncio.create_task(self._listen(stream_path)) if stream_path else None
        self.version = 0
        """Another number whenever the picture from the stream may be another."""
        self.on_change: list[Callable[[str | None], object]] = []
        """Called with the name of the program that has changed, or None: everything may have."""

    @property
    def is_live(self) -> bool:
        """Whether the extension is there and its stream tells the state of this very moment."""
        now = time.monotonic()
        if not self._connected or now - self._heard_at >= SILENCE_SECONDS:
            return False
        if now - self._looked_at > _LOOK_SECONDS:
            self._looked_at = now
            self._is_stopped = self._stop_watch.is_stopped()
        return not self._is_stopped

    @property
    def processes(self) -> Mapping[str, Process]:
        """What the stream has told; it holds only while `is_live`."""
        return self._processes

    def read(self) -> Mapping[str, Process]:
        """Every program's process by its name, at this instant.

        Raises:
            SupervisorUnavailable: the state stream is broken or silent; no older state is shown in its stead.
        """
        if self.is_live:
            return self._processes
        if self._connected:
            raise SupervisorUnavailable("supervisord does not answer: it is stopped or very busy")
        raise SupervisorUnavailable("supervisord cannot be reached: it does not run, or lacks Plugvisor's extension")

    async def get(self, name: str) -> Process | None:
        """One program's process now; None where supervisord has none of that name."""
        return self._processes.get(name) if self.is_live else await self._client.get_process(name)

    async def watch(self, name: str, timeout_seconds: float) -> AsyncIterator[Process | None]:
        """One program's process now and whenever it may have changed, and once more when the time is over."""
        loop = asyncio.get_running_loop()
        deadline, pause_seconds = loop.time() + timeout_seconds, 0.002
        while (left := deadline - loop.time()) > 0:
            yield await self.get(name)
            if self.is_live:
                await self._wait_for_line(name, min(left, _PATIENCE_SECONDS))
            else:
                # Every look makes supervisord go its round, in which it reaps; else it does so once a second.
                await asyncio.sleep(min(pause_seconds, left))
                pause_seconds = min(pause_seconds * 1.5, 0.1)
        yield await self.get(name)

    async def reach(self, sequence: int) -> None:
        """Wait until the picture holds the change of that number, or the stream is found to be silent."""
        while self._sequence < sequence and self.is_live:
            await self._wait_for_line(None, _PATIENCE_SECONDS)

    async def close(self) -> None:
        """End what is under way."""
        if self._silence is not None:
            self._silence.cancel()
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)

    # -- the stream

    async def _listen(self, path: str) -> None:
        """Follow the stream for ever; a break of any kind begins anew with a snapshot."""
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(path, limit=_LONGEST_LINE_BYTES)
            except OSError:
                pass  # a stock supervisord, or one that is just being started
            else:
                self._stop_watch = StopWatch(get_peer_pid(writer.get_extra_info("socket")))
                try:
                    while line := await reader.readline():
                        self._hear(json.loads(line))
                except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
                    logger.warning("the state stream is broken and is connected anew: %s", error)
                finally:
                    writer.close()
                    self._stop_watch.close()
                    self._connected = False
                    self._announce(None)
            await asyncio.sleep(_RECONNECT_SECONDS)

    def _hear(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "snapshot":
                self._processes = {told["name"]: _to_process(told) for told in message["processes"]}
                self._connected = True
                name = None
            case "process":
                name = message["process"]["name"]
                process = _to_process(message["process"])
                if process == self._processes.get(name):
                    name = ""  # nothing that is told has changed
                else:
                    self._processes[name] = process
            case "removed":
                name = message["name"]
                self._processes.pop(name, None)
            case _:
                name = ""  # a heartbeat
        was_silent = not self.is_live
        self._heard_at = time.monotonic()
        if self._silence is not None:
            self._silence.cancel()
        self._silence = asyncio.get_running_loop().call_later(SILENCE_SECONDS, self._announce, None)
        self._sequence = message["seq"]
        if name != "" or was_silent:
            self._announce(None if was_silent else name)

    def _announce(self, name: str | None) -> None:
        self.version += 1
        names = {name, None} if name is not None else set(self._waiting)
        for waiting in names:
            for future in self._waiting.pop(waiting, ()):
                if not future.done():
                    future.set_result(None)
        for callback in self.on_change:
            callback(name)

    async def _wait_for_line(self, name: str | None, timeout_seconds: float) -> None:
        """Wait for the next change of a program, or with None for any."""
        future = asyncio.get_running_loop().create_future()
        self._waiting[name].add(future)
        try:
            await asyncio.wait([future], timeout=timeout_seconds)
        finally:
            self._waiting[name].discard(future)
            if not self._waiting[name]:
                del self._waiting[name]


def _to_process(told: Mapping[str, Any]) -> Process:
    return Process(
        state=ProcessState(told["state"]),
        pid=told["pid"],
        started=time.monotonic() - told["uptime"] if told["pid"] else 0.0,
        exit_status=told["exit_status"],
        spawn_error=told["spawn_error"],
        history=History(
            restarts=told["restarts"],
            last_exit=told["last_exit"],
            retry_at=told["retry_at"],
            flapping=told["flapping"],
        ),
    )
