"""Replacing manifests: what fails leaves the file and what is kept of it as they were."""

from __future__ import annotations

import asyncio
import datetime as dt
import errno
import os
import stat
import tomllib
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.errors import NotWritable, OperationInterrupted, StorageFull, StoreUnavailable, TooManyOperations
from plugvisor.manager.installation import configurations, earlier_manifests
from plugvisor.manager.installation.configurations import Configurations
from plugvisor.manager.installation.earlier_manifests import MOST_KEPT, EarlierManifests
from plugvisor.manager.installation.manifest_file import is_writable, make_etag, make_json, matches, read_file
from plugvisor.manager.manager import Manager
from plugvisor.models.manifest import ManifestError
from plugvisor.models.process import ProcessState
from plugvisor.settings import Settings
from plugvisor.users import User, Users

from tests.helpers.disks import fill, mount_tmpfs, needs_mounts
from tests.helpers.fake_engine import FakeEngine
from tests.helpers.scenarios import run_scenario
from tests.helpers.stores import make_intents

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from plugvisor.models.stored.journal import NewEntry

MANIFEST = b'[plugin]\nid = "echo"\ncommand = ["true"]\n'
NEW = MANIFEST + b"# new\n"


class FakeWorker:
    """Writes manifests, unless it is to fail before or after that."""

    def __init__(self, error: Exception | None, *, fails_afterwards: bool) -> None:
        self._error = error
        self._fails_afterwards = fails_afterwards

    async def write_manifest(self, directory: str, text: bytes, _expected_sha256: str) -> None:
        """Write one."""
        if self._error is not None and not self._fails_afterwards:
            raise self._error
        await asyncio.to_thread(Path(directory, "plugin.toml").write_bytes, text)
        if self._error is not None:
            raise self._error


class FakeInstallations:
    """Has workers, and turns."""

    def __init__(self) -> None:
        self.on_purged: list[Callable[[str], object]] = []
        self.error: Exception | None = None
        self.fails_afterwards = False
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def turn(self, _plugin_id: str) -> AsyncIterator[None]:
        """One after the other."""
        async with self._lock:
            yield

    @asynccontextmanager
    async def open_worker(self) -> AsyncIterator[FakeWorker]:
        """A worker."""
        yield FakeWorker(self.error, fails_afterwards=self.fails_afterwards)


