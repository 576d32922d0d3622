"""The plugin that is updated, and what must be true of it at rest, whatever has happened before."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.helpers.installation import find_current, list_folders, list_left_overs, read_record
from tests.helpers.packages import make_plugin_package
from tests.helpers.processes import find_processes, read_command
from tests.helpers.waiting import wait_for
from tests.helpers.wheels import make_wheel

if TYPE_CHECKING:
    from tests.helpers.packages import Files
    from tests.helpers.stack import PlugvisorStack

PLUGIN = "echo"
CODE = """\
import os, signal, sys
{imports}
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
signal.signal(signal.SIGALRM, lambda *_: open(os.environ["PLUGVISOR_DATA_DIR"] + "/ready-{number}", "w").close())
signal.setitimer(signal.ITIMER_REAL, 0.2)
print("ready {number}", flush=True)
while True:
    signal.pause()
"""
RUNTIME = """
auto_start = true
supervisor.startsecs = 0
[plugin_runtime.checks.up]
exec = ["test", "-e", "../../data/ready-{number}"]
period = 0.1
"""
"""A version is ready a moment after its process has begun."""
FILES = 40


@cache  # an archive has the time at which it was made
def make_files(number: int, *, environment: bool) -> Files:
    """The files of a version, without its manifest and its code."""
    files = {f"files/{index}": f"{number} {index}\n" for index in range(FILES)}
    if not environment:
        return files
    modules = {f"lib/{name}.py": f"VERSION = {number}\n".encode() for name in ("__init__", *"abcdefghij")}
    wheel = {f"wheels/lib-{number}.0-py3-none-any.whl": make_wheel("lib", f"{number}.0", modules)}
    return files | {"requirements.txt": "--no-index --find-links ./wheels\nlib\n"} | wheel


def make_update(number: int, *, environment: bool) -> bytes:
    """The package of a version."""
    code = CODE.format(number=number, imports="import lib.j" if environment else "")
    files = make_files(number, environment=environment)
    return make_plugin_package(PLUGIN, code, version=str(number), runtime=RUNTIME.format(number=number), files=files)


def number_of(version: str) -> int:
    """The number of a version, by its folder's name."""
    return int(version.partition("-")[0])


def list_main_processes(folder: Path) -> list[int]:
    """The processes of the plugin in a folder, without its checks'."""
    return [pid for pid in find_processes(folder) if "main.py" in read_command(pid)]


def read_folder(pid: int) -> Path | None:
    """The folder that a process works in; None if it has ended."""
    try:
        return Path(os.readlink(f"/proc/{pid}/cwd"))
    except OSError:
        return None


class Subject:
    """The plugin, as it is on the disk and as it runs.

    Args:
        environment: whether its versions have environments.
    """

    def __init__(self, stack: PlugvisorStack, *, environment: bool) -> None:
        self._stack = stack
        self._environment = environment
        self._made: set[str] | None = None
        """What an environment consists of, by the first one that was seen."""

    @property
    def folder(self) -> Path:
        """The plugin's folder."""
        return self._stack.plugins_dir / PLUGIN

    def check_recovered(self) -> int:
        """Wait for the recovery, and check that."""
        # an operation is accepted when the recovery is done
        response = self._stack.post("/plugins/install", params={"wait": "50"}, content=b"no package")
        assert response.json()["code"] == "invalid_package", response.text
        return self.check()

    def check(self) -> int:
        """Check that one whole version is installed and runs, and nothing else is left; returns its number."""
        stack = self._stack
        record = read_record(stack.plugins_dir, PLUGIN)
        current: str = record["current"]
        assert not {"pending", "before"} & record.keys(), record
        assert find_current(stack.plugins_dir, PLUGIN) == current
        assert current in record["versions"]
        assert set(list_folders(stack.plugins_dir, PLUGIN)) == set(record["versions"])
        assert sorted(os.listdir(self.folder)) == ["current", "data", "installed.json", "versions"]
        for version in record["versions"]:
            self._check_whole(version)
        wait_for(lambda: not list_left_overs(stack), "what is staged to be removed")
        self._check_running(self.folder / "versions" / current)
        return number_of(current)

    def _check_whole(self, version: str) -> None:
        folder, number = self.folder / "versions" / version, number_of(version)
        files = make_files(number, environment=self._environment)
        for name, content in files.items():
            data = content if isinstance(content, bytes) else str(content).encode()
            assert (folder / name).read_bytes() == data, f"{name} of {version}"
        assert f"ready {number}" in (folder / "main.py").read_text()
        made = {
            str(path.relative_to(folder)).replace(f"lib-{number}.0", "lib")
            for path in folder.rglob("*")
            if "__pycache__" not in path.parts
        }
        self._made = self._made or made
        expected = {name.replace(f"lib-{number}.0", "lib") for name in files}
        assert made >= expected | {"plugin.toml", "main.py"}
        assert made == self._made, f"{version}: {sorted(made ^ self._made)[:10]}"
        if self._environment:
            [lib] = folder.glob(".venv/lib/python*/site-packages/lib/j.py")
            assert lib.read_text() == f"VERSION = {number}\n"
            assert os.access(folder / ".venv" / "bin" / "python", os.X_OK)
        assert not folder.stat().st_mode & 0o222

    def _check_running(self, directory: Path) -> None:
        def runs() -> dict[str, Any] | None:
            status = self._stack.status(PLUGIN)
            is_running = status["status"] == "running" and read_folder(status["pid"]) == directory
            return status if is_running and status.get("health") == "healthy" else None

        status = wait_for(runs, f"{PLUGIN} to run from {directory.name}")
        assert list_main_processes(self.folder) == [status["pid"]]
