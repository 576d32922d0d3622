"""The event hub by itself: clients that are slow, silent or gone, and how much it keeps."""

from __future__ import annotations

import asyncio
import random
import time
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import pytest
from plugvisor.api import event_hub, event_log
from plugvisor.api.resources.events import EventStream
from plugvisor.errors import OperationNotFound, SupervisorUnavailable, TooManyStreams
from plugvisor.models.installation.operation import OperationSummary
from plugvisor.plugins.catalog import Plugin

from tests.helpers.event_hubs import CountingViews, FakeEngine, FakeLines, FakeManager, Page, Told, on_hub
from tests.helpers.fake_cluster import make_node
from tests.helpers.scenarios import wait_until

if TYPE_CHECKING:
    from plugvisor.api.event_hub import EventHub
    from starlette.types import Message


KEPT = event_log.KEPT_EVENTS


@pytest.mark.parametrize("changes", [1, 10, KEPT - 1, KEPT, KEPT + 1, 5000])
def test_a_slow_client_gets_everything_or_a_new_snapshot(changes: int) -> None:
    async def scenario(hub: EventHub, engine: FakeEngine, _: FakeManager) -> None:
        page, pids = Page(hub), {}
        told = await page.read()
        assert told.kind == "snapshot"
        last = told.number
        for number in range(1, changes + 1):
            engine.change("a" if number % 2 else "b", number)
        kinds = []
        while last != hub._log.number:
            told = await page.read()
            assert told.kind == "snapshot" or told.number == last + 1, "a gap"
            last = told.number
            told.apply(pids)
            kinds.append(told.kind)
        assert pids == {name: process.pid for name, process in engine.processes.items()}
        assert kinds == ["status"] * changes if changes <= KEPT else kinds.count("snapshot") == 1
        engine.change("a", 77777)
        assert (await page.read()).data["pid"] == 77777

    on_hub(scenario)


def test_an_intent_is_one_event_together_with_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_hub, "INTENT_SECONDS", 0.01)

    async def scenario(hub: EventHub, engine: FakeEngine, manager: FakeManager) -> None:
        page, intents = Page(hub), manager.intents
        intents.persistence.is_loaded = True  # before, an intent is kept only once the process has changed
        await page.read()
        async with intents.attempt("a", "running", "ops"):
            engine.change("a", 1)
        told = await page.read()
        assert (told.data["pid"], told.data["intent"]["wanted"]) == (1, "running")
        await wait_until(lambda: not hub._changed_intents)
        assert hub._log.number == told.number
        # one that nothing else changes with
        intents.set("a", "stopped", "ops")
        assert (await page.read()).data["intent"]["wanted"] == "stopped"
        intents.set("gone", "stopped", "ops")
        await wait_until(lambda: not hub._changed_intents)
        assert hub._log.number == told.number + 1

    on_hub(scenario)


@pytest.mark.parametrize("seed", range(10))
def test_whatever_happens_every_page_ends_with_the_truth(seed: int) -> None:
    chance = random.Random(seed)

    async def scenario(hub: EventHub, engine: FakeEngine, manager: FakeManager) -> None:
        names = list(manager.catalog)
        wants = [None, None, *names]
        pages = [Page(hub, want) for want in wants]
        pids: list[dict[str, int]] = [{} for _ in pages]
        for page, known in zip(pages, pids, strict=True):
            (await page.read()).apply(known)
        numbers = [0] * len(pages)
        for pid in range(1, 2000):
            engine.change(chance.choice(names), pid)
            if chance.random() < 0.01:
                manager.change()
            if chance.random() < 0.003:
                engine.resynchronise()
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
            truth = {name: process.pid for name, process in engine.processes.items() if want in (None, name)}
            while known != truth:
                (await page.read(1)).apply(known)

    on_hub(scenario, "a", "b", "c")


