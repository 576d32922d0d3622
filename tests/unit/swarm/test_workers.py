"""Workers of the install folder that the service starts itself."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from plugvisor.engines.supervisord.extension.commands import workers as extension_workers
from plugvisor.engines.swarm import workers
from plugvisor.engines.swarm.workers import LocalWorkers
from plugvisor.errors import OperationInterrupted
from plugvisor.manager.installation.worker import Worker
from plugvisor.settings import Settings

from tests.helpers.scenarios import in_loop, wait_until
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

FORKER = """
import os, sys, time
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.environb[b"PYTHONHASHSEED"] = b"0"
            os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)", sys.argv[1]])
        os._exit(0)
print("forked", flush=True)
time.sleep(600)
"""
"""Hides its processes in sessions of their own, without a parent."""


class Engine:
    """As far as a worker's client needs it."""

    def __init__(self, local: LocalWorkers) -> None:
        self.local = local
        self.open_worker = local.open
        self.end_workers = local.end


@pytest.fixture
def local(tmp_path: Path) -> LocalWorkers:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    return LocalWorkers(Settings.from_env({"PLUGVISOR_RUN_DIR": str(run_dir)}))


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[str]:
    """A text in the command line of what a test starts; whatever is left of it is killed."""
    mark = str(tmp_path / "mark")
    yield mark
    for pid in find_marked(mark):
        os.kill(pid, signal.SIGKILL)


def find_marked(mark: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def find_keeper(pid: int) -> int:
    """The parent of a process."""
    return int(re.search(r"PPid:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])  # type: ignore[index]


def list_keepers() -> list[int]:
    """The keepers that this process has started."""
    children = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    pids = [pid for path in children for pid in path.read_text().split()]
    return [int(pid) for pid in pids if b"keeper" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@in_loop
async def test_a_worker_does_what_it_is_asked_and_ends_with_its_connection(local: LocalWorkers, tmp_path: Path) -> None:
    async with Worker(Engine(local), tmp_path / "install", 60.0) as worker:  # type: ignore[arg-type]
        assert await worker.tidy() == []
        assert len(list_keepers()) == 1
    await wait_until(lambda: not local._keepers)
    assert not list_keepers()
    assert not list((tmp_path / "run").iterdir())


@in_loop
async def test_a_worker_is_killed_when_it_is_ended(local: LocalWorkers, tmp_path: Path) -> None:
    connections = [await local.open(60.0) for _ in range(2)]
    await local.end(connections[0])
    assert len(list_keepers()) == 1
    await local.end()
    assert not list_keepers()
    for connection in connections:
        connection.close()


@in_loop
async def test_a_worker_is_ended_when_its_time_is_over(local: LocalWorkers) -> None:
    connection = await local.open(0.2)
    await wait_until(lambda: not local._keepers)
    connection.close()


@in_loop
async def test_there_are_not_too_many_workers(local: LocalWorkers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "MOST_WORKERS", 1)
    with await local.open(60.0):
        with pytest.raises(OperationInterrupted, match="too many workers"):
            await local.open(60.0)
        await local.end()
        (await local.open(60.0)).close()
        await local.end()


@in_loop
async def test_a_run_folder_that_is_gone_is_an_error(local: LocalWorkers, tmp_path: Path) -> None:
    (tmp_path / "run").rmdir()
    with pytest.raises(OperationInterrupted, match="cannot be reached"):
        await local.open(60.0)


@in_loop
async def test_no_secret_of_the_service_reaches_a_worker(local: LocalWorkers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLUGVISOR_ADMIN_CODE", "secret-of-the-service")
    with await local.open(60.0):
        await wait_until(lambda: list_keepers() and find_children(list_keepers()[0]))
        keeper = list_keepers()[0]
        for pid in [keeper, *find_children(keeper)]:
            assert b"secret-of-the-service" not in read_environ(pid)
        await local.end()


def read_environ(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def find_user(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def find_children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("how", ["ended", "service killed", "worker ends"])
def test_nothing_that_a_worker_has_started_is_left(how: str, mark: str, tmp_path: Path) -> None:
    """The keeper is given a worker that does as a hostile build would."""
    package = tmp_path / "plugvisor" / "installer"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    ends = "import sys; sys.exit(0)" if how == "worker ends" else ""
    script = FORKER.replace("sys.argv[1]", repr(mark)).replace("time.sleep(600)\n", f"{ends}\ntime.sleep(600)\n")
    (package / "__main__.py").write_text(script)
    keeper_source = Path(workers.__file__).with_name("keeper.py").read_text().replace('"-P", ', "")
    (tmp_path / "keeper.py").write_text(keeper_source.replace('cwd="/"', f"cwd={str(tmp_path)!r}"))
    starter = (
        "import os, subprocess, sys; r, w = os.pipe();"
        f"p = subprocess.Popen([sys.executable, {str(tmp_path / 'keeper.py')!r}, '60', str(r)], pass_fds=[r]); "
        "os.close(r); input(); os.close(w); p.wait(); print('over', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", starter], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path
    ) as service:
        assert service.stdin is not None
        if how != "worker ends":
            wait_for(lambda: len(find_marked(mark)) == 3)
        if how == "service killed":
            service.kill()
        elif how == "ended":
            service.stdin.write(b"\n")
            service.stdin.flush()
        wait_for(lambda: is_over(tmp_path))
        assert not find_marked(mark)
        service.kill()


def is_over(folder: Path) -> bool:
    return not find_marked(str(folder / "keeper.py"))


def test_a_worker_inherits_the_same_variables_with_every_engine() -> None:
    assert workers._INHERITED.pattern == extension_workers._INHERITED.pattern


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@in_loop
async def test_a_worker_is_the_plugins_users(local: LocalWorkers) -> None:
    local._user = "nobody"
    with await local.open(60.0):
        await wait_until(lambda: list_keepers() and find_children(list_keepers()[0]))
        keeper = list_keepers()[0]
        [child] = find_children(keeper)
        await wait_until(lambda: find_user(child) != 0)
        assert find_user(keeper) == 0
        await local.end()
