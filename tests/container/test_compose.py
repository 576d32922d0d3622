"""docker-compose.yml as it is: `docker compose up` on a fresh machine, and with a secret and plugins of one's own."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import uuid
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.conftest import ADMIN_CODE, DEADLINE_SECONDS, OBEDIENT, find_free_port, wait_for
from tests.container.conftest import REQUIRED
from tests.container.engine import ROOT, SAMPLES, docker, write_plugin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Project:
    """One compose project with a name, a port and an image of its own."""

    def __init__(self, image: str, **environ: str) -> None:
        self.name = f"plugvisor-test-{uuid.uuid4().hex[:12]}"
        self.url = f"http://127.0.0.1:{(port := find_free_port())}"
        self._environ = {**os.environ, "PLUGVISOR_IMAGE": image, "PLUGVISOR_PORT": str(port), **environ}
        is_plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0
        self._command = ["docker", "compose"] if is_plugin else ["docker-compose"]
        self._files = ["--file", str(ROOT / "docker-compose.yml")]

    def run(self, *arguments: str, check: bool = True) -> str:
        """Run `docker compose …`; returns what it prints."""
        command = [*self._command, *self._files, "--project-name", self.name, *arguments]
        done = subprocess.run(
            command, env=self._environ, capture_output=True, text=True, timeout=2 * DEADLINE_SECONDS, check=False
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def up(self) -> None:
        """Start it and wait until it answers."""
        self.run("up", "--detach", "--no-build")
        wait_for(self._is_ready, "the service")

    def _is_ready(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/plugin/status", trust_env=False).status_code == 200
        return False

    def execute(self, *command: str, check: bool = True) -> str:
        """`docker compose exec plugvisor …`."""
        return self.run("exec", "-T", "plugvisor", *command, check=check)


@pytest.fixture
def compose(image: str) -> Iterator[Callable[..., Project]]:
    if shutil.which("docker-compose") is None and "compose" not in docker("--help"):
        (pytest.fail if os.environ.get(REQUIRED) else pytest.skip)("there is no docker compose")
    projects: list[Project] = []

    def make(**environ: str) -> Project:
        projects.append(Project(image, **environ))
        return projects[-1]

    yield make
    for project in projects:
        project.run("down", "--volumes", check=False)


def test_the_samples_on_a_fresh_machine(compose: Callable[..., Project]) -> None:
    project = compose(PLUGVISOR_ADMIN_CODE_FILE="", PLUGVISOR_PLUGINS_DIR="")
    project.up()
    assert {
        plugin["id"] for plugin in httpx.get(f"{project.url}/plugins", trust_env=False).json()["plugins"]
    } == SAMPLES
    told = project.execute("supervisorctl", "status", check=False)
    assert {line.split()[0] for line in told.splitlines()} == SAMPLES | {"plugvisor"}
    logs = project.run("logs", "--no-color")
    [code] = [line.split()[-1] for line in logs.splitlines() if "admin code" in line]
    answer = httpx.post(
        f"{project.url}/plugin/heartbeat/reload",
        headers={"Authorization": f"Bearer {code}"},
        timeout=DEADLINE_SECONDS,
        trust_env=False,
    )
    assert answer.json()["status"] == "running"


def test_a_secret_and_plugins_of_ones_own(compose: Callable[..., Project], plugins: Path, tmp_path: Path) -> None:
    code = tmp_path / "admin_code"
    code.write_text(ADMIN_CODE + "\n")
    write_plugin(plugins, "own", OBEDIENT)
    project = compose(PLUGVISOR_ADMIN_CODE_FILE=str(code), PLUGVISOR_PLUGINS_DIR=str(plugins))
    project.up()
    stop = f"{project.url}/plugin/own/stop"
    assert httpx.post(stop, headers={"Authorization": "Bearer wrong"}, trust_env=False).status_code == 401
    headers = {"Authorization": f"Bearer {ADMIN_CODE}"}
    assert httpx.post(stop, headers=headers, timeout=DEADLINE_SECONDS, trust_env=False).json()["status"] == "stopped"
    assert ADMIN_CODE not in project.run("logs", "--no-color")
    assert ADMIN_CODE not in project.execute("env")
    for path in ("/", "/plugins", "/opt/plugvisor"):
        assert "Read-only" in project.execute("sh", "-c", f"touch {path}/x 2>&1 || true"), path
    project.run("stop")
    container = project.run("ps", "--all", "--quiet", check=False).strip() or project.run("ps", "--quiet").strip()
    assert docker("inspect", "--format", "{{.State.ExitCode}}", container).strip() == "0"