def test_a_snapshot_is_rendered_once_for_everyone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_hub, "SHARED_SECONDS", 60.0)  # however slow this machine is

    async def scenario(hub: EventHub, engine: FakeEngine, manager: FakeManager) -> None:
        views = hub._views
        assert isinstance(views, CountingViews)
        pages = [Page(hub) for _ in range(100)]
        seen = [await page.read() for page in pages]
        assert {told.kind for told in seen} == {"snapshot"}
        assert views.snapshots == 1
        engine.resynchronise()
        again = [await page.read() for page in pages]
        assert {told.kind for told in again} == {"snapshot"}
        assert len({told.number for told in again}) == 1
        assert views.snapshots == 2
        for _ in range(50):
            manager.change()  # a refresh that removes plugin after plugin
        listed = [await page.read() for page in pages]
        assert {told.kind for told in listed} == {"plugins"}
        assert views.snapshots == 3
        late = [await Page(hub).read() for _ in range(100)]
        assert {told.kind for told in late} == {"snapshot"}
        assert views.snapshots == 4

    on_hub(scenario)


def test_clients_are_served_a_few_in_each_round_of_the_event_loop() -> None:
    async def scenario(hub: EventHub, engine: FakeEngine, _: FakeManager) -> None:
        pages = [Page(hub) for _ in range(100)]
        for page in pages:
            await page.read()
        waiting = [asyncio.create_task(page.read()) for page in pages]
        await asyncio.sleep(0)
        engine.resynchronise()
        rounds, most, before = 0, 0, 0
        while before < len(pages):
            await asyncio.sleep(0)
            done = sum(client.position == hub._log.number for client in hub._clients)
            rounds, most, before = rounds + 1, max(most, done - before), done
        assert most <= event_hub.SERVED_AT_ONCE
        assert {(await task).kind for task in waiting} == {"snapshot"}

    on_hub(scenario)


def test_a_large_snapshot_is_sent_in_pieces() -> None:
    async def scenario(hub: EventHub, engine: FakeEngine, manager: FakeManager) -> None:
        client = hub.open(None, None)
        pieces = hub.follow(client)
        text = b""
        while not text.endswith(b"\n\n"):
            piece = bytes(await anext(pieces))
            assert 0 < len(piece) <= event_hub.PIECE_BYTES
            text += piece
            engine.change("plugin-7", len(text))  # what happens meanwhile comes after it
        assert len(text) > 3 * event_hub.PIECE_BYTES
        assert [plugin["id"] for plugin in Told(text).data["plugins"]] == list(manager.catalog)
        assert Told(bytes(await anext(pieces)).partition(b"\n\n")[0]).kind == "status"

    on_hub(scenario, *(f"plugin-{number}" for number in range(1000)))


def test_heartbeats_are_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_hub, "HEARTBEAT_SECONDS", 0.05)

    async def scenario(hub: EventHub, engine: FakeEngine, _: FakeManager) -> None:
        page = Page(hub)
        assert (await page.read()).kind == "snapshot"
        began = time.monotonic()
        for _ in range(3):
            assert (await page.read()).kind == "comment"
        assert 0.1 < time.monotonic() - began < 3
        engine.change("a", 1)
        assert (await page.read()).kind == "status"

    on_hub(scenario)


def test_a_closed_hub_ends_every_stream_and_a_page_that_leaves_is_forgotten() -> None:
    async def scenario(hub: EventHub, engine: FakeEngine, _: FakeManager) -> None:
        pages = [Page(hub) for _ in range(50)]
        for page in pages:
            await page.read()
        assert len(hub._clients) == 50
        for page in pages[:10]:
            await page.leave()
        assert len(hub._clients) == 40
        pages[10].client.leave()  # type: ignore[union-attr]
        await pages[10].read_to_end()
        assert len(hub._clients) == 39
        waiting = [asyncio.create_task(page.read_to_end()) for page in pages[11:20]]
        await asyncio.sleep(0)
        engine.change("a", 1)
        hub.close()
        for page in pages[20:]:
            await page.read_to_end()
        await asyncio.wait(waiting, timeout=1)
        assert all(task.done() for task in waiting)
        assert not any(isinstance(task.exception(), TimeoutError) for task in waiting)

    on_hub(scenario)


