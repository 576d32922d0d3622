"""The client of a worker, and a worker that is a process: how it ends, and what it leaves."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from plugvisor.errors import (
    BuildFailed,
    InstallationOff,
    InvalidPackage,
    NotInstalled,
    NotWritable,
    OperationInterrupted,
    PreconditionFailed,
    StorageFull,
)
from plugvisor.manager.installation import worker
from plugvisor.manager.installation.worker import Worker
from plugvisor.models.installation.record import Record

from tests.helpers.disks import fill, mount_tmpfs, needs_mounts
from tests.helpers.packages import make_package, make_plugin_package
from tests.helpers.processes import find_processes
from tests.helpers.scenarios import let_tasks_run, run_scenario, wait_until
from tests.helpers.waiting import DEADLINE_SECONDS
from tests.helpers.wheels import write_source
from tests.helpers.workers import WorkerEngine, describe, install, open_package, open_worker, place, update

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "installed"


# -- what it does


def test_a_plugin_comes_and_goes(root: Path) -> None:
    async def scenario() -> None:
        async with open_worker(root) as worker:
            first = await install(worker, "1.0.0")
            (root / "echo" / "data" / "kept").touch()
            second = await update(worker, first, "2.0.0")
            assert os.readlink(root / "echo" / "current") == f"versions/{second.current}"
            await worker.write_record(replace(second, pending=None))
            await worker.prune("echo", [second.current or ""])
            assert os.listdir(root / "echo" / "versions") == [second.current]
            await worker.remove("echo", Record(id="echo"), purge=False)
            assert sorted(os.listdir(root / "echo")) == ["data", "installed.json"]
            await install(worker, "1.0.0")
            assert (root / "echo" / "data" / "kept").exists()
            await worker.remove("echo", Record(id="echo"), purge=True)
            await worker.remove("echo", Record(id="echo"), purge=True)  # it is gone already
        assert os.listdir(root) == [".staging"]
        assert not os.listdir(root / ".staging")

    run_scenario(scenario())


def test_what_is_refused(root: Path) -> None:
    async def scenario() -> None:
        async with open_worker(root) as worker:
            with open_package(b"no package") as descriptor, pytest.raises(InvalidPackage, match="neither"):
                await worker.unpack(descriptor)
            package = make_package({"plugin.toml": "", "a\nb": ""})
            with open_package(package) as descriptor, pytest.raises(InvalidPackage) as raised:
                await worker.unpack(descriptor)
            assert raised.value.entry is not None
            assert "\n" not in raised.value.entry
            (root / "mine").mkdir()
            (root / "mine" / "plugin.toml").touch()
            with pytest.raises(NotInstalled, match="put there by hand"):
                await place(worker, "1.0.0", "mine")
            with pytest.raises(NotInstalled, match="it is not installed"):
                await worker.prune("nobody", [])
            await install(worker, "1.0.0")  # it goes on
        assert sorted(os.listdir(root)) == [".staging", "echo", "mine"]
        assert not os.listdir(root / ".staging")

    run_scenario(scenario())


def test_a_build_that_fails_leaves_nothing(root: Path) -> None:
    async def scenario() -> None:
        lines: list[str] = []
        data = make_plugin_package("echo", files={"requirements.txt": "-r missing.txt\n"})
        name, _ = describe("1.0.0", data)
        async with open_worker(root) as worker:
            with open_package(data) as descriptor:
                unpacked = await worker.unpack(descriptor)
            await worker.place(unpacked.staged, "echo", name)
            with pytest.raises(BuildFailed) as raised:
                await worker.build("echo", name, "", DEADLINE_SECONDS, lines.append)
            assert any("missing.txt" in line for line in raised.value.log)
        assert "echo" not in os.listdir(root)

    run_scenario(scenario())


def test_manifests(root: Path) -> None:
    async def scenario() -> None:
        folder = root / "mine"
        folder.mkdir(parents=True)
        text = bytes(range(256)) * 1024
        (folder / "plugin.toml").write_bytes(text)
        async with open_worker(root / "none" / "at" / "all") as worker:
            sha256 = hashlib.sha256(text).hexdigest()
            await worker.write_manifest(str(folder), text[::-1], sha256)
            with pytest.raises(PreconditionFailed):
                await worker.write_manifest(str(folder), text, sha256)
            (folder / "plugin.toml").unlink()
            (folder / "plugin.toml").symlink_to("/dev/null")
            with pytest.raises(NotWritable):
                await worker.write_manifest(str(folder), text, sha256)
        assert not (root / "none").exists()  # nobody has needed it

    run_scenario(scenario())


def test_an_install_folder_that_cannot_be_used(root: Path) -> None:
    root.touch()

    async def scenario() -> None:
        async with open_worker(root) as worker:
            for _ in range(2):
                with pytest.raises(InstallationOff, match="the install folder cannot be used"):
                    await worker.tidy()

    run_scenario(scenario())


# -- how it ends


def stop_at(root: Path, what: str) -> bool:
    """Whether a worker has come so far that it unpacks or builds."""
    if what == "unpack":
        return any(path.stat().st_size for path in root.glob(".staging/*/*/large-1*"))
    return any(root.glob("echo/versions/*/built/begun"))


def make_slow_package(folder: Path, what: str) -> bytes:
    """A package that takes long to unpack, or to build."""
    if what == "unpack":
        return make_plugin_package("echo", files={f"large-{number}": bytes(1_000_000) for number in range(100)})
    source = folder / "source"
    write_source(source, "open('begun', 'w').close(); subprocess.run(['sleep', '1000'])")
    files = {f"built/{path.name}": path.read_text() for path in source.iterdir()}
    return make_plugin_package("echo", files={"requirements.txt": "./built\n", **files})


async def begin(worker: Worker, data: bytes) -> None:
    """Install a package, up to its environment."""
    name, _ = describe("1.0.0", data)
    with open_package(data) as descriptor:
        unpacked = await worker.unpack(descriptor)
    await worker.place(unpacked.staged, "echo", name)
    await worker.build("echo", name, "", DEADLINE_SECONDS, lambda _: None)


@pytest.mark.parametrize("what", ["unpack", "build"])
@pytest.mark.parametrize("how", ["cancelled", "closed", "SIGTERM", "SIGKILL"])
def test_it_can_be_ended_at_any_time(tmp_path: Path, root: Path, what: str, how: str) -> None:
    """Nothing that it has started or made is left; only SIGKILL leaves what the next start removes."""
    data = make_slow_package(tmp_path, what)

    async def scenario() -> None:
        engine = WorkerEngine()
        worker = Worker(engine, root, DEADLINE_SECONDS)  # type: ignore[arg-type]
        await worker.__aenter__()
        process = engine.processes[-1]
        task = asyncio.create_task(begin(worker, data))
        await wait_until(lambda: stop_at(root, what), "it to have begun")
        if how == "cancelled":
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        elif how == "closed":
            worker._writer.transport.abort()
        else:
            process.send_signal(signal.Signals[how])
        if how != "cancelled":
            with pytest.raises(OperationInterrupted, match="has ended"):
                await task
        await worker.__aexit__(None, None, None)
        status = await engine.wait_ended()
        if how == "SIGKILL":
            assert status == -signal.SIGKILL
            for pid in find_processes(root):  # supervisord ends what it has left
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            async with open_worker(root) as other:
                assert await other.tidy() == []
        else:
            assert status == 0
            await wait_until(lambda: not find_processes(root), "the build to end")
        assert not os.listdir(root / ".staging")
        assert "echo" not in os.listdir(root)

    run_scenario(scenario())


def test_it_ends_when_what_has_started_it_does() -> None:
    """supervisord may be killed; the service that is connected lives on."""
    listener = socket.socket(socket.AF_UNIX)
    folder = tempfile.mkdtemp()  # a Unix socket's path must be short
    path = f"{folder}/sock"
    listener.bind(path)
    listener.listen(1)
    code = (
        "import subprocess, sys, time\n"
        "subprocess.Popen([sys.executable, '-P', '-m', 'plugvisor.installer'], stdin=0)\n"
        "sys.stdin.close(); time.sleep(1000)\n"
    )

    async def scenario() -> None:
        parent = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdin=listener)
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b'{"do":"open","install_dir":"/"}\n')
        assert json.loads(await reader.readline()) == {"ok": {}}
        parent.kill()
        await parent.wait()
        assert await reader.read() == b""
        writer.close()

    with listener:
        run_scenario(scenario())
    shutil.rmtree(folder)


def test_it_ends_if_its_client_has_gone_at_once() -> None:
    async def scenario() -> None:
        engine = WorkerEngine()
        connection = await engine.open_worker(1.0)
        connection.close()
        assert await engine.wait_ended() == 0

    run_scenario(scenario())


# -- full disks


@needs_mounts
@pytest.mark.parametrize("phase", ["unpack", "place", "swap"])
def test_a_full_disk(root: Path, phase: str) -> None:
    root.mkdir()

    async def scenario() -> None:
        with mount_tmpfs(root, 2_000) as disk:
            async with open_worker(disk) as worker:
                first = await install(worker, "1.0.0")
            before = (disk / "echo" / "installed.json").read_text()
            async with open_worker(disk) as worker:
                if phase == "unpack":
                    with pytest.raises(StorageFull, match="no space"):
                        await place(worker, "2.0.0", files={"large": os.urandom(3_000_000)})
                elif phase == "place":
                    fill(disk)
                    with pytest.raises(StorageFull, match="no space"):
                        await place(worker, "2.0.0")
                else:
                    await place(worker, "2.0.0")
                    fill(disk)
                    name = next(path for path in os.listdir(disk / "echo" / "versions") if path != first.current)
                    record = replace(first, current=name, versions={**first.versions, name: _find_entry(first)})
                    with pytest.raises(StorageFull, match="no space"):
                        await worker.swap("echo", name, record)
            assert (disk / "echo" / "installed.json").read_text() == before
            assert os.readlink(disk / "echo" / "current") == f"versions/{first.current}"
            assert os.listdir(disk / "echo" / "versions") == [first.current]
            assert not os.listdir(disk / ".staging")
            async with open_worker(disk) as worker:
                await worker.remove("echo", Record(id="echo"), purge=True)  # what is full can be emptied
            assert not (disk / "echo").exists()

    run_scenario(scenario())


def _find_entry(record: Record) -> object:
    return next(iter(record.versions.values()))


class FreezingEngine(WorkerEngine):
    """Its workers are stopped before they can answer."""

    has_stopped = False

    async def open_worker(self, timeout_seconds: float) -> socket.socket:
        connection = await super().open_worker(timeout_seconds)
        os.kill(self.processes[-1].pid, signal.SIGSTOP)
        self.has_stopped = True
        return connection


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_one_that_never_answers_is_killed(root: Path, monkeypatch: pytest.MonkeyPatch, is_cancelled: bool) -> None:
    monkeypatch.setattr(worker, "CONNECTION_SECONDS", 0.2)
    monkeypatch.setattr(worker, "START_SECONDS", 600.0 if is_cancelled else 0.2)

    async def scenario() -> None:
        engine = FreezingEngine()

        async def enter() -> None:
            async with Worker(engine, root, DEADLINE_SECONDS):  # type: ignore[arg-type]
                pass

        task = asyncio.create_task(enter())
        if is_cancelled:
            await wait_until(lambda: engine.has_stopped)
            task.cancel()
        with pytest.raises(asyncio.CancelledError if is_cancelled else OperationInterrupted):
            await task
        assert await engine.wait_ended() == -signal.SIGKILL

    run_scenario(scenario())


# -- a worker that lies


class LyingEngine:
    """The other side of a connection is a function."""

    def __init__(self, lie: Callable[[socket.socket], None]) -> None:
        self._lie = lie

    async def open_worker(self, _timeout_seconds: float) -> socket.socket:
        here, there = socket.socketpair()
        here.setblocking(False)
        threading.Thread(target=self._tell, args=(there,), daemon=True).start()
        return here

    def _tell(self, there: socket.socket) -> None:
        with there, contextlib.suppress(OSError):
            there.recv(65536)
            there.sendall(b'{"ok": {}}\n')
            there.recv(65536)
            self._lie(there)
            while there.recv(65536):
                pass


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n",
        b"{}",
        b"[]\n",
        b"\xff\n",
        b'{"ok": []}\n',
        b'{"ok": {"staged": 1}}\n',
        b'{"ok": {"staged": "a", "manifest": "?", "entries": 1, "size_bytes": 1}}\n',
        b'{"error": {"code": 1}}\n',
        b'{"error": {"code": "unknown", "message": "' + b"x" * 100_000 + b'"}}\n',
        b'{"error": {"code": "failed", "message": "a", "log": ["secret\\u001b[2J"]}}\n',
        b'{"ok": {"unknown": ' + b"[" * 5_000 + b"]" * 5_000 + b"}}\n",
        b"x" * 3_000_000,
        b'{"line": "a"}\n' * 100_000,
        b'{"line": "' + b"x" * 2_000_000 + b'"}\n',
    ],
)
def test_nonsense_is_a_worker_that_is_gone(root: Path, caplog: pytest.LogCaptureFixture, text: bytes) -> None:
    def lie(there: socket.socket) -> None:
        there.sendall(text)
        there.shutdown(socket.SHUT_WR)

    async def scenario() -> None:
        with open_package(b"") as descriptor:
            async with Worker(LyingEngine(lie), root, 1.0) as worker:  # type: ignore[arg-type]
                with pytest.raises(OperationInterrupted) as raised:
                    await worker.unpack(descriptor)
                assert len(str(raised.value)) < 3_000

    caplog.set_level(logging.CRITICAL, "asyncio")
    run_scenario(scenario())
    assert "\x1b" not in caplog.text


def test_a_flood_of_lines_holds_nobody_up(root: Path) -> None:
    def lie(there: socket.socket) -> None:
        while True:
            there.sendall(b'{"line": ""}\n' * 10_000)

    async def scenario() -> None:
        lines = [0]

        def on_line(_line: str) -> None:
            lines[0] += 1

        async with Worker(LyingEngine(lie), root, 1.0) as worker:  # type: ignore[arg-type]
            task = asyncio.create_task(worker.build("echo", "1", "", 1.0, on_line))
            longest = 0
            while lines[0] < 50_000:
                before = lines[0]
                await asyncio.sleep(0)
                longest = max(longest, lines[0] - before)
            assert longest <= 100
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            worker._writer.transport.abort()

    run_scenario(scenario())


def test_it_is_ended_while_another_task_waits_for_its_answer(root: Path) -> None:
    """As at the end of the service: what goes on in a plugin's turn is not cancelled with its operation."""

    async def scenario() -> None:
        async with Worker(LyingEngine(lambda _: None), root, 1.0) as worker:  # type: ignore[arg-type]
            going_on = asyncio.create_task(worker.prune("echo", []))
            await let_tasks_run()
        with pytest.raises(OperationInterrupted):
            await going_on

    run_scenario(scenario())
