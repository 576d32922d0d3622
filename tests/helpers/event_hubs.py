"""An event hub by itself, with what it takes its events from, and its clients."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

from plugvisor.api.event_hub import EventHub
from plugvisor.api.views import Views
from plugvisor.errors import SupervisorUnavailable
from plugvisor.manager.last_lines import LastLines
from plugvisor.models.process import Exit, Process, ProcessState
from plugvisor.plugins.catalog import Plugin

from tests.helpers.stores import make_intents

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from plugvisor.api.event_client import Client
    from plugvisor.manager.facts import Facts
    from plugvisor.models.cluster.node import Node


class FakeManager:
    def __init__(self, *plugin_ids: str) -> None:
        self.catalog = {plugin_id: Plugin(plugin_id, None, problem="none") for plugin_id in plugin_ids}
        self.version = 0
        self.on_change: list[Callable[[], object]] = []
        self.on_facts: list[Callable[[str], object]] = []
        self.all_facts: dict[str, Facts] = {}
        self.intents = make_intents()

    def facts(self, _plugin_id: str) -> None:
        return None

    def change(self) -> None:
        self.version += 1
        for callback in self.on_change:
            callback()


class FakeEngine:
    """Has the processes that the test says."""

    def __init__(self) -> None:
        self.processes: dict[str, Process] = {}
        self.version = 0
        self.is_live = True
        self.on_change: list[Callable[[str | None], object]] = []
        self.is_cluster = False
        self.nodes: list[Node] = []
        self.on_nodes: list[Callable[[], object]] = []

    def list_nodes(self) -> list[Node]:
        self.read()
        return self.nodes

    def change_nodes(self, *nodes: Node) -> None:
        self.nodes = list(nodes)
        for callback in self.on_nodes:
            callback()

    def read(self) -> Mapping[str, Process]:
        if not self.is_live:
            raise SupervisorUnavailable("it is away")
        return self.processes

    def end(self, name: str) -> None:
        self.processes[name] = Process(
            ProcessState.EXITED, spawn_error="Bad exit code 3", last_exit=Exit(at=1.0, code=3), launches=1
        )
        self._announce(name)

    def change(self, name: str, pid: int) -> None:
        self.processes[name] = Process(ProcessState.RUNNING, pid=pid)
        self._announce(name)

    def resynchronise(self, *, is_live: bool = True) -> None:
        self.is_live = is_live
        self._announce(None)

    def _announce(self, name: str | None) -> None:
        self.version += 1
        for callback in self.on_change:
            callback(name)


class CountingViews(Views):
    """Counts how often everything is rendered."""

    snapshots = 0

    def make_snapshot(self, plugin_id: str | None = None, *, reads_logs: bool = False) -> bytes:
        self.snapshots += plugin_id is None
        return super().make_snapshot(plugin_id, reads_logs=reads_logs)


class FakeLines(LastLines):
    """Has the lines that the test says."""

    def __init__(self) -> None:
        self.version = 0
        self.on_change = []
        self.lines: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.lines)

    def get(self, plugin_id: str, _process: Process | None) -> str:
        return self.lines.get(plugin_id, "")

    def change(self, plugin_id: str, line: str) -> None:
        self.lines[plugin_id] = line
        self.version += 1
        for callback in self.on_change:
            callback(plugin_id)


class Told:
    """One chunk of a stream, taken apart."""

    def __init__(self, chunk: bytes) -> None:
        fields = dict(line.split(": ", 1) for line in chunk.decode().splitlines() if ": " in line)
        self.kind = fields.get("event", "comment")
        self.number = int(fields["id"].rpartition("-")[2]) if "id" in fields else None
        self.id = fields.get("id", "")
        self.data: dict[str, Any] = json.loads(fields.get("data", "{}"))

    def apply(self, pids: dict[str, int]) -> None:
        """What a page does with it."""
        if self.kind == "status":
            pids[self.data["plugin_id"]] = self.data["pid"]
        elif self.kind in ("snapshot", "plugins"):
            pids.clear()
            pids.update({plugin["id"]: plugin["pid"] for plugin in self.data["plugins"] if "pid" in plugin})


class Page:
    """One client of the hub."""

    def __init__(
        self,
        hub: EventHub,
        plugin_id: str | None = None,
        last_event_id: str | None = None,
        *,
        reads_logs: bool = False,
    ) -> None:
        self._hub, self._arguments, self._reads_logs = hub, (plugin_id, last_event_id), reads_logs
        self._pieces: AsyncGenerator[Any, None] | None = None
        self._task: asyncio.Task[Any] | None = None
        self._text = b""
        self.client: Client | None = None

    async def read(self, seconds: float = 5) -> Told:
        """The next event, for which a slow client has not asked before."""
        if self._pieces is None:
            self.client = self._hub.open(*self._arguments)
            self.client.reads_logs = self._reads_logs
            self._pieces = self._hub.follow(self.client)  # type: ignore[assignment]
        while b"\n\n" not in self._text:
            if self._task is None:
                self._task = asyncio.ensure_future(anext(self._pieces))  # type: ignore[arg-type]
            await asyncio.wait([self._task], timeout=seconds)
            if not self._task.done():  # it goes on: what comes is for the next call
                raise TimeoutError
            task, self._task = self._task, None
            self._text += await task
        chunk, _, self._text = self._text.partition(b"\n\n")
        return Told(chunk)

    async def read_to_end(self) -> None:
        """Whatever comes, until the stream is closed."""
        with contextlib.suppress(StopAsyncIteration):
            while True:
                await self.read(1)

    async def leave(self) -> None:
        await self._pieces.aclose()  # type: ignore[union-attr]


def on_hub(scenario: Callable[[EventHub, FakeEngine, FakeManager], Awaitable[None]], *plugin_ids: str) -> None:
    async def run() -> None:
        unlooked: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unlooked.append(context))
        engine, manager = FakeEngine(), FakeManager(*(plugin_ids or ("a", "b")))
        lines = FakeLines()
        hub = EventHub(manager, engine, CountingViews(manager, engine, lines), lines)  # type: ignore[arg-type]
        async with asyncio.timeout(30):
            await scenario(hub, engine, manager)
            hub.close()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            await asyncio.sleep(0)
        assert not unlooked

    asyncio.run(run())
