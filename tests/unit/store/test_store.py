"""The store: what is written is there, whatever becomes of the others, the file and the disk."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import shutil
import sqlite3
import stat
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.errors import IdentityExists, StoreUnavailable
from plugvisor.models.stored.intent import Intent
from plugvisor.store import writer
from plugvisor.store.broken import MOST_KEPT, set_aside
from plugvisor.store.database import Database
from plugvisor.store.folder import LOCK_NAME
from plugvisor.store.schema import MIGRATIONS, open_database
from plugvisor.store.store import FILE_NAME, Store
from plugvisor.store.tables import identities, intents, journal, outbox
from plugvisor.store.work_queue import MOST_POSTED, Item, WorkQueue

from tests.helpers.disks import fill, mount_tmpfs, needs_mounts, remount
from tests.helpers.old_schemas import load_version
from tests.helpers.waiting import DEADLINE_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
    from pathlib import Path


class Watched(Store):
    """A store that counts what it calls back."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.changes: list[bool] = []
        self.replaced = 0
        self.on_change.append(lambda: self.changes.append(self.is_available))
        self.on_replaced.append(self.count)

    def count(self) -> None:
        self.replaced += 1

    async def remember(self, plugin_id: str, wanted: Any = "stopped") -> None:
        await self.write(lambda connection: intents.save_intent(connection, plugin_id, Intent(wanted, "ops", 1.0)))

    def remember_soon(self, plugin_id: str) -> None:
        self.post(lambda connection: intents.save_intent(connection, plugin_id, Intent("stopped", "ops", 1.0)))

    async def list_intents(self) -> set[str]:
        return set((await self.read(intents.load)).intents)


@contextlib.asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Watched]:
    store = Watched(folder)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(2 * DEADLINE_SECONDS):
            await test()

    asyncio.run(bounded())


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():  # noqa: ASYNC110 - of files and threads, which set no event
            await asyncio.sleep(0.01)


async def fails(waiting: Awaitable[Any]) -> str:
    with pytest.raises(StoreUnavailable) as caught:
        await waiting
    return str(caught.value)


def read_intents(path: Path) -> set[str]:
    """What another process would find in the file."""
    with closing(sqlite3.connect(path)) as connection:
        return set(intents.load(connection).intents)


def make_store(folder: Path, *names: str) -> Path:
    folder.mkdir(mode=0o700, exist_ok=True)
    with closing(open_database(folder / FILE_NAME)) as connection:
        for name in names:
            intents.save_intent(connection, name, Intent("stopped", "ops", 1.0))
    return folder / FILE_NAME


# -- writing and reading


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


# -- a broken file


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


# -- a file or folder that goes away


