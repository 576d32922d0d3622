"""Tasks with logs, as a Docker Engine answers for them: a stand-in for `DockerClient`."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from plugvisor.engines.swarm.docker.client import DockerError
from plugvisor.engines.swarm.docker.frames import STDOUT, read_seconds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

NODE = SimpleNamespace(id="n1", name="node1", state="ready")


def make_frame(text: bytes, time: str, stream: int = STDOUT) -> bytes:
    """One piece, as it is on the wire."""
    payload = time.encode() + b" " + text
    return bytes([stream, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload


def make_time(number: float) -> str:
    """The time of a piece, by the seconds since noon."""
    whole, nanoseconds = divmod(round(number * 1e9), 10**9)
    return f"2026-11-30T12:{whole // 60:02}:{whole % 60:02}.{nanoseconds:09}Z"


class FakeTaskLogs:
    """Tasks and the pieces of their logs.

    Attributes:
        tasks: as the Engine lists them, by id.
        silent: the tasks whose node says nothing.
        calls: the query of each call for a log.
    """

    def __init__(self) -> None:
        self.tasks: dict[str, dict[str, Any]] = {}
        self.silent: set[str] = set()
        self.calls: list[Mapping[str, Any]] = []
        self.open_count = 0
        self._pieces: defaultdict[str, list[tuple[str, bytes]]] = defaultdict(list)
        self._printed = asyncio.Condition()

    def add_task(self, task_id: str, state: str = "running", slot: int = 1) -> None:
        """Add a task that has a container."""
        status = {"State": state, "ContainerStatus": {"ContainerID": "c"}}
        created = f"{len(self.tasks):03}"
        self.tasks[task_id] = {"ID": task_id, "Slot": slot, "NodeID": "n1", "CreatedAt": created, "Status": status}

    def set_state(self, task_id: str, state: str) -> None:
        """Put a task into another state."""
        self.tasks[task_id]["Status"]["State"] = state

    async def write(
        self, task_id: str, text: bytes, time: str, stream: int = STDOUT, *, is_noticed: bool = True
    ) -> None:
        """Have a task print a piece.

        Args:
            is_noticed: whether those that follow it get it; if not, their connections are as good as dead.
        """
        self._pieces[task_id].append((time, make_frame(text, time, stream)))
        if is_noticed:
            async with self._printed:
                self._printed.notify_all()

    async def call(self, _method: str, path: str, **_options: Any) -> Any:
        """List the tasks."""
        assert path == "/tasks"
        return list(self.tasks.values())

    @asynccontextmanager
    async def stream(
        self, _method: str, path: str, *, query: Mapping[str, Any], **_options: Any
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Read the log of a task."""
        self.calls.append(query)
        task_id = path.split("/")[2]
        if task_id not in self.tasks:
            raise DockerError(404, "no such task")
        if task_id in self.silent:
            await asyncio.Event().wait()
        self.open_count += 1
        try:
            yield self._answer(task_id, query)
        finally:
            self.open_count -= 1

    async def _answer(self, task_id: str, query: Mapping[str, Any]) -> AsyncIterator[bytes]:
        since = float(query.get("since", 0))
        pieces = self._pieces[task_id]
        for time, frame in pieces[-query["tail"] :]:
            if read_seconds(time) >= since:
                yield frame
        count = len(pieces)
        while query["follow"]:
            async with self._printed:
                while len(pieces) == count:
                    await self._printed.wait()
            for _, frame in pieces[count:]:
                yield frame
            count = len(pieces)


class FakeLogTable:
    """What a spool knows of the plugin `echo`: a stand-in for `SwarmTable`."""

    def __init__(self) -> None:
        self.is_live = True
        self.on_change: list[Callable[[str | None], object]] = []
        self.services: dict[str, Any] = {"echo": {"ID": "s1", "Spec": {"Labels": {}}}}

    def get_service(self, plugin_id: str) -> Any:
        """The plugin's service."""
        return self.services.get(plugin_id)

    def list_nodes(self) -> list[SimpleNamespace]:
        """One node."""
        return [NODE]

    def change(self) -> None:
        """Say that something has changed."""
        for callback in list(self.on_change):
            callback("echo")
