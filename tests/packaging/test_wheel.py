"""The wheel: what is in it, and what it does in an empty folder, without this project's files."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.helpers.ports import find_free_port
from tests.helpers.processes import find_processes
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SOURCES = ("pyproject.toml", "README.md", "service", "supervisor_conf")
BUILD_SECONDS = 120
"""A registry may be slow."""


def run(*command: object, cwd: Path, seconds: float = DEADLINE_SECONDS, **environ: str) -> str:
    """Run a program to its end, which must be a success; returns what it prints."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(
                source, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
            )
        else:
            shutil.copy(source, folder)
    build = ("uv", "build", "--quiet", "--wheel", "--build-constraints", ROOT / "requirements-build.lock")
    run(*build, "--out-dir", folder / "dist", folder, cwd=folder, seconds=BUILD_SECONDS)
    [built] = (folder / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment in which the wheel and what it needs are installed."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder, seconds=BUILD_SECONDS)
    install = ("uv", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt")
    run(*install, "--python", folder / "venv/bin/python", wheel, cwd=folder, seconds=BUILD_SECONDS)
    return folder / "venv" / "bin"


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    yield {
        "PLUGVISOR_PORT": str(find_free_port()),
        "PLUGVISOR_RUN_DIR": str(tmp_path / "run"),
        "PLUGVISOR_STATE_DIR": str(tmp_path / "state"),
    }
    assert find_processes(tmp_path) == []


def test_only_plugvisor_lands_in_site_packages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    assert tops == {"plugvisor", f"plugvisor-{version('plugvisor')}.dist-info"}


def test_the_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    package = ROOT / "service" / "plugvisor"
    files = {
        str(path.relative_to(package.parent))
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("plugvisor/")}
    assert packed == files


def test_up_in_an_empty_folder(programs: Path, environ: dict[str, str], tmp_path: Path) -> None:
    """No plugins folder, no project: it starts, and the first plugin is made as the banner says."""
    folder = tmp_path / "empty folder"
    folder.mkdir()
    url = f"http://127.0.0.1:{environ['PLUGVISOR_PORT']}"
    with (tmp_path / "up.log").open("wb") as output:
        up = subprocess.Popen(
            [programs / "plugvisor", "up"],
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **environ},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:

        def answers() -> bool:
            assert up.poll() is None, (tmp_path / "up.log").read_text()
            try:
                return httpx.get(f"{url}/plugins", trust_env=False).json()["plugins"] == []
            except httpx.TransportError:
                return False

        wait_for(answers, "the service")
        printed = (tmp_path / "up.log").read_text()
        assert f"plugins     0 in {folder}/plugins\n" in printed
        assert f"`plugvisor new hello --into '{folder}/plugins'` makes a first one" in printed
        run(programs / "plugvisor", "new", "hello", "--into", folder / "plugins", cwd=folder)
        code = {"Authorization": f"Bearer {(tmp_path / 'run' / 'admin_code').read_text().strip()}"}
        with httpx.Client(base_url=url, headers=code, timeout=DEADLINE_SECONDS, trust_env=False) as http:
            assert http.post("/plugins/refresh").json()["added"] == ["hello"]
            started = http.post("/plugin/hello/start?wait=50").json()
            assert started["status"] == "running", started
    finally:
        up.send_signal(signal.SIGINT)
        assert up.wait(DEADLINE_SECONDS) == 0


def test_a_folder_that_was_named_is_not_made(programs: Path, environ: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        [programs / "plugvisor", "up"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PLUGVISOR_PLUGINS_DIR": "plugin", **environ},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert done.returncode == 2
    assert "create it, or set PLUGVISOR_PLUGINS_DIR" in done.stderr
    assert not (tmp_path / "plugin").exists()


def test_uvx(wheel: Path, tmp_path: Path) -> None:
    """Without any installation: `uvx --from plugvisor-….whl plugvisor`, which is `uv tool run`."""
    constraints = ("--constraints", ROOT / "constraints.txt")
    tool = ("uv", "tool", "run", "--quiet", *constraints, "--python", sys.executable, "--from", wheel, "plugvisor")
    home = {"UV_TOOL_DIR": str(tmp_path / "tools")}
    assert run(*tool, "--version", cwd=tmp_path, seconds=BUILD_SECONDS, **home) == f"plugvisor {version('plugvisor')}\n"
