"""A store whose file is broken: it is set aside, and what can be read of it is taken over."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from plugvisor.errors import StoreUnavailable
from plugvisor.models.stored.intent import Intent
from plugvisor.store.broken import MOST_KEPT, set_aside
from plugvisor.store.schema import MIGRATIONS
from plugvisor.store.store import FILE_NAME
from plugvisor.store.tables import identities, intents, journal, outbox

from tests.helpers.old_schemas import load_version
from tests.helpers.watched_store import fails, make_store, opened, read_intents, run, until

if TYPE_CHECKING:
    from pathlib import Path


def harm(path: Path, how: str) -> None:
    if how == "a folder in its place":
        path.unlink()
        path.mkdir()
        (path / "file").touch()
    elif how == "a pipe in its place":
        path.unlink()
        os.mkfifo(path)
    elif how == "random bytes":
        path.write_bytes(os.urandom(50_000))
    elif how == "truncated":
        os.truncate(path, 5_000)
    elif how == "emptied, but not its log":
        os.truncate(path, 0)
        path.with_name(f"{path.name}-wal").write_bytes(os.urandom(10_000))
    elif how == "a negative version":
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA user_version = -3")
    elif how == "a table is missing":
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("DROP TABLE journal")
    else:
        raise AssertionError(how)


HARMS = [
    "random bytes",
    "truncated",
    "emptied, but not its log",
    "a folder in its place",
    "a pipe in its place",
    "a negative version",
    "a table is missing",
]


@pytest.mark.parametrize("how", HARMS)
def test_a_broken_file_is_set_aside(tmp_path: Path, how: str) -> None:
    async def test() -> None:
        path = make_store(tmp_path, "old")
        harm(path, how)
        before = path.read_bytes() if path.is_file() else b""
        async with opened(tmp_path) as store:
            assert store.is_available
            aside = tmp_path / store.set_aside
            assert store.set_aside.startswith("plugvisor.db.broken-20")
            await store.remember("new")
            assert "new" in await store.list_intents()
            assert aside.exists()
            if how in ("random bytes", "truncated"):
                assert aside.read_bytes() == before
        async with opened(tmp_path) as store:
            assert "new" in await store.list_intents()
            assert store.set_aside == ""

    run(test)


@pytest.mark.parametrize("how", ["random bytes", "truncated"])
def test_a_file_that_breaks_while_it_is_open_is_set_aside_and_what_is_held_written_again(
    tmp_path: Path, how: str
) -> None:
    async def test() -> None:
        make_store(tmp_path, *(f"p{number}" for number in range(2000)))
        async with opened(tmp_path) as store:
            harm(store.path, how)
            with contextlib.suppress(StoreUnavailable):  # the reader finds it, and the writer does something about it
                await store.list_intents()
            await until(lambda: store.replaced)
            await store.remember("new")
            assert store.set_aside
            assert "new" in read_intents(store.path)

    run(test)


def test_damage_that_only_a_write_finds(tmp_path: Path) -> None:
    async def test() -> None:
        make_store(tmp_path, *(f"p{number}" for number in range(5000)))
        async with opened(tmp_path) as store:
            with store.path.open("r+b") as file:
                file.seek(4096)
                while file.tell() < store.path.stat().st_size:
                    file.write(os.urandom(4096))
            await store.remember("p2500")
            assert store.set_aside
            assert store.replaced == 1
            assert "p2500" in read_intents(store.path)

    run(test)


def test_what_can_be_read_of_a_broken_file_is_taken_over(tmp_path: Path) -> None:
    async def test() -> None:
        path = make_store(tmp_path, "web", "worker")
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("DROP TABLE journal")
        async with opened(tmp_path) as store:
            assert store.set_aside
            assert await store.list_intents() == {"web", "worker"}

    run(test)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE intent SET wanted = CAST(x'ff' AS TEXT)",
        "UPDATE intent SET at = 1e300",
        "UPDATE intent SET at = x'00'",
        "UPDATE asked SET token = x'00'",
    ],
)
def test_a_row_that_makes_no_sense_takes_no_other_with_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    async def test() -> None:
        path = make_store(tmp_path, "damaged", "web")
        with closing(sqlite3.connect(path)) as connection, connection:
            for name in ("damaged", "web"):
                intents.save_disabled(connection, name, "ops", 1.0)
                intents.save_intent(connection, name, Intent("stopped", "ops", 1.0), "boot-1")
            connection.execute(f"{damage} WHERE plugin_id = 'damaged'")
        async with opened(tmp_path) as store:
            tables = [set(table) for table in await store.read(intents.load)]
            assert sorted(map(len, tables)) == [1, 2, 2]
            assert all("web" in table for table in tables)
            assert store.set_aside == ""

    run(test)
    assert "is invalid in the database" in caplog.text


def test_a_few_broken_files_are_kept(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    names = []
    for number in range(MOST_KEPT + 2):
        for each in (path, path.with_name(f"{path.name}-wal")):
            each.write_text(str(number))
        names.append(set_aside(path))
    assert len(set(names)) == len(names)
    assert len(list(tmp_path.iterdir())) == 2 * MOST_KEPT
    assert (tmp_path / names[-1]).read_text() == str(MOST_KEPT + 1)


def test_a_database_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    async def test() -> None:
        path = make_store(tmp_path, "web")
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA user_version = 1000")
        before = path.read_bytes()
        async with opened(tmp_path) as store:
            assert "later version of Plugvisor" in store.problem
            assert "later version" in await fails(store.remember("web"))
            assert "later version" in await fails(store.list_intents())
        assert (path.read_bytes(), store.set_aside) == (before, "")

    run(test)


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_file_keeps_nothing_from_starting(tmp_path: Path, seed: int) -> None:
    """Whatever a failing disk has changed: what cannot be read is unavailable, and no other error is raised."""

    async def test() -> None:
        path = tmp_path / FILE_NAME
        load_version(path, len(MIGRATIONS))
        chance = random.Random(seed)
        damaged = bytearray(path.read_bytes())
        for _ in range(chance.choice((1, 10, 200))):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged)
        async with opened(tmp_path) as store:
            for query in (intents.load, identities.load, journal.sum_up, outbox.load):
                with contextlib.suppress(StoreUnavailable):
                    await store.read(query)  # type: ignore[arg-type]
            if "later version" in store.problem:
                return  # it looks like one, and is left alone
            await until(lambda: store.is_available)
            await store.remember("new")
            with contextlib.suppress(StoreUnavailable):  # another value may still make no sense
                assert "new" in await store.list_intents()

    run(test)
