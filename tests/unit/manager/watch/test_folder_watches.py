"""The thread in which the system notifies of changes."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import watchfiles
from plugvisor.manager.watch.folder_watches import FolderWatches
from plugvisor.manager.watch.sorting import list_readable

from tests.helpers.scenarios import in_loop, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


NOT_UTF8 = b"\xff.tmp"


def has_thread() -> bool:
    return any(thread.name == "watch" for thread in threading.enumerate())


@in_loop
async def test_a_change_is_passed_on(tmp_path: Path) -> None:
    changes: set[Any] = set()
    watches = FolderWatches(changes.update, lambda: None)
    await watches.watch([str(tmp_path)])
    (tmp_path / "a").touch()
    await wait_until(lambda: changes)
    assert {path for _, path in changes} == {str(tmp_path / "a")}
    await watches.close()
    await wait_until(lambda: not has_thread())


@in_loop
async def test_who_waits_for_it_may_be_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failures: list[object] = []
    monkeypatch.setattr(threading, "excepthook", failures.append)
    watches = FolderWatches(lambda _: None, lambda: failures.append("failed"))
    opening = asyncio.create_task(watches.watch([str(tmp_path)]))
    await wait_until(has_thread)
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)
    await wait_until(lambda: not has_thread())
    assert not failures


@in_loop
async def test_a_failure_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> Iterator[set[object]]:
        yield set()
        raise OSError("no more")

    failures: list[str] = []
    monkeypatch.setattr(watchfiles, "watch", fail)
    watches = FolderWatches(lambda _: None, lambda: failures.append("failed"))
    await watches.watch([str(tmp_path)])
    await wait_until(lambda: failures)
    await watches.close()


@pytest.mark.skipif(sys.platform == "darwin", reason="every name is UTF-8 there")
@in_loop
async def test_a_name_that_is_not_utf8_hides_no_other_change(tmp_path: Path) -> None:
    """`watchfiles` ends with it, and forgets what it has seen at the same time."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "old").touch()
    changes: set[Any] = set()
    failures: list[str] = []
    watches = FolderWatches(changes.update, lambda: failures.append("failed"))
    await watches.watch([str(tmp_path / "one"), str(tmp_path / "two")])
    old_time = (tmp_path / "two/old").stat().st_ctime
    await wait_until(lambda: time.time() > old_time + 1)  # what is younger may be reported
    for count in range(5):
        (tmp_path / "one" / os.fsdecode(NOT_UTF8)).touch()
        (tmp_path / f"two/new{count}").touch()
        await wait_until(lambda count=count: str(tmp_path / f"two/new{count}") in {path for _, path in changes})
    (tmp_path / "one/folder").mkdir()
    await wait_until(lambda: (watchfiles.Change.added, str(tmp_path / "one/folder")) in changes)
    await watches.close()
    await wait_until(lambda: not has_thread())
    assert str(tmp_path / "two/old") not in {path for _, path in changes}
    assert all(path.isascii() for _, path in changes)
    assert not failures


@pytest.mark.skipif(sys.platform == "darwin", reason="every name is UTF-8 there")
@in_loop
async def test_a_folder_whose_name_is_not_utf8_keeps_no_other_from_being_watched(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    other = tmp_path / os.fsdecode(NOT_UTF8)
    other.mkdir()
    folders = list_readable([str(tmp_path / "one"), str(other)])
    assert folders == [str(tmp_path / "one")]
    changes: set[Any] = set()
    watches = FolderWatches(changes.update, lambda: None)
    await watches.watch(folders)
    (tmp_path / "one/a").touch()
    await wait_until(lambda: changes)
    await watches.close()
