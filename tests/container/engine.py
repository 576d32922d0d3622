"""Images and containers for tests, through the `docker` command."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import subprocess
import tarfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.helpers.stack import ADMIN_CODE
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[2]
BUILD_SECONDS = 300.0
STOP_SECONDS = 30
SAMPLES = {"failing", "heartbeat", "hello_http", "leaky", "stubborn", "tiny_store", "tiny_web"}

HARDENED = (
    *("--read-only", "--tmpfs", "/run/plugvisor:mode=0711,size=64m", "--tmpfs", "/tmp:mode=1777,size=256m"),
    *("--volume", "/var/log/plugvisor", "--volume", "/var/lib/plugvisor", "--volume", "/home/plugin"),
    *("--volume", "/installed"),
    *("--cap-drop", "ALL", "--cap-add", "SETUID", "--cap-add", "SETGID", "--cap-add", "KILL"),
    *("--security-opt", "no-new-privileges:true", "--pids-limit", "512"),
    *("--memory", "1g", "--memory-swap", "1g", "--cpus", "1"),
)
"""The restrictions of docker-compose.yml, except for its ulimits: the kernel counts nproc across containers."""


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock that all processes of a test run share."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def unique_name() -> str:
    """A name for a container, a volume or a compose project."""
    return f"plugvisor-test-{uuid.uuid4().hex[:12]}"


def unique_tag() -> str:
    """A name for an image."""
    return f"plugvisor-test:{uuid.uuid4().hex[:12]}"


def run_docker(*arguments: str, text: str | None = None, seconds: float = DEADLINE_SECONDS) -> tuple[int, str]:
    """Run `docker …`; returns its exit status and its output, standard error included."""
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
    return done.returncode, done.stdout


def docker(*arguments: str, text: str | None = None, seconds: float = DEADLINE_SECONDS) -> str:
    """Run `docker …`, which must succeed; returns its output."""
    status, output = run_docker(*arguments, text=text, seconds=seconds)
    if status != 0:
        pytest.fail(f"docker {' '.join(arguments)} ended with {status}: {output}")
    return output


def build(tag: str, context: Path, *options: str) -> None:
    """Build an image."""
    docker("build", "--force-rm", "--tag", tag, *options, str(context), seconds=BUILD_SECONDS)


def remove_image(tag: str) -> None:
    """Remove an image, if it exists."""
    run_docker("rmi", "--force", tag)


def write_plugin(plugins: Path, plugin_id: str, code: str, runtime: str = "") -> Path:
    """Write a plugin that runs `code`, readable by everyone; returns its folder."""
    folder = plugins / plugin_id
    folder.mkdir()
    (folder / "main.py").write_text(code)
    manifest = f'[plugin]\nid = "{plugin_id}"\ncommand = ["python", "main.py"]\n[plugin_runtime]\n{runtime}\n'
    (folder / "plugin.toml").write_text(manifest)
    return folder


class Container:
    """An existing container in which Plugvisor runs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._http = httpx.Client(timeout=DEADLINE_SECONDS, trust_env=False)

    @classmethod
    def run(cls, image: str, options: Sequence[str] = (), arguments: Sequence[str] = ()) -> Container:
        """Start a container in the background."""
        name = unique_name()
        docker(
            *("run", "--detach", "--name", name, "--publish", "127.0.0.1::48916"),
            *("--env", f"PLUGVISOR_ADMIN_CODE={ADMIN_CODE}", *options, image, *arguments),
        )
        return cls(name)

    # -- its life

    def inspect(self) -> Any:
        """What `docker inspect` reports."""
        return json.loads(docker("inspect", self.name))[0]

    @property
    def state(self) -> Any:
        """Whether it runs, how it ended, and its health."""
        return self.inspect()["State"]

    def wait_until_ready(self) -> Container:
        """Wait until the service responds; returns the container itself."""
        # each start publishes another port
        self._http.base_url = f"http://{docker('port', self.name, '48916').split()[0]}"
        wait_for(self._is_ready, f"the service in {self.name}")
        return self

    def _is_ready(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return self.get("/plugin/status").status_code == 200
        assert self.state["Running"], self.logs()
        return False

    def wait_until_ended(self) -> int:
        """Wait for its end; returns the exit status."""
        return int(docker("wait", self.name))

    def start(self) -> Container:
        """Start it again and wait until the service responds; returns the container itself."""
        docker("start", self.name)
        return self.wait_until_ready()

    def stop(self) -> int:
        """`docker stop`; returns the exit status."""
        docker("stop", "--time", str(STOP_SECONDS), self.name, seconds=STOP_SECONDS + DEADLINE_SECONDS)
        status: int = self.state["ExitCode"]
        return status

    def close(self) -> None:
        """Close the connections to it."""
        self._http.close()

    def remove(self) -> None:
        """Kill and remove it, with its anonymous volumes."""
        self.close()
        run_docker("rm", "--force", "--volumes", self.name)

    # -- the API

    def get(self, path: str) -> httpx.Response:
        """GET with the admin code."""
        return self._http.get(path, headers={"Authorization": f"Bearer {ADMIN_CODE}"})

    def post(self, path: str, code: str | None = ADMIN_CODE) -> httpx.Response:
        """POST with the admin code, with another code, or with none."""
        return self._http.post(path, headers={"Authorization": f"Bearer {code}"} if code is not None else {})

    def status(self, plugin_id: str) -> Any:
        """The status of one plugin."""
        return self.get(f"/plugin/status?plugin_id={plugin_id}").json()

    def wait_for_status(self, plugin_id: str, status: str) -> None:
        """Wait until a plugin has this status."""
        wait_for(lambda: self.status(plugin_id)["status"] == status, f"{plugin_id} to be {status}")

    # -- what is inside

    def try_execute(self, *command: str) -> str:
        """Run a command inside, which may fail; returns its output."""
        return run_docker("exec", self.name, *command)[1]

    def execute(self, *command: str, user: str = "", text: str | None = None) -> str:
        """Run a command inside, by default as the container's own user; returns its output."""
        interactive = ["--interactive"] if text is not None else []
        return docker("exec", "--user", user, *interactive, self.name, *command, text=text)

    def run_python(self, code: str, *, user: str = "", text: str | None = None) -> str:
        """Run code with the Python that Plugvisor is installed in; returns its output."""
        return self.execute("/opt/plugvisor/bin/python", "-c", code, user=user, text=text)

    def logs(self) -> str:
        """Its standard output and standard error."""
        return docker("logs", self.name)

    def read_log(self, name: str) -> str:
        """The text of a log file, also after the container's end; empty if there is no such file."""
        return self.read_logs().get(name, "")

    def read_logs(self) -> dict[str, str]:
        """The text of each log file, by name."""
        command = ["docker", "cp", f"{self.name}:/var/log/plugvisor", "-"]
        copied = subprocess.run(command, capture_output=True, timeout=DEADLINE_SECONDS, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(copied)) as tar:
            files = [(Path(member.name).stem, tar.extractfile(member)) for member in tar if member.isfile()]
            return {name: file.read().decode() for name, file in files if file is not None}