def test_what_is_kept_for_reconnects_is_bounded_in_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_hub, "CATALOG_SECONDS", 0)

    async def scenario(hub: EventHub, engine: FakeEngine, manager: FakeManager) -> None:
        page = Page(hub)
        await page.read()
        sizes = []
        for number in range(100):
            engine.change(f"plugin-{number % 1000}", number)
            manager.change()  # a refresh
            await asyncio.sleep(0.001)
            sizes.append(hub._log.bytes_kept)
        assert max(sizes) == max(sizes[-5:]) <= event_log.KEPT_BYTES, "it is full, and no fuller than that"

    on_hub(scenario, *(f"plugin-{number}" for number in range(1000)))


def test_everyone_is_told_once_that_supervisord_is_away() -> None:
    async def scenario(hub: EventHub, engine: FakeEngine, _: FakeManager) -> None:
        pages = [Page(hub), Page(hub), Page(hub, "a")]
        for page in pages:
            await page.read()
        for _ in range(2):
            engine.resynchronise(is_live=False)
            for page in pages:
                assert (await page.read(2)).kind == "unavailable"
            with pytest.raises(SupervisorUnavailable):
                hub.open(None, None)
            engine.resynchronise()
            for page in pages:
                assert (await page.read(2)).kind == "snapshot"

    on_hub(scenario)


def test_nodes_follow_a_snapshot_and_every_change_of_them() -> None:
    async def scenario(hub: EventHub, engine: FakeEngine, _: FakeManager) -> None:
        engine.is_cluster = True
        engine.nodes = [make_node("node1"), make_node("node2")]
        everything, of_a = Page(hub), Page(hub, "a")
        assert [(await everything.read()).kind for _ in range(2)] == ["snapshot", "nodes"]
        assert (await of_a.read()).kind == "snapshot"
        engine.change_nodes(make_node("node1"), make_node("node2", state="down", detail="it is lost"))
        told = await everything.read()
        assert [(node["name"], node["state"]) for node in told.data["nodes"]] == [("node1", "ready"), ("node2", "down")]
        engine.change("a", 1)
        assert (await of_a.read()).kind == "status", "the nodes are for streams of all plugins"
        assert (await everything.read()).kind == "status"

        back = Page(hub, last_event_id=told.id)
        assert (await back.read()).kind == "status"
        engine.resynchronise(is_live=False)
        engine.change_nodes()
        assert (await everything.read()).kind == "unavailable"
        engine.resynchronise()
        assert [(await everything.read()).kind for _ in range(2)] == ["snapshot", "nodes"]

    on_hub(scenario)


class FakeRegistry:
    """Has the operations that the test says."""

    def __init__(self) -> None:
        self.operations: dict[str, OperationSummary] = {}

    def summarise(self, operation_id: str) -> OperationSummary:
        if operation_id not in self.operations:
            raise OperationNotFound("it is forgotten")
        return self.operations[operation_id]


def test_an_operation_is_for_streams_of_its_plugin_and_of_all() -> None:
    async def scenario(hub: EventHub, engine: FakeEngine, _: FakeManager) -> None:
        registry = FakeRegistry()
        everything, of_a, of_b = pages = Page(hub), Page(hub, "a"), Page(hub, "b")
        for page in pages:
            assert (await page.read()).kind == "snapshot"
        begun = OperationSummary(
            id="7",
            verb="install",
            state="running",
            phase="received",
            percent=5,
            lines=1,
            begun_at="2026-11-29T10:15:02+01:00",
        )
        for summary in (begun, msgspec.structs.replace(begun, plugin_id="a", percent=20)):
            registry.operations["7"] = summary
            hub.announce_operation(registry, "7")  # type: ignore[arg-type]
        hub.announce_operation(registry, "forgotten")  # type: ignore[arg-type]
        engine.change("b", 7)
        for page, kinds in (
            (everything, ["operation", "operation", "status"]),
            (of_a, ["operation"]),
            (of_b, ["status"]),
        ):
            told = [await page.read() for _ in kinds]
            assert [each.kind for each in told] == kinds
        assert registry.operations["7"].percent == 20
        again = Page(hub, "a", f"{hub._log._run}-{hub._log.number - 3}")
        told = await again.read()
        assert (told.kind, told.data) == ("operation", msgspec.to_builtins(registry.operations["7"]))

    on_hub(scenario)


