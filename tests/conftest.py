"""A real Plugvisor for tests: `plugvisor up` in a folder of its own, with real plugins and real sockets."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from plugvisor.engines.supervisord.boot import SUPERVISORD_CONF

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ADMIN_CODE = "an-admin-code-for-tests"
DEADLINE_SECONDS = 30.0
"""Far longer than anything takes on two busy cores; reached only when something is wrong."""

OBEDIENT = """\
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("ready", flush=True)
while True:
    signal.pause()
"""
"""A plugin that runs until it is asked to stop."""
HESITANT = """\
import os, signal, sys, time
def stop(*_):
    print("asked to stop", flush=True)
    while not os.path.exists("go"):
        time.sleep(0.01)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
while True:
    signal.pause()
"""
"""A plugin that takes as long to stop as the test lets it: until there is a file `go` in its folder."""


def wait_for(condition: Callable[[], Any], what: str = "", seconds: float = DEADLINE_SECONDS) -> Any:
    """Call `condition` until what it returns is true, and return that; fail after the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds} seconds in vain for {what or condition}")
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def find_processes(folder: Path) -> list[int]:
    """The living processes that have to do with a folder, by working directory, command line or environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            told = [os.readlink(process / "cwd")]
            told += [(process / name).read_text(errors="replace") for name in ("cmdline", "environ")]
            if any(str(folder) in text for text in told) and is_alive(int(process.name)):
                found.append(int(process.name))
    return found


def find_free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


class Plugvisor:
    """One Plugvisor under test. Write plugins, `up()`, then talk to it."""

    def __init__(self, root: Path, *, stock: bool = False) -> None:
        """Args: `stock` is a supervisord as it comes, without our extension."""
        self.root = root
        self.stock = stock
        self.plugins_dir = root / "plugins"
        self.run_dir = root / "run"
        self.log_dir = self.run_dir / "log"
        self.output_path = root / "up.log"
        self.plugins_dir.mkdir()
        self.port = find_free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environ = {
            # the tests' own interpreter is the `python` of plugins
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": os.environ.get("HOME", "/"),
            "LANG": "C.UTF-8",
            "PLUGVISOR_PORT": str(self.port),
            "PLUGVISOR_PLUGINS_DIR": str(self.plugins_dir),
            "PLUGVISOR_RUN_DIR": str(self.run_dir),
            "PLUGVISOR_ADMIN_CODE": ADMIN_CODE,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.http = httpx.Client(base_url=self.url, timeout=DEADLINE_SECONDS, trust_env=False)

    # -- plugins

    def write_plugin(self, plugin_id: str, code: str = OBEDIENT, *, runtime: str = "", folder: str = "") -> Path:
        """A plugin that runs `code`; `runtime` is more TOML, which begins inside `[plugin_runtime]`."""
        path = self.plugins_dir / (folder or plugin_id)
        path.mkdir(exist_ok=True)
        (path / "main.py").write_text(code)
        manifest = f'[plugin]\nid = "{plugin_id}"\ncommand = ["python", "main.py"]\n[plugin_runtime]\n{runtime}\n'
        (path / "plugin.toml").write_text(manifest)
        return path

    # -- the life of it

    def command(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run `plugvisor …` to its end."""
        return subprocess.run(
            [sys.executable, "-m", "plugvisor", *arguments],
            env=self.environ | environ,
            cwd=Path(__file__).parent.parent,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )

    def spawn(self, *arguments: str, limit_descriptors: int = 0, **environ: str) -> subprocess.Popen[bytes]:
        """Start `plugvisor …`; its output goes to `output_path`."""
        command = [sys.executable, "-m", "plugvisor", *arguments]
        if limit_descriptors:
            command = ["/bin/sh", "-c", f'ulimit -n {limit_descriptors}; exec "$@"', "sh", *command]
        with self.output_path.open("ab") as output:
            return subprocess.Popen(
                command,
                env=self.environ | environ,
                cwd=Path(__file__).parent.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def up(self, *, limit_descriptors: int = 0) -> None:
        """Start everything and wait until the service answers; 0 descriptors is as many as this process may open."""
        self.process = self._spawn_stock() if self.stock else self.spawn("up", limit_descriptors=limit_descriptors)
        wait_for(self.is_ready, f"the service; see {self.output_path}:\n{self.output_path.read_text()}")

    def _spawn_stock(self) -> subprocess.Popen[bytes]:
        """What `up` does, by hand, with a configuration that lacks the extension."""
        rendered = self.command("render")
        assert rendered.returncode in (0, 1), rendered.stderr
        text = SUPERVISORD_CONF.read_text()
        configuration = self.root / "supervisord.conf"
        configuration.write_text(re.sub(r"\[rpcinterface:plugins\]\n(?:\w.*\n)*", "", text))
        code = self.run_dir / "admin_code"
        code.write_text(self.environ["PLUGVISOR_ADMIN_CODE"])
        code.chmod(0o600)
        environ = {
            "PLUGVISOR_ADMIN_CODE": "",
            "PLUGVISOR_ADMIN_CODE_FILE": str(code),
            "PLUGVISOR_LOG_DIR": str(self.log_dir),
            "PLUGVISOR_PYTHON": sys.executable,
            "PLUGVISOR_MINFDS": "1024",
            "PLUGVISOR_LOG_TO_STDOUT": "false",
        }
        with self.output_path.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "supervisor.supervisord", "-c", str(configuration)],
                env=self.environ | environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def is_ready(self) -> bool:
        """Whether the service answers and supervisord with it."""
        assert self.process is None or self.process.poll() is None, self.output_path.read_text()
        self.nudge()  # it sleeps a second before its first round, in which it starts the service
        with contextlib.suppress(httpx.TransportError):
            return self.http.get("/plugin/status").status_code == 200
        return False

    def down(self) -> None:
        """Stop everything, as Ctrl-C does; waits until supervisord has ended."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(signal.SIGINT)
            deadline = time.monotonic() + DEADLINE_SECONDS
            while self.process.poll() is None and time.monotonic() < deadline:
                self.nudge()
                time.sleep(0.01)
        self.process = None

    def close(self) -> list[int]:
        """Stop everything, kill what is left of it, and return the pids of that: there should be none."""
        self.down()
        self.http.close()
        left = find_processes(self.root)
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        return left

    @property
    def supervisord_pid(self) -> int:
        """supervisord's process id."""
        assert self.process is not None
        return self.process.pid

    # -- talking to it

    def post(self, path: str, code: str | None = ADMIN_CODE, **arguments: Any) -> httpx.Response:
        """POST with the admin code, or with another, or with none."""
        headers = {"Authorization": f"Bearer {code}"} if code is not None else {}
        return self.http.post(path, headers=headers, **arguments)

    def status(self, plugin_id: str) -> dict[str, Any]:
        """The API's word of one plugin."""
        response = self.http.get("/plugin/status", params={"plugin_id": plugin_id})
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def wait_for_status(self, plugin_id: str, *statuses: str) -> dict[str, Any]:
        """Wait until a plugin has one of these statuses."""

        def look() -> dict[str, Any] | None:
            told = self.status(plugin_id)
            return told if told["status"] in statuses else None

        told: dict[str, Any] = wait_for(look, f"{plugin_id} to be {' or '.join(statuses)}")
        return told

    def start_running(self, plugin_id: str) -> int:
        """Start a plugin, wait until it runs and has said so in its log; returns its pid."""
        before = self.read_log(plugin_id).count("ready")
        response = self.post(f"/plugin/{plugin_id}/start?wait=20")
        assert response.status_code == 200, response.text
        wait_for(lambda: self.read_log(plugin_id).count("ready") > before, f"{plugin_id} to be ready")
        pid: int = response.json()["pid"]
        return pid

    def ctl(self, *arguments: str) -> str:
        """What `plugvisor ctl …` prints."""
        return self.command("ctl", *arguments).stdout

    def rpc(self, method: str, *parameters: Any) -> Any:
        """Call a method of supervisord's XML-RPC, past the service."""
        transport = httpx.HTTPTransport(uds=str(self.run_dir / "supervisor.sock"))
        with httpx.Client(transport=transport, timeout=DEADLINE_SECONDS) as http:
            body = xmlrpc.client.dumps(parameters, f"supervisor.{method}")
            [value], _ = xmlrpc.client.loads(http.post("http://supervisor/RPC2", content=body).content)
            return value

    def nudge(self) -> None:
        """Make supervisord go its round at once, which it otherwise does once a second, if it is there."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as wake:
            wake.connect(str(self.run_dir / "supervisor.sock"))

    def read_log(self, plugin_id: str) -> str:
        """What a plugin has printed."""
        path = self.log_dir / f"{plugin_id}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def service_log(self) -> str:
        """The service's own log."""
        return self.read_log("_server")


