"""A store whose file or folder goes away, is replaced, or is not safe."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from plugvisor.store.store import FILE_NAME

from tests.helpers.disks import fill, mount_tmpfs, needs_mounts
from tests.helpers.waiting import DEADLINE_SECONDS
from tests.helpers.watched_store import fails, make_store, opened, read_intents, run, until

if TYPE_CHECKING:
    from pathlib import Path


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


def test_its_own_checkpoints_are_no_change_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugvisor.store.store.WRITE_SECONDS", DEADLINE_SECONDS)  # it writes much, on a busy disk

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
