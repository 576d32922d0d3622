"""A store on a disk that is full, read-only, locked or does not answer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from plugvisor.errors import StoreUnavailable
from plugvisor.store import writer
from plugvisor.store.database import Database
from plugvisor.store.tables import intents

from tests.helpers.disks import fill, mount_tmpfs, needs_mounts, remount
from tests.helpers.waiting import DEADLINE_SECONDS
from tests.helpers.watched_store import Watched, fails, make_store, opened, read_intents, run, until

if TYPE_CHECKING:
    from pathlib import Path


async def until_full(store: Watched) -> None:
    with contextlib.suppress(StoreUnavailable):
        for number in range(1000):
            await store.remember(f"{number}{'x' * 4000}")


@needs_mounts
def test_a_full_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The log has room that is used again: it takes some writes until the disk is too full."""

    async def test() -> None:
        with mount_tmpfs(tmp_path / "state", 1024) as folder:
            async with opened(folder) as store:
                await store.remember("old")
                filler = fill(folder)
                await until_full(store)
                assert store.problem == "the disk is full"
                assert "old" in await store.list_intents()
                for number in range(100):
                    store.post(lambda c, n=number: c.execute("INSERT INTO asked VALUES (?, ?)", (f"p{n}", "x" * 3000)))  # type: ignore[misc]
                retries = store._writer._retries
                await until(lambda: store._writer._retries > retries + 1)
                filler.unlink()
                await until(lambda: store.is_available)
                await store.remember("new")
                found = await store.read(intents.load)
                assert {"old", "new"} <= set(found.intents)
                assert len(found.asked) == 100
                assert (store.changes, store.set_aside) == ([False, True], "")

    caplog.set_level(logging.INFO)
    run(test)
    assert caplog.text.count("nothing can be remembered") == 1
    assert caplog.text.count("what happens is remembered again") == 1


@needs_mounts
def test_a_disk_that_is_full_from_the_beginning(tmp_path: Path) -> None:
    async def test() -> None:
        with mount_tmpfs(tmp_path / "state", 64) as folder:
            filler = fill(folder)
            async with opened(folder) as store:
                await fails(store.remember("no"))
                filler.unlink()
            remount(folder, "size=1024k")
            async with opened(folder) as store:
                await until(lambda: store.is_available)
                await store.remember("web")
                assert store.set_aside == ""

    run(test)


@needs_mounts
def test_a_read_only_disk(tmp_path: Path) -> None:
    async def test() -> None:
        with mount_tmpfs(tmp_path / "state", 1024) as folder:
            make_store(folder, "old")
            remount(folder, "ro")
            async with opened(folder) as store:
                assert "ead-only file system" in await fails(store.remember("no"))
                assert await store.list_intents() == {"old"}
                remount(folder, "rw")
                await until(lambda: store.is_available)
                await store.remember("new")
                assert await store.list_intents() == {"old", "new"}
                assert store.replaced == 0

    run(test)


def test_a_locked_database(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as store:
            await store.remember("old")
            with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                assert "locked" in await fails(store.remember("no"))
                await until(lambda: store.problem)
                store.remember_soon("kept")
                assert await store.list_intents() == {"old"}
                other.execute("ROLLBACK")
                await until(lambda: store.is_available)
            assert await store.list_intents() == {"old", "kept"}
            assert (store.set_aside, store.replaced) == ("", 0)

    run(test)


def test_reads_wait_for_one_who_holds_everything_for_a_moment(tmp_path: Path) -> None:
    async def test() -> None:
        make_store(tmp_path, "web")
        async with opened(tmp_path) as store:
            stop = threading.Event()

            def checkpoint() -> None:
                while not stop.is_set():
                    with closing(sqlite3.connect(store.path, isolation_level=None, timeout=10)) as other:
                        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")

            thread = threading.Thread(target=checkpoint)
            thread.start()
            try:
                for number in range(200):
                    store.remember_soon(f"p{number}")
                    assert "web" in await store.list_intents()
            finally:
                stop.set()
                await asyncio.to_thread(thread.join)

    run(test)


def test_two_on_one_folder(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as first:
            await first.remember("web")
            async with opened(tmp_path) as second:
                assert second.problem == "another Plugvisor uses this state folder"
                assert "another Plugvisor" in await fails(second.remember("no"))
                assert "another Plugvisor" in await fails(second.list_intents())
                second.remember_soon("kept")
                await first.remember("still")
                await first.close()
                await until(lambda: second.is_available)
                assert await second.list_intents() == {"web", "still", "kept"}

    run(test)


def test_a_disk_that_does_not_answer_holds_up_nobody(tmp_path: Path) -> None:
    async def test() -> None:
        answers = threading.Event()
        async with opened(tmp_path) as store:
            stuck = asyncio.create_task(store.write(lambda _connection: answers.wait(DEADLINE_SECONDS)))
            await asyncio.sleep(0)
            assert "does not answer" in await fails(store.remember("given up"))
            assert "does not answer" in await fails(stuck)
            await until(lambda: store.changes)  # which can be a second later
            assert store.problem == "the disk does not answer"
            assert await store.list_intents() == set()
            store.remember_soon("kept")
            answers.set()
            await until(lambda: store.is_available)
            await until(lambda: read_intents(store.path) == {"kept"})
            assert store.changes == [False, True]

    run(test)


def test_a_disk_that_does_not_answer_at_the_beginning_holds_up_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()

    class Slow(Database):
        def open(self, *, is_suspect: bool, is_condemned: bool = False) -> bool:
            answers.wait(DEADLINE_SECONDS)
            return super().open(is_suspect=is_suspect, is_condemned=is_condemned)

    async def test() -> None:
        monkeypatch.setattr(writer, "Database", Slow)
        make_store(tmp_path, "web")
        async with opened(tmp_path) as store:
            assert store.problem == "the disk does not answer"
            await fails(store.list_intents())
            answers.set()
            await until(lambda: store.is_available)
            assert store.changes == [False, True]
            assert await store.list_intents() == {"web"}

    try:
        run(test)
    finally:
        answers.set()


def test_a_disk_that_does_not_answer_does_not_hold_up_the_end(tmp_path: Path) -> None:
    answers = threading.Event()

    async def test() -> None:
        store = Watched(tmp_path)
        await store.open()
        with pytest.raises(StoreUnavailable):
            await store.write(lambda _connection: answers.wait(DEADLINE_SECONDS))
        began = time.monotonic()
        await store.close()
        assert time.monotonic() - began < DEADLINE_SECONDS / 2
        await fails(store.remember("no"))

    try:
        run(test)
    finally:
        answers.set()