@contextlib.contextmanager
def make_plugvisor(*, stock: bool = False, is_swept: bool = True) -> Iterator[Plugvisor]:
    """A Plugvisor that is not up yet, and afterwards nothing of it is left.

    Args:
        is_swept: by itself; else what is left is killed here.
    """
    # not tmp_path: a Unix socket's path must be short
    root = Path(tempfile.mkdtemp(prefix="pv-"))
    plugvisor = Plugvisor(root, stock=stock)
    try:
        yield plugvisor
    finally:
        left = plugvisor.close()
        output = plugvisor.output_path.read_text() if plugvisor.output_path.exists() else ""
        shutil.rmtree(root, ignore_errors=True)
    assert not left or not is_swept, f"processes were left behind: {left}\n{output}"


@pytest.fixture
def plugvisor() -> Iterator[Plugvisor]:
    """A Plugvisor of this test's own, not up yet."""
    with make_plugvisor() as made:
        yield made


@pytest.fixture(scope="module")
def shared() -> Iterator[Plugvisor]:
    """One Plugvisor for a whole file, up, with no plugin: each test adds its own under an id of its own."""
    with make_plugvisor() as made:
        made.up()
        yield made


@pytest.fixture
def add(shared: Plugvisor, request: pytest.FixtureRequest) -> Callable[..., str]:
    """Adds a plugin, named after the test, to the shared Plugvisor; returns its id."""

    def add_plugin(code: str = OBEDIENT, *, runtime: str = "auto_start = false", suffix: str = "") -> str:
        name = re.sub(r"[^A-Za-z0-9_-]", "-", request.node.name)
        plugin_id = (name if len(name) <= 50 else f"{name[:40]}-{zlib.crc32(name.encode()):08x}") + suffix
        shared.write_plugin(plugin_id, code, runtime=runtime)
        refreshed = shared.post("/plugins/refresh")
        assert plugin_id in refreshed.json()["added"], json.dumps(refreshed.json())
        return plugin_id

    return add_plugin
