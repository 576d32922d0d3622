"""The file of the admin code: a change is taken over while the service runs, and nothing unusable is."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, ClassVar, cast

import pytest
from plugvisor.manager.identities import code_file
from plugvisor.manager.identities.code_file import CodeFile

from tests.helpers.stores import make_identities
from tests.helpers.waiting import DEADLINE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from plugvisor.manager.identities.identities import Identities
    from plugvisor.manager.journal.recorder import Recorder
    from plugvisor.models.stored.journal import NewEntry


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    Noted.entries.clear()
    monkeypatch.setattr(code_file, "POLL_SECONDS", 0.01)


async def wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():  # noqa: ASYNC110 - what is watched is a file
            await asyncio.sleep(0.005)


class Noted:
    """What is noted in the journal."""

    entries: ClassVar[list[NewEntry]] = []

    def note(self, entry: NewEntry) -> None:
        self.entries.append(entry)


def watch(path: Path | None, scenario: Callable[[Identities], Awaitable[None]]) -> None:
    async def live() -> None:
        identities = make_identities("the-first-code-of-all")
        watcher = CodeFile(path, identities, cast("Recorder", Noted()))
        watcher.open()
        await wait_until(lambda: path is None or watcher._taken is not None)  # it was read once
        await scenario(identities)
        await watcher.close()

    asyncio.run(live())


def test_a_change_is_taken_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    path = tmp_path / "code"
    path.write_text("the-first-code-of-all\n")

    async def scenario(identities: Identities) -> None:
        before = identities.admin
        path.write_text("another-code-of-a-test\n")
        await wait_until(lambda: identities.find(b"another-code-of-a-test") is not None)
        assert identities.find(b"the-first-code-of-all") is None
        assert not identities.is_valid(before)
        (tmp_path / "new").write_text("WEAK")
        (tmp_path / "new").replace(path)
        await wait_until(lambda: identities.find(b"WEAK") is not None)
        assert identities.has_weak_code

    watch(path, scenario)
    assert [(entry.kind, entry.facts.subject) for entry in Noted.entries] == [("identity", "admin")] * 2
    assert "another-code" not in caplog.text + repr(Noted.entries)
    assert "its file has changed" in caplog.text
    assert "the admin code is short" in caplog.text


def test_what_was_changed_before_is_taken_over_too(tmp_path: Path) -> None:
    path = tmp_path / "code"
    path.write_text("changed-since-it-was-read")

    async def scenario(identities: Identities) -> None:
        await wait_until(lambda: identities.find(b"changed-since-it-was-read") is not None)

    watch(path, scenario)


@pytest.mark.parametrize("content", [b"", b"two words", b"abc", b"\xff\xfe\xff\xfe", None])
def test_an_unusable_file_changes_nothing_and_is_named_once(
    tmp_path: Path, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "code"
    path.write_text("the-first-code-of-all")

    async def scenario(identities: Identities) -> None:
        if content is None:
            path.unlink()
        else:
            (tmp_path / "new").write_bytes(content)
            (tmp_path / "new").replace(path)  # else it may be seen empty first, and named for that too
        await wait_until(lambda: "the admin code stays what it was" in caplog.text)
        for _ in range(5):  # looks at it
            await asyncio.sleep(code_file.POLL_SECONDS)
        assert identities.find(b"the-first-code-of-all") is not None
        path.write_text("a-good-code-of-a-test")
        await wait_until(lambda: identities.find(b"a-good-code-of-a-test") is not None)

    watch(path, scenario)
    assert caplog.text.count("stays what it was") == 1
    assert "two words" not in caplog.text


@pytest.mark.parametrize(
    "replace",
    [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: path.write_text("x" * 100_000)],
    ids=["a pipe", "a device without end", "a large file"],
)
def test_what_is_in_the_place_of_the_file_holds_nothing_up(
    tmp_path: Path, replace: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "code"
    path.write_text("the-first-code-of-all")

    async def scenario(identities: Identities) -> None:
        path.unlink()
        replace(path)
        await wait_until(lambda: "no regular file" in caplog.text)
        assert identities.find(b"the-first-code-of-all") is not None
        path.unlink()
        path.write_text("the-code-after-that")
        await wait_until(lambda: identities.find(b"the-code-after-that") is not None)

    watch(path, scenario)


def test_without_a_file_there_is_nothing_to_watch() -> None:
    async def scenario(identities: Identities) -> None:
        assert identities.find(b"the-first-code-of-all") is not None

    watch(None, scenario)
