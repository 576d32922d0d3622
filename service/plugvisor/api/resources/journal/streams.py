"""`GET /journal/stream`: every entry that is added or counted up, as server-sent events.

    event: entry         a JournalEntry
    event: gap           {"detail", "time"}: entries after the last one that was received are no longer kept

The id of an event is the sequence of its entry, which outlives the service. The newest events are kept in memory, each
rendered once; a client that has missed more than those gets them from the store, piece by piece.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from starlette.responses import Response

from plugvisor.api.http.stream_limit import StreamLimit
from plugvisor.api.resources.events import EventStream
from plugvisor.api.resources.journal.pages import show_entry
from plugvisor.errors import StoreUnavailable
from plugvisor.models.stored.journal import JournalGap
from plugvisor.store.tables.journal import Filter, find_pruned, read_news
from plugvisor.timestamps import format_time

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Callable, Sequence

    from starlette.requests import Request

    from plugvisor.api.http.stream_limit import Place
    from plugvisor.api.parameters import EntriesQuery
    from plugvisor.api.state import State
    from plugvisor.manager.journal.recorder import Recorder
    from plugvisor.models.stored.journal import Kind
    from plugvisor.store.store import Store
    from plugvisor.store.tables.journal import StoredEntry

HEARTBEAT_SECONDS = 15.0
MOST_STREAMS = 256
KEPT_EVENTS = 1024
PIECE_EVENTS = 64
"""The most that a client is sent at once."""
RETRY_SECONDS = 1.0
"""How soon a store that cannot be read is read again."""


class _Event(NamedTuple):
    sequence: int
    kind: Kind
    plugin_id: str
    text: bytes


class Client:
    """One open stream."""

    def __init__(self, which: Filter, position: int | None, place: Place) -> None:
        self.which = which
        self.position = position
        """The sequence up to which it has got everything; None: it gets what is new."""
        self.place = place
        self.news = asyncio.Event()
        self.is_gone = False

    def leave(self) -> None:
        """End the stream."""
        self.is_gone = True
        self.news.set()


class JournalStreams:
    """Sends new entries to every open stream."""

    def __init__(self, store: Store, recorder: Recorder) -> None:
        self._store = store
        self._recorder = recorder
        self._clients: set[Client] = set()
        self._limit = StreamLimit(MOST_STREAMS, MOST_STREAMS)
        self._events: deque[_Event] = deque()
        self._floor = recorder.sequence
        """Everything after this sequence is kept in memory."""
        self._is_closed = False
        recorder.on_saved.append(self._on_saved)

    @property
    def count(self) -> int:
        """How many streams are open."""
        return len(self._clients)

    def close(self) -> None:
        """End every stream: an open one would keep the service from shutting down."""
        self._is_closed = True
        for client in self._clients:
            client.news.set()

    def open(self, which: Filter, position: int | None) -> Client:
        """A new client, for `follow`; the caller removes it. Raises `TooManyStreams`."""
        client = Client(which, position, self._limit.take(None))
        if position is None:
            client.position = self._recorder.sequence
        self._clients.add(client)
        return client

    def remove(self, client: Client) -> None:
        """Let another client have its place."""
        self._clients.discard(client)
        client.place.give_back()

    async def follow(self, client: Client) -> AsyncIterator[bytes]:
        """Yield the events for a client until it leaves."""
        sent_at = time.monotonic()
        if gap := await self._find_gap(client):
            yield gap
        yield _mark(client)
        while not (self._is_closed or client.is_gone):
            client.news.clear()
            piece, has_more = await self._take(client)
            if piece:
                yield piece
                sent_at = time.monotonic()
            seconds_left = sent_at + HEARTBEAT_SECONDS - time.monotonic()
            if seconds_left > 0 and (has_more or await _wait(client.news, seconds_left)):
                continue
            yield b": heartbeat\n" + _mark(client)
            sent_at = time.monotonic()

    async def _take(self, client: Client) -> tuple[bytes, bool]:
        """The next piece for a client, and whether it has to be asked for more at once."""
        assert client.position is not None
        if client.position >= self._floor:
            return self._take_kept(client), client.position < self._recorder.sequence
        saved = self._recorder.sequence
        try:
            text, position, has_more = await self._store.read(_make_reader(client.which, client.position))
        except StoreUnavailable:
            await asyncio.sleep(RETRY_SECONDS)
            return b"", True
        client.position = position if has_more else max(position, saved)
        return text, has_more or client.position < self._recorder.sequence

    def _take_kept(self, client: Client) -> bytes:
        assert client.position is not None
        texts: list[bytes] = []
        number = len(self._events)
        while number and self._events[number - 1].sequence > client.position:
            number -= 1
        position = self._recorder.sequence
        for event in [self._events[place] for place in range(number, len(self._events))]:
            if client.which.matches(event.kind, event.plugin_id):
                texts.append(event.text)
                if len(texts) == PIECE_EVENTS:
                    position = event.sequence
                    break
        client.position = position
        return b"".join(texts)

    async def _find_gap(self, client: Client) -> bytes:
        """The event `gap`, if it has missed what is no longer kept."""
        position = client.position
        if position is None or self._floor <= position <= self._recorder.sequence:
            return b""
        with suppress(StoreUnavailable):
            pruned = await self._store.read(find_pruned)
            if position > self._recorder.sequence:  # it comes from another journal
                client.position = pruned
            elif position >= pruned:
                return b""
            detail = "what has happened after the last event is no longer in the journal, or in part"
            return _render("gap", client.position, JournalGap(detail=detail, time=format_time()))
        return b""

    def _on_saved(self, entries: Sequence[StoredEntry]) -> None:
        if not self._clients:
            self._events.clear()
            self._floor = entries[-1].sequence
            return
        for entry in entries:
            text = _render("entry", entry.sequence, show_entry(entry))
            self._events.append(_Event(entry.sequence, entry.kind, entry.plugin_id, text))
        while len(self._events) > KEPT_EVENTS:
            self._floor = self._events.popleft().sequence
        for client in self._clients:
            client.news.set()


async def _wait(event: asyncio.Event, seconds: float) -> bool:
    """Returns whether it was set in time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            return await event.wait()
    return False


def _mark(client: Client) -> bytes:
    """An id without an event: what to resume from, for a client whose filter lets nothing through."""
    return b"id: %d\n\n" % (client.position or 0)


def _make_reader(which: Filter, position: int) -> Callable[[sqlite3.Connection], tuple[bytes, int, bool]]:
    def read(connection: sqlite3.Connection) -> tuple[bytes, int, bool]:
        news = read_news(connection, which, position)
        texts = [_render("entry", entry.sequence, show_entry(entry)) for entry in news.entries]
        return b"".join(texts), news.sequence, news.has_more

    return read


def _render(kind: str, sequence: int | None, data: msgspec.Struct) -> bytes:
    return b"event: %b\nid: %d\ndata: %b\n\n" % (kind.encode(), sequence or 0, msgspec.json.encode(data))


async def stream_entries(request: Request[State], query: EntriesQuery) -> Response:
    """Every new entry, and first those after the last event that was received, as server-sent events."""
    which = Filter(query.plugin_id, query.kinds)
    if request.method == "HEAD":
        return Response(media_type="text/event-stream")
    last = request.headers.get("Last-Event-ID", "")
    position = int(last) if re.fullmatch("[0-9]{1,18}", last, re.ASCII) else None
    streams = request.state["journal_streams"]
    client = streams.open(which, position)
    return EventStream(partial(streams.follow, client), client.leave, partial(streams.remove, client))
