"""The thread in which the system notifies of changes."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import watchfiles
from plugvisor.manager.watch.folder_watches import FolderWatches

from tests.helpers.scenarios import in_loop, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest


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