def remove_all(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def test_a_deleted_file_is_begun_anew(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as store:
            await store.remember("old")
            remove_all(tmp_path)
            await store.remember("new")
            assert (store.replaced, store.set_aside, store.problem) == (1, "", "")
            assert read_intents(store.path) == {"new"}

    run(test)


def test_it_is_noticed_when_nothing_is_written(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as store:
            store.path.unlink()
            await until(lambda: store.replaced)
            await until(store.path.exists)
            assert store.set_aside == ""

    run(test)


def test_a_file_that_takes_its_place_is_used(tmp_path: Path) -> None:
    async def test() -> None:
        other = make_store(tmp_path / "other", "restored")
        async with opened(tmp_path / "state") as store:
            await store.remember("old")
            other.rename(store.path)
            await store.remember("new")
            assert store.replaced == 1
            assert await store.list_intents() == {"restored", "new"}
            assert store.set_aside == ""
        assert read_intents(store.path) == {"restored", "new"}

    run(test)


@pytest.mark.parametrize("waits", [False, True])
def test_a_file_that_is_overwritten_is_noticed(tmp_path: Path, waits: bool) -> None:
    """As by `cp`: the database has the same name and the same inode, and is another one."""
    path = make_store(tmp_path / "other", *(f"p{number}" for number in range(500)))

    async def test() -> None:
        async with opened(tmp_path / "here") as store:
            await store.remember("web")
            store.path.write_bytes(path.read_bytes())
            if waits:
                await until(lambda: store.replaced)
            await store.remember("worker")
            assert store.replaced == 1
            assert "worker" in await store.list_intents()
            assert "worker" in read_intents(store.path)
        with closing(sqlite3.connect(tmp_path / "here" / FILE_NAME)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    run(test)


def test_a_checkpoint_of_another_process_loses_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as store:
            await store.remember("web")
            with closing(sqlite3.connect(store.path)) as other:
                other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            await store.remember("worker")
            assert await store.list_intents() == {"web", "worker"}
            assert (store.set_aside, store.changes) == ("", [])

    run(test)


def test_its_own_checkpoints_are_no_change_of_the_file(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as store:
            before = store.path.stat().st_mtime_ns
            for _ in range(3):
                await store.write(
                    lambda connection: connection.execute(
                        "INSERT OR REPLACE INTO intent VALUES (?, 'running', 'ops', 1)", ("x" * 8_000_000,)
                    ).close()
                )
                await store.remember("web")
            assert store.path.stat().st_mtime_ns > before
            assert (store.replaced, store.changes) == (0, [])

    run(test)


def test_a_file_that_is_renamed_stays_whole(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as store:
            await store.remember("old")
            store.path.rename(tmp_path / "kept.db")
            await store.remember("new")
            assert read_intents(tmp_path / "kept.db") == {"old"}
            assert read_intents(store.path) == {"new"}

    run(test)


@needs_mounts
def test_what_can_be_read_is_taken_over_once_there_is_space(tmp_path: Path) -> None:
    async def test() -> None:
        with mount_tmpfs(tmp_path / "state", 1024) as folder:
            path = make_store(folder, "old")
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("DROP TABLE journal")
            filler = fill(folder)
            async with opened(folder) as store:
                assert store.problem
                filler.unlink()
                await until(lambda: store.is_available)
                assert await store.list_intents() == {"old"}
                assert store.set_aside

    run(test)


def test_a_folder_that_is_pulled_away_stays_whole(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path / "state") as store:
            await store.remember("old")
            (tmp_path / "state").rename(tmp_path / "elsewhere")
            await store.remember("new")
            assert store.replaced == 1
            assert read_intents(store.path) == {"new"}
        assert read_intents(tmp_path / "elsewhere" / FILE_NAME) == {"old"}

    run(test)


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_without_a_file_beside_it_nothing_is_lost(tmp_path: Path, suffix: str) -> None:
    async def test() -> None:
        async with opened(tmp_path) as store:
            await store.remember("old")
            store.path.with_name(f"{FILE_NAME}{suffix}").unlink()
            await store.remember("new")
            assert store.replaced == 0
            assert read_intents(store.path) == {"old", "new"}

    run(test)


def test_a_folder_that_cannot_be_made_is_used_once_it_can(tmp_path: Path) -> None:
    async def test() -> None:
        (tmp_path / "state").write_text("a file")
        async with opened(tmp_path / "state") as store:
            assert store.problem == "the state folder cannot be used: File exists"
            assert "File exists" in await fails(store.remember("web"))
            store.remember_soon("kept")
            (tmp_path / "state").unlink()
            await until(lambda: store.is_available)
            assert read_intents(store.path) == {"kept"}
            assert store.changes == [False, True]

    run(test)


@pytest.mark.parametrize("case", ["open to all", "open to the group", "somebody else's", "a link"])
def test_an_unsafe_folder_is_refused_until_it_is_safe(tmp_path: Path, case: str) -> None:
    async def test() -> None:
        folder = tmp_path / "state"
        path = make_store(folder, "web")
        if case == "somebody else's":
            os.chown(folder, 1, 1)
        elif case == "a link":
            path.rename(tmp_path / "there")
            path.symlink_to(tmp_path / "there")
        else:
            folder.chmod(0o777 if case == "open to all" else 0o770)
            os.chown(folder, os.geteuid() or 12345, -1)
        async with opened(folder) as store:
            assert store.problem
            await fails(store.remember("no"))
            await fails(store.list_intents())
            if case == "a link":
                path.unlink()
                (tmp_path / "there").rename(path)
            os.chown(folder, os.geteuid(), -1)
            folder.chmod(0o700)
            await until(lambda: store.is_available)
            assert await store.list_intents() == {"web"}

    if case in ("open to the group", "somebody else's") and os.geteuid() != 0:
        pytest.skip("only root gives folders away")
    run(test)


# -- a disk that is full, read-only, locked or does not answer


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
