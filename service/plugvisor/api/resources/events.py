"""`GET /events`: the picture, pushed to browsers as server-sent events.

    event: snapshot      {"plugins": [as in GET /plugins, with pid and uptime], "time"}
    event: status        {"plugin_id", "status", "state", …, "time"}: one plugin has changed
    event: plugins       as a snapshot: plugins were added, changed or removed
    event: unavailable   {"detail", "time"}: supervisord cannot be reached; a snapshot follows when it can

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from starlette.responses import StreamingResponse

from plugvisor.api.views import describe_plugin, describe_status, tell_time, to_json
from plugvisor.errors import PluginNotFound, SupervisorUnavailable, TooManyStreams
from plugvisor.manager.status import report

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from plugvisor.engines.engine import Engine
    from plugvisor.manager.manager import Manager
    from plugvisor.models.process import Process

HEARTBEAT_SECONDS = 15.0
"""Proxies close what is silent for half a minute or more."""
MOST_CLIENTS = 1024
LONGEST_QUEUE = 256
LONGEST_QUEUE_BYTES = 1024 * 1024
"""A client that is so far behind, in events or in bytes, gets a new snapshot instead of them."""
KEPT_EVENTS = 1024
KEPT_BYTES = 8 * 1024 * 1024
"""So many events can be made up for by `Last-Event-ID`, and no more than these bytes of them."""
_LOOK_SECONDS = 1.0

Event = tuple[int, str | None, bytes]
"""Its number, the plugin that it is about or None for all, and what is sent."""


class Client:
    """One open stream."""

    def __init__(self, plugin_id: str | None) -> None:
        self.plugin_id = plugin_id
        self.queue: deque[Event] = deque()
        self.is_behind = False
        self.news = asyncio.Event()
        self._bytes = 0

    def put(self, event: Event) -> None:
        """Keep an event until the client takes it, or note that it is too far behind."""
        if self.is_behind or len(self.queue) >= LONGEST_QUEUE or self._bytes >= LONGEST_QUEUE_BYTES:
            self.is_behind = True
        else:
            self.queue.append(event)
            self._bytes += len(event[2])

    def take(self) -> bytes:
        """The oldest event that is kept, as it is sent."""
        event = self.queue.popleft()
        self._bytes -= len(event[2])
        return event[2]

    def clear(self) -> None:
        """Keep nothing: a snapshot has it all."""
        self.is_behind = False
        self.queue.clear()
        self._bytes = 0


class EventHub:
    """Sends what happens to every open stream; supervisord is asked nothing while the process table is live."""

    def __init__(self, manager: Manager, engine: Engine) -> None:
        self._manager = manager
        self._engine = engine
        self._clients: set[Client] = set()
        self._kept: deque[Event] = deque()
        self._kept_bytes = 0
        # ids of another run of the service must not be taken for ours
        self._run = secrets.token_hex(4)
        self._number = 0
        self._shown: dict[str, tuple[Any, ...]] | None = None
        self._is_available = True
        self._closed = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None
        engine.on_change.append(self._on_process)
        manager.on_change.append(self._on_catalog)

    async def open(self, plugin_id: str | None, last_event_id: str | None) -> StreamingResponse:
        """Answer with a stream.

        Raises:
            PluginNotFound, SupervisorUnavailable, TooManyStreams
        """
        if plugin_id and plugin_id not in self._manager.catalog:
            raise PluginNotFound(plugin_id)
        if len(self._clients) >= MOST_CLIENTS:
            raise TooManyStreams(f"{MOST_CLIENTS} event streams are open, which is as many as there may be")
        self._engine.read()
        return StreamingResponse(
            self._stream(Client(plugin_id or None), last_event_id),
            media_type="text/event-stream",
            # nginx holds answers back unless it is told not to
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    def close(self) -> None:
        """End every stream: an open one would keep the service from shutting down."""
        self._closed.set()
        for client in self._clients:
            client.news.set()
        if self._watcher is not None:
            self._watcher.cancel()

    # -- one client

    async def _stream(self, client: Client, last_event_id: str | None) -> AsyncIterator[bytes]:
        self._clients.add(client)
        if self._watcher is None or self._watcher.done():
            self._shown = None  # it is of the time before the last client went
            self._watcher = asyncio.create_task(self._watch())
        try:
            missed = self._find_missed(client, last_event_id)
            client.is_behind = missed is None
            for event in missed or ():
                client.put(event)
            client.news.set()
            while not self._closed.is_set():
                try:
                    async with asyncio.timeout(HEARTBEAT_SECONDS):
                        await client.news.wait()
                except TimeoutError:
                    yield b": heartbeat\n\n"
                    continue
                client.news.clear()
                if client.is_behind:
                    client.clear()
                    if snapshot := await self._make_snapshot(client):
                        yield snapshot
                while client.queue and not client.is_behind:
                    yield client.take()
        finally:
            self._clients.discard(client)

    async def _make_snapshot(self, client: Client) -> bytes:
        try:
            processes = self._engine.read()
        except SupervisorUnavailable as error:
            if self._is_available:
                self._tell_unavailable(error)  # everyone, this client by its queue
                return b""
            return self._render("unavailable", {"detail": str(error), "time": tell_time()})
        if not self._engine.is_live and self._shown is None:
            self._shown = self._summarize(processes)
        return self._render("snapshot", self._describe(processes, client.plugin_id))

    def _find_missed(self, client: Client, last_event_id: str | None) -> list[Event] | None:
        """The events after that one; None where a snapshot is needed instead."""
        run, _, number = (last_event_id or "").partition("-")
        if run != self._run or not re.fullmatch(r"[0-9]{1,18}", number) or not self._engine.is_live:
            return None
        missed = [event for event in self._kept if event[0] > int(number)]
        if len(missed) != self._number - int(number):
            return None
        if client.plugin_id is None:
            return missed
        if any(plugin_id is None for _, plugin_id, _ in missed):
            return None
        return [event for event in missed if event[1] == client.plugin_id]

    # -- all clients

    def _on_process(self, name: str | None) -> None:
        if name is None:
            self._resynchronise()
        elif name in self._manager.catalog:
            self._show_change(name, self._engine.read())

    def _on_catalog(self) -> None:
        if self._engine.is_live:
            self._send(None, "plugins", self._describe(self._engine.read(), None))
        else:
            self._resynchronise()

    def _resynchronise(self) -> None:
        """Everything may be different: every client needs a snapshot, and who comes back later as well."""
        self._number += 1
        self._kept.clear()
        self._kept_bytes = 0
        self._shown = None
        self._is_available = True
        for client in self._clients:
            client.is_behind = True
            client.news.set()

    def _tell_unavailable(self, error: SupervisorUnavailable) -> None:
        self._is_available = False
        self._send(None, "unavailable", {"detail": str(error), "time": tell_time()})

    def _show_change(self, name: str, processes: Mapping[str, Process]) -> None:
        told = describe_status(report(self._manager.catalog[name], processes.get(name), time.monotonic()))
        self._send(name, "status", {"plugin_id": name, **told, "time": tell_time()})

    def _send(self, plugin_id: str | None, kind: str, data: dict[str, Any]) -> None:
        self._number += 1
        event = (self._number, plugin_id, self._render(kind, data))
        self._kept.append(event)
        self._kept_bytes += len(event[2])
        while len(self._kept) > KEPT_EVENTS or self._kept_bytes > KEPT_BYTES:
            self._kept_bytes -= len(self._kept.popleft()[2])
        for client in self._clients:
            if client.plugin_id is not None and plugin_id not in (None, client.plugin_id):
                continue
            if client.plugin_id is not None and kind == "plugins":
                client.is_behind = True  # it gets a snapshot of what it asked for
            else:
                client.put(event)
            client.news.set()

    def _render(self, kind: str, data: dict[str, Any]) -> bytes:
        return b"event: %s\nid: %s-%d\ndata: %s\n\n" % (kind.encode(), self._run.encode(), self._number, to_json(data))

    def _describe(self, processes: Mapping[str, Process], plugin_id: str | None) -> dict[str, Any]:
        now = time.monotonic()
        plugins = []
        for plugin in self._manager.catalog.values():
            if plugin_id in (None, plugin.id):
                told = report(plugin, processes.get(plugin.id), now)
                plugins.append({**describe_plugin(plugin, told), **describe_status(told)})
        return {"plugins": plugins, "time": tell_time()}

    # -- where no state stream tells of changes

    async def _watch(self) -> None:
        """While a client is there: ask every second what the process table does not tell by itself."""
        while self._clients:
            await asyncio.sleep(_LOOK_SECONDS)
            if self._engine.is_live:
                if not self._is_available:
                    self._resynchronise()
                continue
            try:
                processes = self._engine.read()
            except SupervisorUnavailable as error:
                if self._is_available:
                    self._tell_unavailable(error)
                continue
            before, shown = self._shown, self._summarize(processes)
            if not self._is_available or before is None:
                self._resynchronise()
                continue
            self._shown = shown
            for name in shown:
                if before.get(name) != shown[name]:
                    self._show_change(name, processes)

    def _summarize(self, processes: Mapping[str, Process]) -> dict[str, tuple[Any, ...]]:
        """By what a change of a plugin is told from the mere passing of time."""
        summary = {}
        for plugin in self._manager.catalog.values():
            told = report(plugin, processes.get(plugin.id), 0)
            summary[plugin.id] = (told.status, told.state, told.detail, told.pid)
        return summary
