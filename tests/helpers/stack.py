"""The whole product under test: `plugvisor up` in a folder of its own, with real plugins and real sockets."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.ports import find_free_port
from tests.helpers.processes import find_processes
from tests.helpers.supervisorctl import run_supervisorctl
from tests.helpers.supervisord import RpcClient
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

ADMIN_CODE = "an-admin-code-for-tests"
ROOT = Path(__file__).parents[2]
QUICK = "auto_start = false\nsupervisor.startsecs = 0"
"""The `runtime` of a plugin that is started by hand and counts as running at once."""

OVERDUE = "graceful shutdown exceeded"
"""What the service's log has if something held up its end for longer than it may."""


class PlugvisorStack:
    """One Plugvisor. Write plugins, `up()`, then talk to it."""

    engine = "supervisord"

    def __init__(self, root: Path) -> None:
        self.root = root
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
            "PLUGVISOR_STATE_DIR": str(root / "state"),
            "PLUGVISOR_ADMIN_CODE": ADMIN_CODE,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.http = httpx.Client(base_url=self.url, timeout=DEADLINE_SECONDS, trust_env=False)

    # -- plugins

    def write_plugin(self, plugin_id: str, code: str = OBEDIENT, *, runtime: str = "", folder: str = "") -> Path:
        """Write a plugin that runs `code`; `runtime` is more TOML, which begins inside `[plugin_runtime]`."""
        path = self.plugins_dir / (folder or plugin_id)
        path.mkdir(exist_ok=True)
        (path / "main.py").write_text(code)
        manifest = f'[plugin]\nid = "{plugin_id}"\ncommand = ["python", "main.py"]\n[plugin_runtime]\n{runtime}\n'
        (path / "plugin.toml").write_text(manifest)
        return path

    # -- its life

    def command(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run `plugvisor …` to its end."""
        return subprocess.run(
            [sys.executable, "-m", "plugvisor", *arguments],
            env=self.environ | environ,
            cwd=ROOT,
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
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def up(self, *, limit_descriptors: int = 0) -> None:
        """Start everything and wait until the service answers; 0 descriptors is as many as this process may open."""
        self.process = self.spawn("up", limit_descriptors=limit_descriptors)
        wait_for(self.is_ready, f"the service; see {self.output_path}:\n{self.output_path.read_text()}")

    def is_ready(self) -> bool:
        """Whether the service answers, and supervisord with it."""
        assert self.process is None or self.process.poll() is None, self.output_path.read_text()
        with contextlib.suppress(httpx.TransportError):
            return self.get("/plugin/status").status_code == 200
        return False

    def down(self) -> None:
        """Stop everything, as Ctrl-C does; returns when supervisord has ended, or after the deadline."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(DEADLINE_SECONDS)
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

    @property
    def service_pid(self) -> int:
        """The service's process id; 0 if it does not run."""
        pid: int = self.rpc("getProcessInfo", "plugvisor")["pid"]
        return pid

    def restart_service(self) -> None:
        """Kill the service alone; return when another one answers."""
        before = self.service_pid
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: self.service_pid not in (0, before) and self.is_ready(), "another service")

    # -- talking to it

    def get(self, path: str, code: str | None = ADMIN_CODE, **arguments: Any) -> httpx.Response:
        """GET with the admin code, or with another token, or with none."""
        headers = {"Authorization": f"Bearer {code}"} if code is not None else {}
        return self.http.get(path, headers=headers, **arguments)

    def post(self, path: str, code: str | None = ADMIN_CODE, **arguments: Any) -> httpx.Response:
        """POST with the admin code, or with another token, or with none."""
        headers = {"Authorization": f"Bearer {code}"} if code is not None else {}
        return self.http.post(path, headers=headers, **arguments)

    def delete(self, path: str, code: str | None = ADMIN_CODE, **arguments: Any) -> httpx.Response:
        """DELETE with the admin code, or with another token, or with none."""
        headers = {"Authorization": f"Bearer {code}"} if code is not None else {}
        return self.http.delete(path, headers=headers, **arguments)

    def add_identity(self, name: str, role: str, **more: Any) -> str:
        """Add an identity; returns its token."""
        response = self.post("/identities", json={"name": name, "role": role, **more})
        assert response.status_code == 200, response.text
        token: str = response.json()["token"]
        return token

    def remove_identity(self, name: str) -> None:
        """Remove an identity, if it is there."""
        response = self.http.delete(f"/identities/{name}", headers={"Authorization": f"Bearer {ADMIN_CODE}"})
        assert response.status_code in (200, 404), response.text

    def status(self, plugin_id: str) -> dict[str, Any]:
        """A plugin's status, as the API reports it; asked for again while it cannot be known, as on a busy machine."""

        def ask() -> httpx.Response | None:
            response = self.http.get("/plugin/status", params={"plugin_id": plugin_id})
            return response if response.status_code != 503 else None

        response: httpx.Response = wait_for(ask, f"the status of {plugin_id} to be known")
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def wait_for_status(self, plugin_id: str, *statuses: str) -> dict[str, Any]:
        """Wait until a plugin has one of these statuses."""

        def look() -> dict[str, Any] | None:
            answer = self.status(plugin_id)
            return answer if answer["status"] in statuses else None

        answer: dict[str, Any] = wait_for(look, f"{plugin_id} to be {' or '.join(statuses)}")
        return answer

    def wait_for_state(self, plugin_id: str, state: str) -> dict[str, Any]:
        """Wait until a plugin has that state of supervisord's."""
        answer: dict[str, Any] = wait_for(
            lambda: (answer := self.status(plugin_id))["state"] == state and answer, f"{plugin_id} to be {state}"
        )
        return answer

    def start_running(self, plugin_id: str) -> int:
        """Start a plugin, wait until it runs and has said so in its log; returns its pid."""
        before = self.read_log(plugin_id).count("ready")
        self.change(plugin_id, "start")  # with `wait`, its checks must pass too
        pid: int = self.wait_for_status(plugin_id, "running")["pid"]
        wait_for(lambda: self.read_log(plugin_id).count("ready") > before, f"{plugin_id} to be ready")
        return pid

    def change(self, plugin_id: str, verb: str, *accepted: int) -> None:
        """Start, stop or reload a plugin, which is answered with 200 or one of `accepted`.

        It is asked for again while supervisord or the swarm does not answer in time; then it may be done already.
        """
        is_unheard = False

        def is_done() -> bool:
            nonlocal is_unheard
            response = self.post(f"/plugin/{plugin_id}/{verb}")
            if response.status_code == 503:
                is_unheard = True
                return False
            assert response.status_code in (200, *accepted, *([409] if is_unheard else [])), response.text
            return True

        wait_for(is_done, f"a {verb} of {plugin_id}")

    def ctl(self, *arguments: str) -> str:
        """What supervisorctl prints; `command("ctl", …)` starts it as an operator does, which takes longer."""
        return run_supervisorctl(f"unix://{self.run_dir}/supervisor.sock", *arguments)

    def rpc(self, method: str, *parameters: Any, namespace: str = "supervisor") -> Any:
        """Call a method of supervisord's XML-RPC, past the service."""
        with contextlib.closing(RpcClient(self.run_dir / "supervisor.sock")) as call:
            return call(f"{namespace}.{method}", *parameters)

    def read_log(self, plugin_id: str) -> str:
        """What a plugin has printed."""
        path = self.log_dir / f"{plugin_id}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def service_log(self) -> str:
        """The service's own log."""
        return self.read_log("_server")


@contextlib.contextmanager
def run_stack() -> Iterator[PlugvisorStack]:
    """A Plugvisor that is not up yet, in a temporary folder; at the end it is stopped and must have left nothing."""
    # not tmp_path: a Unix socket's path must be short
    root = Path(tempfile.mkdtemp(prefix="pv-"))
    stack = PlugvisorStack(root)
    try:
        yield stack
    finally:
        left = stack.close()
        output = stack.output_path.read_text() if stack.output_path.exists() else ""
        shutil.rmtree(root, ignore_errors=True)
    assert not left, f"processes were left behind: {left}\n{output}"
