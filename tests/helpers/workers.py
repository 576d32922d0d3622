"""Workers of an install folder without supervisord, and what an installation does with them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plugvisor.layout import name_version
from plugvisor.manager.installation.worker import Worker
from plugvisor.models.installation.record import Pending, Record, VersionRecord

from tests.helpers.fake_engine import FakeEngine
from tests.helpers.packages import make_plugin_package
from tests.helpers.waiting import DEADLINE_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class WorkerEngine:
    """Starts workers as this user, as an engine does; each is `processes[-1]` then."""

    def __init__(self, **environ: str) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []
        self._environ = environ

    async def open_worker(self, _timeout_seconds: float) -> socket.socket:
        """See `Engine.open_worker`; the time is not limited."""
        return await asyncio.to_thread(self._start)

    async def end_workers(self, _connection: socket.socket | None = None) -> None:
        """See `Engine.end_workers`; all of them end."""
        for process in self.processes:
            process.kill()

    def _start(self) -> socket.socket:
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
            path = str(Path(folder) / "sock")
            listener.bind(path)
            listener.listen(1)
            command = [sys.executable, "-P", "-m", "plugvisor.installer"]
            environ = os.environ | self._environ
            self.processes.append(subprocess.Popen(command, stdin=listener, process_group=0, env=environ))
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(path)
        connection.setblocking(False)
        return connection

    async def wait_ended(self) -> int:
        """Wait until the last worker has ended; returns its exit status."""
        return await asyncio.to_thread(self.processes[-1].wait, DEADLINE_SECONDS)

    async def wait_all_ended(self) -> None:
        """Wait until every worker has ended."""
        for process in self.processes:
            await asyncio.to_thread(process.wait, DEADLINE_SECONDS)


class WorkingEngine(FakeEngine):
    """An engine in memory that has real workers."""

    def __init__(self) -> None:
        super().__init__(announces=True)
        self.workers = WorkerEngine()

    async def open_worker(self, timeout_seconds: float) -> socket.socket:
        """A worker's connection."""
        return await self.workers.open_worker(timeout_seconds)

    async def close(self) -> None:
        """Wait until every worker has ended."""
        await self.workers.wait_all_ended()


@contextlib.asynccontextmanager
async def open_worker(install_dir: Path, engine: WorkerEngine | None = None) -> AsyncIterator[Worker]:
    """A worker of a folder, which has ended when this has."""
    engine = engine or WorkerEngine()
    async with Worker(engine, install_dir, DEADLINE_SECONDS) as worker:  # type: ignore[arg-type]
        yield worker
    assert await engine.wait_ended() == 0


@contextlib.contextmanager
def open_package(data: bytes) -> Any:
    """The descriptor of a package."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        yield file.fileno()


def describe(version: str, data: bytes) -> tuple[str, VersionRecord]:
    """The name of a version's folder, and what a record says of it."""
    sha256 = hashlib.sha256(data).hexdigest()
    record = VersionRecord(
        version=version, sha256=sha256, source="echo.zip", installed_at=1.0, installed_by="tests", python=""
    )
    return name_version(version, sha256), record


async def place(worker: Worker, version: str, plugin_id: str = "echo", **package: Any) -> tuple[str, VersionRecord]:
    """Unpack, place and build a version of a plugin."""
    data = make_plugin_package(plugin_id, version=version, **package)
    name, record = describe(version, data)
    with open_package(data) as descriptor:
        unpacked = await worker.unpack(descriptor)
    await worker.place(unpacked.staged, plugin_id, name)
    await worker.build(plugin_id, name, "", DEADLINE_SECONDS, lambda _: None)
    return name, record


async def install(worker: Worker, version: str, plugin_id: str = "echo", **package: Any) -> Record:
    """Install the first version of a plugin."""
    name, version_record = await place(worker, version, plugin_id, **package)
    record = Record(id=plugin_id, current=name, versions={name: version_record})
    await worker.swap(plugin_id, name, record)
    return record


async def update(worker: Worker, before: Record, version: str, **package: Any) -> Record:
    """Make another version current, without confirming it."""
    name, version_record = await place(worker, version, before.id, **package)
    record = Record(
        id=before.id,
        current=name,
        previous=before.current,
        versions={**before.versions, name: version_record},
        pending=Pending(version=name, previous=before.current),
    )
    await worker.swap(before.id, name, record)
    return record