class Setup:
    """Configurations of one plugin, `echo`."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "plugins" / "echo"
        self.state_dir = root / "state"
        for folder in (self.folder, self.state_dir):
            folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "plugin.toml").write_bytes(MANIFEST)
        self.engine = FakeEngine()
        self.installations = FakeInstallations()
        self.manager = Manager(root / "plugins", self.engine, make_intents())
        self.entries: list[NewEntry] = []
        settings = Settings.from_env({"PLUGVISOR_STATE_DIR": str(self.state_dir), "PLUGVISOR_RUN_DIR": "/run/x"})
        parts: Any = self.manager, self.engine, self.installations, self, settings
        self.configurations = Configurations(*parts)
        self.earlier = EarlierManifests(self.state_dir)

    def note(self, entry: NewEntry) -> None:
        """The journal."""
        self.entries.append(entry)

    @property
    def text(self) -> bytes:
        return (self.folder / "plugin.toml").read_bytes()

    @property
    def kept(self) -> list[bytes]:
        return [each.text for each in self.earlier.read_all("echo")]

    async def write(self, text: bytes = NEW) -> Any:
        return await self.configurations.write("echo", text, None, "ops")


def run(root: Path, scenario: Callable[[Setup], Coroutine[None, None, None]]) -> None:
    async def main() -> None:
        setup = Setup(root)
        await setup.manager.load()
        try:
            await scenario(setup)
        finally:
            await setup.manager.close()

    run_scenario(main())


# -- failures


@pytest.mark.parametrize("error", [NotWritable("no"), StorageFull("no"), OperationInterrupted("no")])
def test_a_worker_that_fails_leaves_everything_as_it_was(tmp_path: Path, error: Exception) -> None:
    async def scenario(setup: Setup) -> None:
        setup.installations.error = error
        with pytest.raises(type(error)):
            await setup.write()
        assert (setup.text, setup.kept, setup.entries) == (MANIFEST, [], [])

    run(tmp_path, scenario)


def test_a_worker_whose_answer_is_lost_has_written_it_all_the_same(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        setup.installations.error, setup.installations.fails_afterwards = OperationInterrupted("gone"), True
        written = await setup.write()
        assert (written.changed, setup.text, setup.kept) == (True, NEW, [MANIFEST])
        assert [entry.facts.verb for entry in setup.entries] == ["configure"]

    run(tmp_path, scenario)


def test_what_cannot_be_kept_is_not_replaced(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        (setup.state_dir / "manifests").write_text("in its place")
        with pytest.raises(StoreUnavailable, match="cannot be kept"):
            await setup.write()
        assert setup.text == MANIFEST

    run(tmp_path, scenario)


@needs_mounts
def test_a_full_disk_of_the_state_folder(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.write()
        filler = fill(setup.state_dir)
        with pytest.raises(StorageFull):
            await setup.write(MANIFEST)
        assert (setup.text, setup.kept) == (NEW, [MANIFEST])
        assert len(list((setup.state_dir / "manifests" / "echo").iterdir())) == 1
        filler.unlink()
        await setup.write(MANIFEST)
        assert setup.kept == [NEW, MANIFEST]

    with mount_tmpfs(tmp_path / "state", 128):
        run(tmp_path, scenario)


def test_a_client_that_disconnects_cancels_nothing(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        task = asyncio.create_task(setup.write())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with setup.installations.turn("echo"):  # it comes after it
            pass
        assert setup.text == NEW

    run(tmp_path, scenario)


def test_a_manifest_does_not_wait_for_a_long_operation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configurations, "TURN_SECONDS", 0.05)

    async def scenario(setup: Setup) -> None:
        async with setup.installations.turn("echo"):
            with pytest.raises(TooManyOperations, match="'echo' is being installed, updated or removed"):
                await setup.write()
        assert (setup.text, setup.kept) == (MANIFEST, [])
        await setup.write()
        assert setup.text == NEW

    run(tmp_path, scenario)


# -- what runs


def test_a_reload_is_needed_while_a_process_would_go_on_with_another_manifest(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        setup.engine.publish(setup.manager.catalog["echo"].program)
        # the text is another one, and the program is not
        assert not (await setup.write()).reload_needed
        changed = MANIFEST.replace(b'"true"', b'"false"')
        assert not (await setup.write(changed)).reload_needed, "it does not run"
        for state, fields in (
            (ProcessState.RUNNING, {}),
            (ProcessState.BACKOFF, {}),
            (ProcessState.EXITED, {"retry_at": 1.0}),
        ):
            setup.engine.set("echo", state, retry_at=None)
            setup.engine.set("echo", state, **fields)
            assert (await setup.write(changed)).reload_needed
            assert (await setup.configurations.describe("echo")).reload_needed
        setup.engine.set("echo", ProcessState.EXITED, retry_at=None)
        assert not (await setup.write(changed)).reload_needed

    run(tmp_path, scenario)


def test_a_manifest_can_be_read_while_the_engine_is_away(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        setup.engine.is_live = False
        assert (await setup.configurations.describe("echo")).etag == make_etag(MANIFEST)

    run(tmp_path, scenario)


def test_plugins_that_could_not_be_started_any_more_are_a_warning(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        other = tmp_path / "plugins" / "other"
        other.mkdir()
        (other / "plugin.toml").write_text(
            '[plugin]\nid = "other"\ncommand = ["true"]\n[[plugin.dependency]]\nid = "echo"\nsupported = "<2"\n'
        )
        await setup.manager.refresh()
        written = await setup.write(MANIFEST + b'version = "2"\n')
        assert ["'other'" in warning for warning in written.warnings] == [True]
        assert setup.manager.catalog["other"].problem

    run(tmp_path, scenario)


# -- earlier ones


def test_the_newest_are_kept(tmp_path: Path) -> None:
    earlier = EarlierManifests(tmp_path)
    texts = [b"%d\n\xff" % number for number in range(MOST_KEPT + 3)]
    names = [earlier.keep("echo", text, "ops") for text in texts]
    earlier.prune("echo")
    assert [each.text for each in earlier.read_all("echo")] == texts[: -MOST_KEPT - 1 : -1]
    assert {each.replaced_by for each in earlier.read_all("echo")} == {"ops"}
    assert earlier.keep("echo", texts[-1], "ops") is None, "it is the last one already"
    assert names[-1] is not None
    earlier.drop("echo", names[-1])
    assert earlier.read_all("echo")[0].text == texts[-2]
    files = list((tmp_path / "manifests" / "echo").iterdir())
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "manifests").stat().st_mode) == 0o700
    earlier.forget("echo")
    assert earlier.read_all("echo") == []
    earlier.forget("echo")


def test_what_a_crash_has_left_is_no_text(tmp_path: Path) -> None:
    earlier = EarlierManifests(tmp_path)
    earlier.keep("echo", b"a", "ops")
    folder = tmp_path / "manifests" / "echo"
    (folder / ".00000002").write_bytes(b"half")
    (folder / "00000009").write_bytes(b'{"at": "x"}\n')
    (folder / "notes.txt").touch()
    assert [each.text for each in earlier.read_all("echo")] == [b"a"]
    assert earlier.keep("echo", b"b", "ops") == "00000010"
    assert [each.text for each in earlier.read_all("echo")] == [b"b", b"a"]


def test_a_text_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    earlier = EarlierManifests(tmp_path)
    earlier.keep("echo", b"a", "ops")

    def fail(*_: object) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(earlier_manifests.os, "fsync", fail)
    with pytest.raises(StorageFull):
        earlier.keep("echo", b"b", "ops")
    assert os.listdir(tmp_path / "manifests" / "echo") == ["00000001"]


# -- the file


@pytest.mark.parametrize(
    ("if_match", "expected"),
    [
        ('"a"', True),
        ("*", True),
        (" * ", True),
        ('"b", "a"', True),
        ('"b","a"', True),
        ('W/"a"', False),
        ('"b", W/"a"', False),
        ('"A"', False),
        ("a", False),
        ("", False),
        ('"a', False),
        ('"b*", "*"', False),
    ],
)
def test_preconditions(if_match: str, expected: bool) -> None:
    assert matches(if_match, '"a"') is expected


def test_values_that_json_does_not_have() -> None:
    document = tomllib.loads(
        "a = 1979-05-27T07:32:00Z\nb = 07:32:00\nc = [-inf, +nan, 1e400]\n"
        "d = 9223372036854775807\ne = -9223372036854775809"
    )
    assert make_json(document) == {
        "a": "1979-05-27T07:32:00+00:00",
        "b": "07:32:00",
        "c": ["-inf", "nan", "inf"],
        "d": 9223372036854775807,
        "e": "-9223372036854775809",
    }
    assert make_json({"x": -(16**9000 - 1)}) == {"x": f"-0x{'f' * 9000}"}, "more decimal digits than Python writes"
    assert make_json({"x": dt.date(2026, 1, 1)}) == {"x": "2026-01-01"}


def test_what_is_writable(tmp_path: Path) -> None:
    (tmp_path / "plugin.toml").touch()
    assert is_writable(tmp_path, None, is_version=False)
    assert not is_writable(tmp_path / "gone", None, is_version=False)
    other = User("nobody", 65534, 65534, "/")
    users = Users(other, other)
    tmp_path.chmod(0o755)
    assert not is_writable(tmp_path, users, is_version=True), "another user's"
    tmp_path.chmod(0o777)
    assert is_writable(tmp_path, users, is_version=False)
    (tmp_path / "plugin.toml").unlink()
    (tmp_path / "plugin.toml").symlink_to("x")
    assert not is_writable(tmp_path, None, is_version=False)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_no_manifest(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "plugin.toml")
    with pytest.raises(ManifestError, match="it is no regular file"):
        read_file(tmp_path, None)


def test_a_file_that_the_plugins_user_cannot_read_is_no_manifest(tmp_path: Path) -> None:
    path = tmp_path / "plugin.toml"
    path.write_bytes(MANIFEST)
    path.chmod(0o600)
    other = User("nobody", 65534, 65534, "/")
    assert read_file(tmp_path, None) == MANIFEST
    with pytest.raises(ManifestError, match="cannot be read by the user of the plugins"):
        read_file(tmp_path, Users(other, other))
    path.chmod(0o644)
    assert read_file(tmp_path, Users(other, other)) == MANIFEST
