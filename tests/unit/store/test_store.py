"""The store: what is written is there for whoever reads it later."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import stat
import threading
from typing import TYPE_CHECKING

import pytest
from plugvisor.errors import IdentityExists
from plugvisor.models.stored.intent import Intent
from plugvisor.store.folder import LOCK_NAME
from plugvisor.store.store import Store
from plugvisor.store.tables import intents
from plugvisor.store.work_queue import MOST_POSTED, Item, WorkQueue

from tests.helpers.waiting import DEADLINE_SECONDS
from tests.helpers.watched_store import fails, opened, read_intents, run, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_what_is_written_is_there_for_every_later_store(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path / "deep" / "state") as store:
            await store.remember("web")
            store.remember_soon("worker")
            assert "web" in await store.list_intents()
            assert (store.problem, store.set_aside, store.errors, store.changes) == ("", "", 0, [])
            assert store.size_bytes > 0
        async with opened(tmp_path / "deep" / "state") as store:
            assert await store.list_intents() == {"web", "worker"}

    run(test)


def test_what_is_posted_is_written_though_nobody_waits(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as store:
            store.remember_soon("web")
            await until(lambda: read_intents(store.path) == {"web"})

    run(test)


def test_many_writes_become_few_transactions(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as store:
            begins: list[str] = []

            def watch(connection: sqlite3.Connection) -> None:
                connection.set_trace_callback(lambda sql: begins.append(sql) if sql.startswith("BEGIN") else None)

            await store.write(watch)
            await asyncio.gather(*(store.remember(f"p{number}") for number in range(300)))
            assert len(begins) < 50
            assert len(await store.list_intents()) == 300

    run(test)


def test_work_that_fails_takes_no_other_with_it(tmp_path: Path) -> None:
    def fail(error: Exception) -> Callable[[sqlite3.Connection], None]:
        def work(connection: sqlite3.Connection) -> None:
            intents.save_intent(connection, "half", Intent("stopped", "ops", 1.0))
            raise error

        return work

    def repeat(connection: sqlite3.Connection) -> None:
        for _ in range(2):
            connection.execute("INSERT INTO asked VALUES ('web', 'token')")

    async def test() -> None:
        async with opened(tmp_path) as store:
            store.post(fail(ValueError("nobody waits for this")))
            results = await asyncio.gather(
                store.remember("before"),
                store.write(fail(IdentityExists("there is one"))),
                store.write(fail(ZeroDivisionError())),
                store.write(repeat),
                store.write(lambda connection: connection.execute("SELECT * FROM nothing").fetchall()),
                store.remember("after"),
                return_exceptions=True,
            )
            kinds = [type(result) for result in results]
            none = type(None)
            assert kinds == [
                none,
                IdentityExists,
                ZeroDivisionError,
                sqlite3.IntegrityError,
                sqlite3.OperationalError,
                none,
            ]
            assert (store.problem, store.errors) == ("", 0)
            found = await store.read(intents.load)
            assert (set(found.intents), found.asked) == ({"before", "after"}, {})

    run(test)


def test_work_that_ends_the_transaction_is_a_defect_that_the_store_outlives(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as store:
            with pytest.raises(sqlite3.OperationalError):
                await store.write(lambda connection: connection.execute("COMMIT"))
            await store.remember("web")
            assert await store.list_intents() == {"web"}

    run(test)


def test_a_caller_that_goes_away_takes_nothing_with_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as store:
            task = asyncio.create_task(store.remember("web"))
            await asyncio.sleep(0)
            task.cancel()
            await until(lambda: read_intents(store.path) == {"web"})

    run(test)


def test_a_question_is_dropped_when_nobody_waits_for_its_answer(tmp_path: Path) -> None:
    goes_on, asked = threading.Event(), threading.Event()

    async def test() -> None:
        async with opened(tmp_path) as store:
            held = [asyncio.create_task(store.read(lambda _: goes_on.wait(DEADLINE_SECONDS))) for _ in range(2)]
            given_up = asyncio.create_task(store.read(lambda _: asked.set()))
            await asyncio.sleep(0)
            given_up.cancel()
            await asyncio.wait((given_up,))
            goes_on.set()
            await asyncio.gather(*held)
            assert await asyncio.gather(*(store.list_intents() for _ in range(4))) == [set()] * 4

    run(test)
    assert not asked.is_set()


def test_callbacks_that_fail_harm_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with opened(tmp_path) as store:
            store.on_replaced.insert(0, lambda: 1 / 0)
            store.path.unlink()
            await until(lambda: store.replaced)

    run(test)
    assert "a callback of the store has failed" in caplog.text


def test_the_files_are_this_users_alone(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path / "state") as store:
            await store.remember("web")
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "state").iterdir()}
            names = ("plugvisor.db", "plugvisor.db-wal", "plugvisor.db-shm", "plugvisor.lock")
            assert modes == dict.fromkeys(names, 0o600)

    before = os.umask(0)
    try:
        run(test)
    finally:
        os.umask(before)


@pytest.mark.skipif(os.geteuid() != 0, reason="a folder of root's")
def test_in_a_shared_folder_the_files_are_the_groups(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path / "state") as store:
            await store.remember("web")
            assert {stat.S_IMODE(path.stat().st_mode) for path in store.path.parent.glob("*.db*")} == {0o660}

    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o2770)
    before = os.umask(0o077)
    try:
        run(test)
    finally:
        os.umask(before)


def test_a_pipe_in_the_place_of_the_lock_is_not_waited_for(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as store:
            await store.remember("web")

    os.mkfifo(tmp_path / LOCK_NAME)
    run(test)


def test_too_much_that_nobody_waits_for_drops_the_oldest() -> None:
    queue = WorkQueue()
    items = [Item(lambda _connection: None, None) for _ in range(MOST_POSTED + 3)]
    for item in items[:-1]:
        queue.put(item)
    assert queue.take(0) == items[2:-1]
    queue.put(items[-1])
    queue.put_back(items[2:-1])
    assert queue.take(0) == items[3:]
    assert queue.dropped == 3


def test_a_store_that_was_never_opened_remembers_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        store = Store(tmp_path)
        await fails(store.write(intents.load))
        await fails(store.read(intents.load))
        await store.close()

    run(test)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_removed_while_it_is_open(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path / "state") as store:
            await store.remember("old")
            shutil.rmtree(tmp_path / "state")
            await store.remember("new")
            assert read_intents(store.path) == {"new"}

    run(test)
