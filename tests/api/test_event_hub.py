"""The event hub by itself: clients that are slow, silent or gone, and how much it keeps."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.api.resources import events
from plugvisor.api.resources.events import EventHub
from plugvisor.errors import SupervisorUnavailable
from plugvisor.models.process import Process, ProcessState
from plugvisor.plugins.catalog import Plugin

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping


class FakeManager:
    def __init__(self, *plugin_ids: str) -> None:
        self.catalog = {plugin_id: Plugin(plugin_id, None, problem="none") for plugin_id in plugin_ids}
        self.on_change: list[Callable[[], object]] = []


class FakeBoard:
    """Tells what the test says, as a live process_table does or as one without a stream."""

    def __init__(self) -> None:
        self.is_live = True
        self.is_away = False
        self.picture: dict[str, Process] = {}
        self.version = 0
        self.on_change: list[Callable[[str | None], object]] = []

    async def read(self) -> Mapping[str, Process]:
        if not self.is_live:
            await asyncio.sleep(0)
        if self.is_away:
            raise SupervisorUnavailable("it is away")
        return self.picture

    def change(self, name: str, pid: int) -> None:
        self.picture[name] = Process(ProcessState.RUNNING, pid=pid)
        for callback in self.on_change:
            callback(name)


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

    def __init__(self, hub: EventHub, plugin_id: str | None = None, last_event_id: str | None = None) -> None:
        self._hub, self._arguments = hub, (plugin_id, last_event_id)
        self._chunks: AsyncIterator[Any] | None = None
        self._task: asyncio.Task[Any] | None = None

    async def read(self, seconds: float = 5) -> Told:
        """The next chunk, which a slow client has not asked for before."""
        if self._chunks is None:
            response = await self._hub.open(*self._arguments)
            self._chunks = aiter(response.body_iterator)
        if self._task is None:
            self._task = asyncio.ensure_future(anext(self._chunks))
        await asyncio.wait([self._task], timeout=seconds)
        if not self._task.done():  # it goes on: what comes is for the next call
            raise TimeoutError
        task, self._task = self._task, None
        return Told(await task)

    async def read_to_end(self) -> None:
        """Whatever comes, until the stream is closed."""
        with contextlib.suppress(StopAsyncIteration):
            while True:
                await self.read(1)

    async def leave(self) -> None:
        await self._chunks.aclose()  # type: ignore[union-attr]


def on_hub(scenario: Callable[[EventHub, FakeBoard, FakeManager], Awaitable[None]], *plugin_ids: str) -> None:
    async def run() -> None:
        unlooked: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unlooked.append(context))
        process_table, manager = FakeBoard(), FakeManager(*(plugin_ids or ("a", "b")))
        hub = EventHub(manager, process_table)  # type: ignore[arg-type]
        async with asyncio.timeout(30):
            await scenario(hub, process_table, manager)
            hub.close()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            await asyncio.sleep(0)
        assert not unlooked

    asyncio.run(run())


@pytest.mark.parametrize("changes", [events.LONGEST_QUEUE - 1, events.LONGEST_QUEUE, events.LONGEST_QUEUE + 1, 5000])
def test_a_slow_client_gets_everything_or_a_new_snapshot(changes: int) -> None:
    async def scenario(hub: EventHub, process_table: FakeBoard, _: FakeManager) -> None:
        page, pids = Page(hub), {}
        told = await page.read()
        assert told.kind == "snapshot"
        last = told.number
        for number in range(1, changes + 1):
            process_table.change("a" if number % 2 else "b", number)
        assert max(len(client.queue) for client in hub._clients) <= events.LONGEST_QUEUE
        count = 0
        while last != hub._number:
            told = await page.read()
            assert told.kind == "snapshot" or told.number == last + 1, "a gap"
            last = told.number
            told.apply(pids)
            count += 1
        assert pids == {name: process.pid for name, process in process_table.processes.items()}
        assert count == changes if changes < events.LONGEST_QUEUE else count <= events.LONGEST_QUEUE
        process_table.change("a", 77777)
        assert (await page.read()).data["pid"] == 77777

    on_hub(scenario)


@pytest.mark.parametrize("seed", range(10))
def test_whatever_happens_every_page_ends_with_the_truth(seed: int) -> None:
    chance = random.Random(seed)

    async def scenario(hub: EventHub, process_table: FakeBoard, manager: FakeManager) -> None:
        names = list(manager.catalog)
        wants = [None, None, *names]
        pages = [Page(hub, want) for want in wants]
        pids: list[dict[str, int]] = [{} for _ in pages]
        for page, known in zip(pages, pids, strict=True):
            (await page.read()).apply(known)
        numbers = [0] * len(pages)
        for pid in range(1, 2000):
            process_table.change(chance.choice(names), pid)
            if chance.random() < 0.01:
                for callback in manager.on_change:
                    callback()
            if chance.random() < 0.003:
                process_table.on_change[0](None)
            if chance.random() < 0.3:
                which = chance.randrange(len(pages))
                try:
                    told = await pages[which].read(0.002)
                except TimeoutError:
                    continue  # nothing new of what it asked for
                assert told.number >= numbers[which]
                numbers[which] = told.number
                told.apply(pids[which])
        for want, page, known in zip(wants, pages, pids, strict=True):
            truth = {name: process.pid for name, process in process_table.processes.items() if want in (None, name)}
            while known != truth:
                (await page.read(1)).apply(known)

    on_hub(scenario, "a", "b", "c")


def test_heartbeats_are_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.05)

    async def scenario(hub: EventHub, process_table: FakeBoard, _: FakeManager) -> None:
        page = Page(hub)
        assert (await page.read()).kind == "snapshot"
        began = time.monotonic()
        for _ in range(3):
            assert (await page.read()).kind == "comment"
        assert 0.1 < time.monotonic() - began < 3
        process_table.change("a", 1)
        assert (await page.read()).kind == "status"

    on_hub(scenario)


def test_a_closed_hub_ends_every_stream_and_a_page_that_leaves_is_forgotten() -> None:
    async def scenario(hub: EventHub, process_table: FakeBoard, _: FakeManager) -> None:
        pages = [Page(hub) for _ in range(50)]
        for page in pages:
            await page.read()
        assert len(hub._clients) == 50
        for page in pages[:10]:
            await page.leave()
        assert len(hub._clients) == 40
        waiting = [asyncio.create_task(page.read_to_end()) for page in pages[10:20]]
        await asyncio.sleep(0)
        process_table.change("a", 1)
        hub.close()
        for page in pages[20:]:
            await page.read_to_end()
        await asyncio.wait(waiting, timeout=1)
        assert all(task.done() for task in waiting)
        assert not any(isinstance(task.exception(), TimeoutError) for task in waiting)

    on_hub(scenario)


def test_what_is_kept_for_reconnects_is_bounded_in_bytes_too() -> None:
    async def scenario(hub: EventHub, process_table: FakeBoard, manager: FakeManager) -> None:
        page = Page(hub)
        await page.read()
        for number in range(300):
            process_table.change(f"plugin-{number % 1000}", number)
            for callback in manager.on_change:  # a refresh
                callback()
        kept = {id(event): len(event[2]) for event in hub._kept}
        kept |= {id(event): len(event[2]) for client in hub._clients for event in client.queue}
        assert sum(kept.values()) < 32_000_000, "the service has 80 MB for everything"

    on_hub(scenario, *(f"plugin-{number}" for number in range(1000)))


def test_without_a_stream_changes_are_found_and_nothing_else_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_LOOK_SECONDS", 0.01)

    async def scenario(hub: EventHub, process_table: FakeBoard, manager: FakeManager) -> None:
        process_table.is_live = False
        page = Page(hub)
        assert (await page.read()).kind == "snapshot"
        process_table.processes["a"] = Process(ProcessState.RUNNING, pid=1)
        assert (await page.read()).data["pid"] == 1
        process_table.is_away = True
        assert (await page.read()).kind == "unavailable"
        process_table.is_away = False
        assert (await page.read()).kind == "snapshot"
        with pytest.raises(TimeoutError):
            await page.read(0.5)

    on_hub(scenario)


def test_without_a_stream_and_without_plugins_it_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_LOOK_SECONDS", 0.01)

    async def scenario(hub: EventHub, process_table: FakeBoard, manager: FakeManager) -> None:
        process_table.is_live = False
        manager.catalog.clear()
        page = Page(hub)
        assert (await page.read()).kind == "snapshot"
        with pytest.raises(TimeoutError):
            await page.read(0.5)

    on_hub(scenario)


def test_everyone_is_told_that_supervisord_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where one client has found it out by itself, because it needed a snapshot just then."""
    monkeypatch.setattr(events, "_LOOK_SECONDS", 0.05)

    async def scenario(hub: EventHub, process_table: FakeBoard, _: FakeManager) -> None:
        pages = [Page(hub) for _ in range(3)]
        await pages[0].read()
        [client] = hub._clients
        for page in pages[1:]:
            await page.read()
        process_table.is_live, process_table.is_away = False, True
        client.is_behind = True
        client.news.set()
        for page in pages:
            assert (await page.read(2)).kind == "unavailable"
        process_table.is_live, process_table.is_away = True, False
        for page in pages:
            assert (await page.read(2)).kind == "snapshot"

    on_hub(scenario)
