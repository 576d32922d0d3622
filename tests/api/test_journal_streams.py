"""The journal's stream with a real store: nothing is missed, nothing comes twice, and a gap is named."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.api.http.stream_limit import StreamLimit
from plugvisor.api.resources.journal import streams as module
from plugvisor.api.resources.journal.streams import JournalStreams
from plugvisor.errors import StoreUnavailable, TooManyStreams
from plugvisor.manager.journal.recorder import Recorder
from plugvisor.models.stored.journal import Facts, NewEntry
from plugvisor.store.store import Store
from plugvisor.store.tables.journal import Filter, prune

from tests.helpers.scenarios import run_scenario, wait_until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from plugvisor.api.resources.journal.streams import Client

EVERYTHING = Filter()


class Desk:
    """A journal, and streams of it."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder)
        self.recorder = Recorder(self.store)
        self.readers: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Open everything."""
        await self.store.open()
        await self.recorder.load()
        self.streams = JournalStreams(self.store, self.recorder)

    async def close(self) -> None:
        """Close everything."""
        self.streams.close()
        await asyncio.gather(*self.readers)
        await self.recorder.close()
        await self.store.close()

    async def note(self, *plugin_ids: str) -> None:
        """Note entries, and have them stored."""
        for plugin_id in plugin_ids:
            self.recorder.note(NewEntry("operation", Facts(verb="x"), plugin_id))
        await wait_until(lambda: not self.recorder.is_busy)

    def listen(self, position: int | None = None, which: Filter = EVERYTHING) -> Listener:
        """A client that reads everything."""
        listener = Listener(self.streams.open(which, position))
        self.readers.append(asyncio.create_task(listener.read(self.streams)))
        return listener


class Listener:
    """A client's side of a stream."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.pieces: list[bytes] = []

    async def read(self, streams: JournalStreams) -> None:
        """Take everything."""
        async for piece in streams.follow(self.client):
            self.pieces.append(piece)
        streams.remove(self.client)

    @property
    def events(self) -> list[tuple[str, int, dict[str, Any]]]:
        """The kind, id and data of each event."""
        found = re.findall(r"event: (\w+)\nid: (\d+)\ndata: (.*)\n\n", b"".join(self.pieces).decode())
        return [(kind, int(number), json.loads(data)) for kind, number, data in found]

    @property
    def ids(self) -> list[int]:
        """The ids of the events."""
        return [number for _, number, _ in self.events]

    async def wait(self, number: int) -> None:
        """Wait for the event of that id."""
        await wait_until(lambda: number in self.ids, f"event {number}, after {self.ids[-3:]}")


def run(folder: Path, scenario: Callable[[Desk], Awaitable[Any]]) -> None:
    async def opened() -> None:
        desk = Desk(folder)
        await desk.open()
        await scenario(desk)
        await desk.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}, "nothing is left behind"

    run_scenario(opened())


