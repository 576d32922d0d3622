"""Sends every event to every open stream of `GET /events`.

    event: snapshot      {"plugins": [as in GET /plugins, with pid and uptime], "time"}
    event: status        {"plugin_id", "status", "state", …, "time"}: one plugin, its health or what it waits for
    event: plugins       as a snapshot: plugins were added, changed or removed
    event: nodes         as GET /nodes: after a snapshot and on a change, if there are nodes beyond this machine
    event: operation     {"id", "verb", "state", "phase", "percent", …}: an operation of installation has got on
    event: unavailable   {"detail", "time"}: the engine cannot be reached; a snapshot follows when it can

Every event is rendered once and kept in one log. A client is a position in that log; one whose position is no
longer in it gets a snapshot instead.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from plugvisor.api.event_client import Client
from plugvisor.api.event_log import EventLog
from plugvisor.api.http.stream_limit import StreamLimit
from plugvisor.errors import OperationNotFound, PluginNotFound, SupervisorUnavailable
from plugvisor.models.events import SupervisorLost
from plugvisor.timestamps import format_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from plugvisor.api.views import Views
    from plugvisor.engines.engine import Engine
    from plugvisor.manager.installation.registry import Registry
    from plugvisor.manager.last_lines import LastLines
    from plugvisor.manager.manager import Manager
    from plugvisor.models.stored.intent import Intent

HEARTBEAT_SECONDS = 15.0
"""Proxies close what is silent for half a minute or more."""
MOST_CLIENTS = 1024
MOST_CLIENTS_PER_ADDRESS = MOST_CLIENTS // 4
PIECE_BYTES = 32 * 1024
"""The most that a client is sent at once. uvicorn copies it, and waits until most of it was taken."""
SERVED_AT_ONCE = 16
"""Clients that are sent a piece in one round of the event loop, which then sees to everything else."""
SHARED_SECONDS = 1.0
"""So long a snapshot is sent to everyone who needs one: its uptimes are of that second."""
CATALOG_SECONDS = 0.02
"""Changes of the catalog within this time become one event."""
INTENT_SECONDS = 0.1
"""How long an event about an intent waits for one about its process, which then says both."""


class EventHub:
    """Sends what happens to every open stream."""

    def __init__(self, manager: Manager, engine: Engine, views: Views, last_lines: LastLines) -> None:
        self._manager = manager
        self._engine = engine
        self._views = views
        self._clients: set[Client] = set()
        self._limit = StreamLimit(MOST_CLIENTS, MOST_CLIENTS_PER_ADDRESS)
        self._line: deque[Client] = deque()
        self._log = EventLog()
        self._snapshots: dict[bool, tuple[int, float, bytes]] = {}  # by whether the client may read logs
        self._catalog_timer: asyncio.TimerHandle | None = None
        self._told_intents: dict[str, Intent | None] = {}
        self._changed_intents: dict[str, Intent | None] = {}
        self._is_closed = False
        engine.on_change.append(self._on_process)
        manager.on_facts.append(self._on_process)
        manager.intents.on_change.append(self._on_intent)
        manager.on_change.append(self._on_catalog)
        engine.on_nodes.append(self._on_nodes)
        last_lines.on_change.append(self._on_last_line)

    def open(self, plugin_id: str | None, last_event_id: str | None, address: str | None = None) -> Client:
        """A new client, for `follow`; the caller gives its place back.

        Args:
            address: the number of whose streams is limited; None for a client that does not count.

        Raises:
            PluginNotFound, SupervisorUnavailable, TooManyStreams
        """
        if plugin_id and plugin_id not in self._manager.catalog:
            raise PluginNotFound(plugin_id)
        self._engine.read()
        if self._catalog_timer is not None:  # the snapshot that it gets is of now
            self._catalog_timer.cancel()
            self._send_catalog()
        return Client(plugin_id or None, self._log.find(last_event_id or ""), self._limit.take(address))

    async def follow(self, client: Client) -> AsyncIterator[bytes | memoryview]:
        """Yield the events for a client, piece by piece, until it leaves."""
        self._clients.add(client)
        try:
            if self._has_news(client):
                self._line_up(client)
            while not (self._is_closed or client.is_gone):
                try:
                    async with asyncio.timeout(HEARTBEAT_SECONDS):
                        await client.turn.wait()
                except TimeoutError:
                    yield b": heartbeat\n\n"
                    continue
                client.turn.clear()
                if not client.is_gone and (piece := self._take(client)):
                    yield piece
                if self._has_news(client):
                    self._line_up(client)
        finally:
            client.is_gone = True
            self._clients.discard(client)

    def close(self) -> None:
        """End every stream: an open one would keep the service from shutting down."""
        self._is_closed = True
        for client in self._clients:
            client.turn.set()

    def announce_operation(self, registry: Registry, operation_id: str) -> None:
        """Send an operation's progress; filtered streams do not get it while its plugin is unknown."""
        with suppress(OperationNotFound):
            summary = registry.summarise(operation_id)
            self._send("operation", msgspec.json.encode(summary), summary.plugin_id or "")

    # -- who is served when

    def _line_up(self, client: Client) -> None:
        if client.is_in_line:
            return
        client.is_in_line = True
        if not self._line:
            asyncio.get_running_loop().call_soon(self._serve)
        self._line.append(client)

    def _serve(self) -> None:
        """Let the first few in the line take a piece each."""
        for _ in range(min(SERVED_AT_ONCE, len(self._line))):
            client = self._line.popleft()
            client.is_in_line = False
            if self._has_news(client):
                client.turn.set()
        if self._line:
            asyncio.get_running_loop().call_soon(self._serve)

    def _has_news(self, client: Client) -> bool:
        """Whether there is something to send; a client moves on past events that are not for it."""
        if client.rest or self._is_behind(client):
            return True
        while client.position < self._log.number:
            if client.select(self._log[client.position + 1]):
                return True
            client.position += 1
        return False

    def _is_behind(self, client: Client) -> bool:
        return not self._log.holds_all_after(client.position)

    def _take(self, client: Client) -> memoryview:
        """The next piece for a client."""
        if not client.rest:
            client.rest = memoryview(self._gather(client))
        piece, client.rest = client.rest[:PIECE_BYTES], client.rest[PIECE_BYTES:]
        return piece

    def _gather(self, client: Client) -> bytes:
        """A snapshot, or the events after its position, of which small ones go together."""
        if self._is_behind(client):
            return self._catch_up(client)
        texts: list[bytes] = []
        size = 0
        while client.position < self._log.number:
            event = self._log[client.position + 1]
            if event.is_catalog and client.plugin_id is not None:
                return b"".join([*texts, self._catch_up(client)])
            if text := client.select(event):
                if texts and size + len(text) > PIECE_BYTES:
                    break
                texts.append(text)
                size += len(text)
            client.position += 1
        return texts[0] if len(texts) == 1 else b"".join(texts)

    def _catch_up(self, client: Client) -> bytes:
        """A snapshot for a client."""
        client.position = self._log.number
        try:
            if client.plugin_id is None:
                return self._share_snapshot(reads_logs=client.reads_logs and self._views.has_lines)
            data = self._views.make_snapshot(client.plugin_id, reads_logs=client.reads_logs)
            return self._log.render("snapshot", data)
        except SupervisorUnavailable as error:  # when it is back there is a snapshot for everyone
            return self._log.render("unavailable", _describe_loss(error))

    def _share_snapshot(self, *, reads_logs: bool) -> bytes:
        """A snapshot of all plugins, shared until something changes."""
        now = time.monotonic()
        if reads_logs in self._snapshots:
            number, rendered_at, text = self._snapshots[reads_logs]
            if number == self._log.number and now - rendered_at < SHARED_SECONDS:
                return text
        text = self._log.render("snapshot", self._views.make_snapshot(reads_logs=reads_logs))
        if self._engine.is_cluster:
            text += self._log.render("nodes", self._views.show_nodes())
        self._snapshots[reads_logs] = (self._log.number, now, text)
        return text

    # -- what happens

    def _on_process(self, name: str | None) -> None:
        if name is None:
            self._resynchronise()
        elif name in self._manager.catalog:
            self._told_intents[name] = self._manager.intents.all.get(name)
            try:
                full = self._views.show_one(name, reads_logs=True) if self._views.has_line(name) else b""
                self._send("status", self._views.show_one(name), name, full=full)
            except SupervisorUnavailable:
                self._log.forget()  # what comes next is a call with None

    def _on_last_line(self, name: str) -> None:
        with suppress(SupervisorUnavailable, PluginNotFound):  # a snapshot follows, or it is not listed
            self._send("status", b"", name, full=self._views.show_one(name, reads_logs=True))

    def _on_intent(self, name: str | None) -> None:
        if name is None:
            self._on_catalog()
        else:
            if not self._changed_intents:
                asyncio.get_running_loop().call_later(INTENT_SECONDS, self._send_intents)
            self._changed_intents[name] = self._manager.intents.all.get(name)

    def _send_intents(self) -> None:
        changed, self._changed_intents = self._changed_intents, {}
        for name, intent in changed.items():
            is_current = self._manager.intents.all.get(name) is intent  # or the next change says it
            if is_current and self._told_intents.get(name) is not intent:
                self._on_process(name)

    def _on_nodes(self) -> None:
        with suppress(SupervisorUnavailable):  # a snapshot follows
            self._send("nodes", self._views.show_nodes(), "")

    def _on_catalog(self) -> None:
        if self._catalog_timer is None:
            loop = asyncio.get_running_loop()
            self._catalog_timer = loop.call_later(CATALOG_SECONDS, self._send_catalog)

    def _send_catalog(self) -> None:
        self._catalog_timer = None
        if not self._clients:
            self._log.forget()  # a snapshot is as good, and nobody may ever ask for it
            return
        try:
            full = self._views.make_snapshot(reads_logs=True) if self._views.has_lines else b""
            self._send("plugins", self._views.make_snapshot(), is_catalog=True, full=full)
        except SupervisorUnavailable:
            self._log.forget()

    def _resynchronise(self) -> None:
        """Everything may be different: every client needs a snapshot, and who comes back later as well."""
        self._log.forget()
        try:
            self._engine.read()
        except SupervisorUnavailable as error:
            self._send("unavailable", _describe_loss(error))
            for client in self._clients:  # they have been told all there is
                client.position = max(client.position, self._log.number - 1)
        self._line_up_all()

    def _send(
        self, kind: str, data: bytes, plugin_id: str | None = None, *, is_catalog: bool = False, full: bytes = b""
    ) -> None:
        """Add an event; `full` is its data for clients that may read logs, and without `data` it is for them alone."""
        self._log.add(kind, data, plugin_id, is_catalog=is_catalog, full=full)
        self._line_up_all()

    def _line_up_all(self) -> None:
        if len(self._line) < len(self._clients):
            for client in self._clients:
                self._line_up(client)


def _describe_loss(error: SupervisorUnavailable) -> bytes:
    return msgspec.json.encode(SupervisorLost(detail=str(error), time=format_time()))
