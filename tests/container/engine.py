"""A Docker Engine for tests: images and containers that are gone afterwards."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import tarfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.conftest import ADMIN_CODE, DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
BUILD_SECONDS = 300.0
SAMPLES = {"failing", "heartbeat", "hello_http", "stubborn"}

HARDENED = (
    *("--read-only", "--tmpfs", "/run/plugvisor", "--tmpfs", "/tmp"),
    *("--volume", "/var/log/plugvisor", "--volume", "/home/plugin"),
    *("--cap-drop", "ALL", "--cap-add", "SETUID", "--cap-add", "SETGID", "--cap-add", "KILL"),
    *("--security-opt", "no-new-privileges", "--pids-limit", "512", "--memory", "1g"),
)
"""What docker-compose.yml says."""


def docker(*arguments: str, seconds: float = DEADLINE_SECONDS, check: bool = True, text: str | None = None) -> str:
    """Run `docker …`; returns what it prints on either."""
    done = subprocess.run(
        ["docker", *arguments],
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=seconds,
        check=False,
    )
    if check and done.returncode != 0:
        pytest.fail(f"docker {' '.join(arguments)} ended with {done.returncode}: {done.stdout}")
    return done.stdout


def build(tag: str, context: Path, *options: str) -> None:
    """Build an image."""
    docker("build", "--tag", tag, *options, str(context), seconds=BUILD_SECONDS)


def write_plugin(plugins: Path, plugin_id: str, code: str, runtime: str = "") -> Path:
    """A plugin that runs `code`, readable by everyone."""
    folder = plugins / plugin_id
    folder.mkdir()
    (folder / "main.py").write_text(code)
    manifest = f'[plugin]\nid = "{plugin_id}"\ncommand = ["python", "main.py"]\n[plugin_runtime]\n{runtime}\n'
    (folder / "plugin.toml").write_text(manifest)
    return folder


class Container:
    """One container, which is running `plugvisor up` unless its arguments say otherwise."""

    def __init__(self, image: str, options: Sequence[str] = (), arguments: Sequence[str] = ()) -> None:
        self.name = f"plugvisor-test-{uuid.uuid4().hex[:12]}"
        docker(
            *("run", "--detach", "--name", self.name, "--publish", "127.0.0.1::48916"),
            *("--env", f"PLUGVISOR_ADMIN_CODE={ADMIN_CODE}", *options, image, *arguments),
        )

    @property
    def url(self) -> str:
        """Where the service answers; the port is another after each start."""
        return f"http://{docker('port', self.name, '48916').split()[0]}"

    def inspect(self) -> Any:
        """What the engine knows of it."""
        return json.loads(docker("inspect", self.name))[0]

    @property
    def state(self) -> Any:
        """Whether it runs, and how it ended."""
        return self.inspect()["State"]

    def wait_until_ready(self) -> Container:
        """Wait until the service answers."""
        wait_for(self._is_ready, f"the service in {self.name}")
        return self

    def _is_ready(self) -> bool:
        assert self.state["Running"], self.logs()
        with contextlib.suppress(httpx.TransportError):
            return self.get("/plugin/status").status_code == 200
        return False

    def wait_until_ended(self) -> int:
        """Wait for its end; returns the exit status."""
        return int(docker("wait", self.name))

    def get(self, path: str, code: str | None = ADMIN_CODE) -> httpx.Response:
        """GET with the admin code, or with another, or with none."""
        return self._request("GET", path, code)

    def post(self, path: str, code: str | None = ADMIN_CODE) -> httpx.Response:
        """POST with the admin code, or with another, or with none."""
        return self._request("POST", path, code)

    def _request(self, method: str, path: str, code: str | None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {code}"} if code is not None else {}
        return httpx.request(method, f"{self.url}{path}", headers=headers, timeout=DEADLINE_SECONDS, trust_env=False)

    def status(self, plugin_id: str) -> Any:
        """The API's word of one plugin."""
        return self.get(f"/plugin/status?plugin_id={plugin_id}").json()

    def wait_for_status(self, plugin_id: str, status: str) -> None:
        """Wait until a plugin has this status."""
        wait_for(lambda: self.status(plugin_id)["status"] == status, f"{plugin_id} to be {status}")

    def execute(self, *command: str, options: Sequence[str] = (), check: bool = True, text: str | None = None) -> str:
        """Run a command inside; returns what it prints."""
        return docker("exec", *options, *(["-i"] if text else []), self.name, *command, check=check, text=text)

    def run_python(self, code: str, *arguments: str, user: str = "root") -> str:
        """Run code with the Python that Plugvisor is installed in."""
        return self.execute("/opt/plugvisor/bin/python", "-c", code, *arguments, options=["--user", user])

    def logs(self) -> str:
        """Its standard output and standard error."""
        return docker("logs", self.name)

    def read_log(self, name: str) -> str:
        """A log file, also of a container that has ended."""
        with contextlib.suppress(KeyError), tarfile.open(fileobj=io.BytesIO(self._copy("/var/log/plugvisor"))) as tar:
            member = tar.extractfile(f"plugvisor/{name}.log")
            return member.read().decode() if member is not None else ""
        return ""

    def read_logs(self) -> dict[str, str]:
        """All log files by name."""
        with tarfile.open(fileobj=io.BytesIO(self._copy("/var/log/plugvisor"))) as tar:
            files = [(Path(member.name).stem, tar.extractfile(member)) for member in tar if member.isfile()]
            return {name: file.read().decode() for name, file in files if file is not None}

    def _copy(self, path: str) -> bytes:
        command = ["docker", "cp", f"{self.name}:{path}", "-"]
        return subprocess.run(command, capture_output=True, timeout=DEADLINE_SECONDS, check=True).stdout

    def stop(self) -> int:
        """`docker stop`; returns the exit status."""
        docker("stop", "--time", "30", self.name, seconds=40)
        status: int = self.state["ExitCode"]
        return status

    def remove(self) -> None:
        """Kill it and remove it with its nameless volumes."""
        docker("rm", "--force", "--volumes", self.name, check=False)