def test_who_comes_gets_what_is_new(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.note("before")
        listener = desk.listen()
        await desk.note("a", "b")
        await listener.wait(3)
        assert listener.ids == [2, 3]
        assert [data["plugin_id"] for _, _, data in listener.events] == ["a", "b"]

    run(tmp_path, scenario)


def test_who_was_away_for_long_gets_everything_in_pieces(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.note(*(f"p{number % 7}" for number in range(5000)))
        everything, some = desk.listen(0), desk.listen(1000, Filter("p3"))
        await everything.wait(5000)
        assert everything.ids == [*range(1, 5001)]
        assert max(map(len, everything.pieces)) < 100_000
        expected = [number for number in range(1001, 5001) if (number - 1) % 7 == 3]
        await some.wait(expected[-1])
        assert some.ids == expected

    run(tmp_path, scenario)


def test_nothing_is_missed_and_nothing_comes_twice_while_much_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients change from the store to what is kept in memory, and back, while entries are added and counted up."""
    monkeypatch.setattr(module, "KEPT_EVENTS", 10)
    monkeypatch.setattr(module, "PIECE_EVENTS", 3)
    monkeypatch.setattr("plugvisor.manager.journal.recorder.GATHER_SECONDS", 0)
    monkeypatch.setattr("plugvisor.store.tables.journal.SCANNED_ENTRIES", 7)

    async def scenario(desk: Desk) -> None:
        saved: list[tuple[int, int]] = []
        desk.recorder.on_saved.append(lambda rows: saved.extend((row.sequence, row.id) for row in rows))
        listeners = []
        for number in range(400):
            if number % 40 == 0:
                listeners.append((desk.listen(desk.recorder.sequence), desk.recorder.sequence))
                listeners.append((desk.listen(0), 0))
            desk.recorder.note(NewEntry("state", Facts(detail=f"{number}"), f"p{number % 11}"))
            desk.recorder.note(NewEntry("operation", Facts(verb="x"), f"p{number}"))
            await asyncio.sleep(0.001 if number % 3 else 0)
        await wait_until(lambda: not desk.recorder.is_busy)
        last = desk.recorder.sequence
        by_id: dict[int, int] = {}
        for sequence, entry_id in saved:
            by_id[entry_id] = max(sequence, by_id.get(entry_id, 0))
        for listener, position in listeners:
            await listener.wait(last)
            ids = listener.ids
            assert ids == sorted(set(ids)), "in order, and each once"
            # an entry that was counted up since may come as it is now alone
            assert {sequence for sequence in by_id.values() if sequence > position} <= set(ids)
            assert set(ids) <= {sequence for sequence, _ in saved}

    run(tmp_path, scenario)


def test_a_gap_is_named(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.note(*(f"p{number}" for number in range(100)))
        await desk.store.write(lambda connection: prune(connection, -1.0, 0, 40, 1000))
        missed, just = desk.listen(39), desk.listen(40)
        for listener in (missed, just):
            await listener.wait(100)
        assert [kind for kind, _, _ in missed.events] == ["gap"] + ["entry"] * 60
        assert missed.ids == [39, *range(41, 101)]
        assert just.ids == [*range(41, 101)]

    run(tmp_path, scenario)


def test_who_comes_from_another_journal_gets_all_of_this_one(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.note("a", "b")
        listener = desk.listen(10**17)
        await listener.wait(2)
        assert [(kind, number) for kind, number, _ in listener.events] == [("gap", 0), ("entry", 1), ("entry", 2)]

    run(tmp_path, scenario)


def test_a_store_that_cannot_be_read_is_read_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.02)

    async def scenario(desk: Desk) -> None:
        await desk.note("a", "b")
        read, failures = desk.store.read, 0

        async def fail(_query: Any) -> Any:
            nonlocal failures
            failures += 1
            raise StoreUnavailable("not now")

        monkeypatch.setattr(desk.store, "read", fail)
        listener = desk.listen(0)
        await wait_until(lambda: failures > 3 and b": heartbeat" in b"".join(listener.pieces))
        assert listener.events == []
        monkeypatch.setattr(desk.store, "read", read)
        await listener.wait(2)
        assert listener.ids == [1, 2]

    run(tmp_path, scenario)


def test_a_stream_without_news_has_heartbeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.01)

    async def scenario(desk: Desk) -> None:
        listener = desk.listen()
        await wait_until(lambda: b"".join(listener.pieces).count(b": heartbeat\n") >= 3)
        await desk.note("a")
        await listener.wait(1)

    run(tmp_path, scenario)


def test_a_client_that_leaves_is_forgotten(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        listener = desk.listen()
        await desk.note("a")
        await listener.wait(1)
        listener.client.leave()
        await desk.readers[0]
        await desk.note("b")
        assert listener.ids == [1]
        assert desk.streams.count == 0

    run(tmp_path, scenario)


def test_there_are_as_many_streams_as_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(desk: Desk) -> None:
        monkeypatch.setattr(desk.streams, "_limit", StreamLimit(2, 2))
        first = desk.streams.open(EVERYTHING, None)
        desk.streams.open(EVERYTHING, None)
        with pytest.raises(TooManyStreams):
            desk.streams.open(EVERYTHING, None)
        desk.streams.remove(first)
        desk.streams.open(EVERYTHING, None)

    run(tmp_path, scenario)