def test_the_last_line_is_for_clients_that_may_read_logs() -> None:
    """It comes after the process's end, in an event of its own; the others are not sent that at all."""

    async def scenario(hub: EventHub, engine: FakeEngine, manager: FakeManager) -> None:
        for name in ("a", "b"):
            manager.catalog[name] = Plugin(name, None)
        readers = [Page(hub, reads_logs=True), Page(hub, "a", reads_logs=True)]
        others = [Page(hub), Page(hub, "a")]
        for page in (*readers, *others):
            assert (await page.read()).kind == "snapshot"
        engine.end("a")
        lines: FakeLines = hub._views._lines  # type: ignore[assignment]
        lines.change("a", "ValueError: no luck")
        engine.change("b", 7)
        engine.end("a")
        plain = "it ended unexpectedly, with exit code 3; its log may say why"
        full = "it ended unexpectedly, with exit code 3: ValueError: no luck"
        for pages, details in ((readers, [plain, full, full]), (others, [plain, plain])):
            for page in pages:
                told = [await page.read() for _ in range(len(details) + (page is pages[0]))]
                assert [each.data["detail"] for each in told if each.data["plugin_id"] == "a"] == details
                assert all(each.kind == "status" for each in told)
        again = Page(hub, "a", f"{hub._log._run}-{hub._log.number - 3}", reads_logs=True)
        assert [(await again.read()).data["detail"] for _ in range(2)] == [full, full]
        for reads_logs, detail in ((True, full), (False, plain)):
            for plugin_id in (None, "a"):
                snapshot = await Page(hub, plugin_id, reads_logs=reads_logs).read()
                assert {each["id"]: each.get("detail") for each in snapshot.data["plugins"]}["a"] == detail
        manager.change()
        assert (await readers[0].read()).data["plugins"][0]["detail"] == full
        assert (await others[0].read()).data["plugins"][0]["detail"] == plain

    on_hub(scenario)


def test_a_place_is_taken_before_anything_is_awaited() -> None:
    """A stream whose response has not begun counts, and gives its place back if it never does."""

    async def scenario(hub: EventHub, _engine: FakeEngine, _manager: FakeManager) -> None:
        async def stall(_message: object) -> None:
            await asyncio.Event().wait()

        async def receive() -> Message:
            await asyncio.Event().wait()
            raise AssertionError

        async def open_all(count: int, address: str | None) -> list[asyncio.Task[None]]:
            clients = [hub.open(None, None, address) for _ in range(count)]
            streams = [EventStream(partial(hub.follow, one), one.leave, one.place.give_back) for one in clients]
            return [asyncio.create_task(stream({"type": "http"}, receive, stall)) for stream in streams]

        greedy = await open_all(event_hub.MOST_CLIENTS_PER_ADDRESS, "203.0.113.1")
        with pytest.raises(TooManyStreams, match="this address"):
            hub.open(None, None, "203.0.113.1")
        others = await open_all(event_hub.MOST_CLIENTS - event_hub.MOST_CLIENTS_PER_ADDRESS, None)
        with pytest.raises(TooManyStreams):
            hub.open(None, None, "203.0.113.2")
        for task in (*greedy, *others):
            await asyncio.sleep(0)
            task.cancel()
        await asyncio.gather(*greedy, *others, return_exceptions=True)
        for task in await open_all(event_hub.MOST_CLIENTS_PER_ADDRESS, "203.0.113.1"):
            task.cancel()

    on_hub(scenario)
