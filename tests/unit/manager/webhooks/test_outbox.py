"""The outbox: what outlives a service, and what is kept while nothing can be stored."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.errors import StoreUnavailable
from plugvisor.manager.webhooks import outbox as module
from plugvisor.manager.webhooks.deliveries import Queue
from plugvisor.manager.webhooks.outbox import Outbox
from plugvisor.store.schema import open_database
from plugvisor.store.store import Store

from tests.helpers.scenarios import let_tasks_run, run_scenario

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

URLS = ["https://example.com/a-secret-path", "https://other.example.com"]


def run(folder: Path, scenario: Callable[[Outbox], Awaitable[None]], *urls: str) -> None:
    """One life of a service."""

    async def live() -> None:
        store = Store(folder)
        await store.open()
        outbox = Outbox(store, urls or URLS)
        await outbox.open()
        await scenario(outbox)
        await outbox.close()
        await store.close()

    run_scenario(live())


def list_bodies(outbox: Outbox) -> list[list[str]]:
    """What is to be delivered to each receiver."""
    return [[one.message.body.decode() for one in queue.deliveries.values()] for queue in outbox.queues]


def test_a_message_is_kept_until_each_receiver_has_it(tmp_path: Path) -> None:
    ids = []

    async def first(outbox: Outbox) -> None:
        ids.append(outbox.add("plugin.error", "a", b"1").id)
        outbox.add("plugin.error", "b", b"2")
        delivery = await outbox.queues[0].take()
        assert delivery.message.body == b"1"
        outbox.remove(outbox.queues[0], delivery)

    async def second(outbox: Outbox) -> None:
        assert list_bodies(outbox) == [["2"], ["1", "2"]]
        assert next(iter(outbox.queues[1].deliveries)) == ids[0], "the same id again"
        for queue in outbox.queues:
            for delivery in list(queue.deliveries.values()):
                outbox.remove(queue, delivery)

    async def third(outbox: Outbox) -> None:
        assert list_bodies(outbox) == [[], []]

    for life in (first, second, third):
        run(tmp_path, life)
    assert all(b"secret" not in path.read_bytes() for path in tmp_path.iterdir() if path.is_file())


def test_a_held_message_is_due_after_a_restart_with_its_last_body(tmp_path: Path) -> None:
    async def first(outbox: Outbox) -> None:
        message = outbox.add("plugin.error", "a", b"1", delay_seconds=300)
        outbox.change(message, b"2")
        outbox.change(message, b"3")

    async def second(outbox: Outbox) -> None:
        delivery = await outbox.queues[0].take()
        assert (delivery.message.body, delivery.attempts) == (b"3", 0)

    run(tmp_path, first)
    run(tmp_path, second)


def test_attempts_are_counted_across_restarts(tmp_path: Path) -> None:
    async def first(outbox: Outbox) -> None:
        outbox.add("plugin.error", "a", b"1")
        for _ in range(2):
            outbox.postpone(outbox.queues[0], await outbox.queues[0].take(), 0)

    async def second(outbox: Outbox) -> None:
        assert (await outbox.queues[0].take()).attempts == 2
        assert (await outbox.queues[1].take()).attempts == 0

    run(tmp_path, first)
    run(tmp_path, second)


@pytest.mark.parametrize(("age_seconds", "is_expired"), [(3600, False), (90_000, True), (-1e6, False)])
def test_the_day_goes_on_while_no_service_runs(tmp_path: Path, age_seconds: float, is_expired: bool) -> None:
    """What is too old is tried once more; the clock may have been set back."""

    async def first(outbox: Outbox) -> None:
        outbox.add("plugin.error", "a", b"1")

    async def second(outbox: Outbox) -> None:
        delivery = await outbox.queues[0].take()
        assert outbox.is_expired(delivery) is is_expired
        assert delivery.expires <= time.monotonic() + module.KEPT_SECONDS

    run(tmp_path, first)
    with closing(sqlite3.connect(tmp_path / "plugvisor.db")) as connection:
        connection.execute("UPDATE outbox SET created_at = created_at - ?", [age_seconds])
        connection.commit()
    run(tmp_path, second)


def test_a_receiver_that_is_no_longer_configured(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def first(outbox: Outbox) -> None:
        outbox.add("plugin.error", "a", b"1")

    async def second(outbox: Outbox) -> None:
        assert list_bodies(outbox) == [["1"], []]

    async def third(outbox: Outbox) -> None:
        assert list_bodies(outbox) == [["1"], []]

    run(tmp_path, first)
    run(tmp_path, second, URLS[1], "https://new.example.com")
    assert "1 webhooks are dropped: their receivers are no longer configured" in caplog.text
    run(tmp_path, third, URLS[1], URLS[0])


def test_what_cannot_be_read_is_dropped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def first(outbox: Outbox) -> None:
        outbox.add("plugin.error", "a", b"1")

    async def second(outbox: Outbox) -> None:
        assert list_bodies(outbox) == [[], []]
        outbox.add("plugin.error", "a", b"2")

    async def third(outbox: Outbox) -> None:
        assert list_bodies(outbox) == [["2"], ["2"]]

    run(tmp_path, first)
    with closing(sqlite3.connect(tmp_path / "plugvisor.db")) as connection:
        connection.execute("UPDATE outbox SET created_at = 'yesterday'")
        connection.commit()
    run(tmp_path, second)
    assert "cannot read the webhooks that are still to be delivered" in caplog.text
    run(tmp_path, third)


def test_the_oldest_is_dropped_if_there_are_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "MOST_QUEUED", 3)

    async def first(outbox: Outbox) -> None:
        outbox.add("plugin.error", "a", b"1")
        on_its_way = await outbox.queues[0].take()
        for number in range(2, 6):
            outbox.add("plugin.error", "a", str(number).encode())
        assert list_bodies(outbox) == [["3", "4", "5"]] * 2
        assert [queue.dropped for queue in outbox.queues] == [2, 2]
        outbox.postpone(outbox.queues[0], on_its_way, 0)
        assert (await outbox.queues[0].take()).message.body == b"3"

    async def second(outbox: Outbox) -> None:
        assert list_bodies(outbox) == [["3", "4", "5"]] * 2

    run(tmp_path, first)
    assert caplog.text.count("the oldest are dropped") == 2, "once for each receiver"
    assert "secret" not in caplog.text
    run(tmp_path, second)


# -- a store that comes and goes


class UnsteadyStore:
    """A store whose availability the test decides; what is posted meanwhile is kept or lost."""

    def __init__(self, path: Path, *, keeps: bool) -> None:
        self.connection = open_database(path)
        self.keeps = keeps
        self.kept: list[Callable[[sqlite3.Connection], object]] = []
        self.is_available = True
        self.on_change: list[Callable[[], object]] = []
        self.on_replaced: list[Callable[[], object]] = []

    def switch(self, *, is_available: bool) -> None:
        self.is_available = is_available
        for work in self.kept if is_available else ():
            work(self.connection)
        for callback in self.on_change:
            callback()

    def post(self, work: Callable[[sqlite3.Connection], object]) -> None:
        if self.is_available:
            work(self.connection)
        elif self.keeps:
            self.kept.append(work)

    async def read(self, query: Callable[[sqlite3.Connection], Any]) -> Any:
        if not self.is_available:
            raise StoreUnavailable("it is away")
        return query(self.connection)

    def list_bodies(self) -> list[bytes]:
        return sorted(body for (body,) in self.connection.execute("SELECT body FROM outbox"))


def run_unsteady(tmp_path: Path, keeps: bool, scenario: Callable[[UnsteadyStore], Awaitable[None]]) -> None:
    async def live() -> None:
        store = UnsteadyStore(tmp_path / "plugvisor.db", keeps=keeps)
        with closing(store.connection):
            await scenario(store)
            assert store.on_change == store.on_replaced == []

    run_scenario(live())


@pytest.mark.parametrize("keeps", [True, False])
def test_what_happens_while_nothing_can_be_stored_is_stored_afterwards(tmp_path: Path, keeps: bool) -> None:
    async def scenario(store: UnsteadyStore) -> None:
        outbox = Outbox(store, URLS[:1])  # type: ignore[arg-type]
        await outbox.open()
        outbox.add("plugin.error", "a", b"1")
        store.switch(is_available=False)
        outbox.add("plugin.error", "a", b"2")
        outbox.remove(outbox.queues[0], await outbox.queues[0].take())
        assert store.list_bodies() == [b"1"]
        store.switch(is_available=True)
        await let_tasks_run()
        assert store.list_bodies() == [b"2"]
        store.connection.execute("DELETE FROM outbox")
        for callback in store.on_replaced:
            callback()
        await let_tasks_run()
        assert store.list_bodies() == [b"2"]
        await outbox.close()

    run_unsteady(tmp_path, keeps, scenario)


@pytest.mark.parametrize("keeps", [True, False])
def test_what_cannot_be_read_at_the_start_is_taken_over_later(tmp_path: Path, keeps: bool) -> None:
    async def scenario(store: UnsteadyStore) -> None:
        before = Outbox(store, URLS[:1])  # type: ignore[arg-type]
        await before.open()
        before.add("plugin.error", "a", b"1")
        await before.close()
        store.switch(is_available=False)
        outbox = Outbox(store, URLS[:1])  # type: ignore[arg-type]
        await outbox.open()
        held = outbox.add("plugin.error", "a", b"2", delay_seconds=300)
        store.switch(is_available=True)
        await let_tasks_run()
        assert store.list_bodies() == [b"1", b"2"]
        assert sorted(list_bodies(outbox)[0]) == ["1", "2"]
        [queue] = outbox.queues
        assert queue.deliveries[held.id].message is held, "it can still be changed"
        queue.remove(await queue.take())
        with pytest.raises(TimeoutError):  # it is held
            async with asyncio.timeout(0.01):
                await queue.take()
        await outbox.close()

    run_unsteady(tmp_path, keeps, scenario)


# -- the order


def test_deliveries_come_when_they_are_due() -> None:
    async def scenario() -> None:
        queue = Queue(1, URLS[0], time.monotonic)
        now = time.monotonic()
        for number, due in enumerate((0.03, 0.01, 0.02)):
            message = module.Message(str(number), "plugin.error", "a", b"", 0.0)
            queue.push(module.Delivery(message, now + due, now + 10))
        taken = []
        for _ in range(3):
            taken.append((await queue.take()).message.id)
            assert time.monotonic() >= now + 0.01 * len(taken)
        assert taken == ["1", "2", "0"]
        assert queue.name == "receiver 1 (example.com)"

    run_scenario(scenario())


def test_nothing_is_taken_during_a_pause() -> None:
    async def scenario() -> None:
        now = 0.0
        queue = Queue(1, URLS[0], lambda: now)
        queue.push(module.Delivery(module.Message("1", "plugin.error", "a", b"", 0.0), 0.0, 10.0))
        queue.pause(3600)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await queue.take()
        now = 3600.0
        assert (await queue.take()).message.id == "1"

    run_scenario(scenario())
