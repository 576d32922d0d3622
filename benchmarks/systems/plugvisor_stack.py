"""`plugvisor up` with light plugins, and a client of its API."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.systems.supervisord import (
    COMMAND,
    POLL_SECONDS,
    START_SECONDS,
    Supervisord,
    get_startsecs,
    name_plugins,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

HOST = "127.0.0.1"
ADMIN_CODE = "an-admin-code-for-benchmarks"
CALL_SECONDS = 120.0
STATUS_POLL_SECONDS = 0.05
"""Reading 1,000 plugins takes the service milliseconds, which the start should have."""


class ApiClient:
    """The API over one kept-alive connection, with little overhead."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection(HOST, port, timeout=CALL_SECONDS)

    def get(self, path: str) -> bytes:
        """GET; the status must be 200."""
        return self._request("GET", path)

    def post(self, path: str, *, may_wait: bool = False) -> bytes:
        """POST with the admin code; the status must be 200, or 202 if it `may_wait`."""
        return self._request("POST", path, http.HTTPStatus.ACCEPTED if may_wait else http.HTTPStatus.OK)

    def read_statuses(self) -> dict[str, dict[str, Any]]:
        """Every plugin's status."""
        plugins: dict[str, dict[str, Any]] = json.loads(self.get("/plugin/status"))["plugins"]
        return plugins

    def wait_until_running(self) -> None:
        """Wait until every plugin is running."""
        self.wait_until(lambda status: status["status"] == "running", STATUS_POLL_SECONDS)

    def wait_until(self, is_done: Callable[[Mapping[str, Any]], bool], poll_seconds: float) -> None:
        """Wait until something is true of every plugin's status."""
        deadline = time.monotonic() + START_SECONDS
        while left := {name: status for name, status in self.read_statuses().items() if not is_done(status)}:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(left)} plugins are not as they should be, among them {left.popitem()}")
            time.sleep(poll_seconds)

    def _request(self, method: str, path: str, other: int = http.HTTPStatus.OK) -> bytes:
        self._connection.request(method, path, headers={"Authorization": f"Bearer {ADMIN_CODE}"})
        response = self._connection.getresponse()
        body = response.read()
        if response.status not in (http.HTTPStatus.OK, other):
            raise RuntimeError(f"cannot measure {method} {path}: the response was {response.status} {body!r}")
        return body


class PlugvisorStack(Supervisord):
    """`plugvisor up` in a folder of its own."""

    def __init__(
        self, root: Path, manifests: Mapping[str, str], prepare: Callable[[Path], object], environ: Mapping[str, str]
    ) -> None:
        self.port = find_free_port()
        self.log_path = root / "run" / "log" / "_supervisord.log"
        self.state_stream_path = root / "run" / "state.sock"
        self._plugins_dir = root / "plugins"
        self._plugins_dir.mkdir()
        self._output_path = root / "up.log"
        for name, manifest in manifests.items():
            self._write_manifest(name, manifest)
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": os.environ.get("HOME", "/"),
            "LANG": "C.UTF-8",
            "PLUGVISOR_PORT": str(self.port),
            "PLUGVISOR_PLUGINS_DIR": str(self._plugins_dir),
            "PLUGVISOR_RUN_DIR": str(root / "run"),
            "PLUGVISOR_STATE_DIR": str(root / "state"),
            "PLUGVISOR_ADMIN_CODE": ADMIN_CODE,
            **environ,
        }
        (root / "state").mkdir(mode=0o700)
        prepare(root / "state")
        self._began = time.monotonic()
        with self._output_path.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "plugvisor", "up"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        super().__init__(process, root / "run" / "supervisor.sock", list(manifests))

    @property
    def service_pid(self) -> int:
        """The service's process id."""
        return self.read_pid("plugvisor")

    def wait_until_up(self) -> tuple[float, float]:
        """Wait for the start; returns the seconds until the API's first 200, and until every plugin is running."""
        client = self.connect_to_api()
        first_response_seconds = self.read_seconds()
        client.wait_until_running()
        return first_response_seconds, self.read_seconds()

    def read_seconds(self) -> float:
        """The seconds since `plugvisor up` was started."""
        return time.monotonic() - self._began

    def connect_to_api(self) -> ApiClient:
        """Wait for the API's first 200."""
        deadline = time.monotonic() + START_SECONDS
        client = ApiClient(self.port)
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException, RuntimeError):
                client.get("/plugin/status")
                return client
            client = ApiClient(self.port)
            self.check_alive(deadline)
            time.sleep(POLL_SECONDS)

    def check_alive(self, deadline: float) -> None:
        """Raise `TimeoutError`, with what `plugvisor up` printed."""
        try:
            super().check_alive(deadline)
        except TimeoutError as error:
            raise TimeoutError(f"{error}:\n{self._output_path.read_text()}") from error

    def change_program(self, name: str, stopwaitsecs: int = 10) -> None:
        """Write a plugin's manifest."""
        self._write_manifest(name, make_manifest(name, stopwaitsecs=stopwaitsecs))

    def _write_manifest(self, name: str, manifest: str) -> None:
        folder = self._plugins_dir / name
        folder.mkdir(exist_ok=True)
        (folder / "plugin.toml").write_text(manifest)


def make_manifest(
    name: str,
    command: Sequence[str] = COMMAND,
    tables: str = "",
    *,
    startsecs: int | None = None,
    stopwaitsecs: int = 10,
    auto_start: bool = True,
    restart: str = "restart.delay = 0",
) -> str:
    """A plugin's manifest.

    Args:
        tables: more of it.
        restart: its restart policy: at once, as supervisord restarts without Plugvisor; empty for the default.
    """
    return _MANIFEST.format(
        name=name,
        command=json.dumps(command),
        auto_start=str(auto_start).lower(),
        startsecs=get_startsecs(name) if startsecs is None else startsecs,
        stopwaitsecs=stopwaitsecs,
        restart=restart,
        tables=tables,
    )


@contextlib.contextmanager
def start_plugvisor(
    manifests: Mapping[str, str], prepare: Callable[[Path], object] = lambda _folder: None, **environ: str
) -> Iterator[PlugvisorStack]:
    """Plugvisor with these plugins, being started; all of it is ended afterwards.

    Args:
        prepare: called with the folder of the store before the start.
        environ: more settings.
    """
    root = Path(tempfile.mkdtemp(prefix="pv-"))  # short: a Unix socket's path has at most 107 bytes
    try:
        stack = PlugvisorStack(root, manifests, prepare, environ)
        try:
            yield stack
        finally:
            stack.end()
    finally:
        shutil.rmtree(root, ignore_errors=True)


@contextlib.contextmanager
def run_plugvisor(count: int) -> Iterator[PlugvisorStack]:
    """Plugvisor with that many running plugins; all of it is ended afterwards."""
    with start_plugvisor(make_manifests(count)) as stack:
        stack.wait_until_up()
        yield stack


def make_manifests(count: int, tables: str = "") -> dict[str, str]:
    """The manifests of that many light plugins."""
    return {name: make_manifest(name, tables=tables) for name in name_plugins(count)}


def find_free_port() -> int:
    """A port on which nothing listens."""
    with socket.create_server((HOST, 0)) as server:
        port: int = server.getsockname()[1]
    return port


_MANIFEST = """\
[plugin]
id = "{name}"
name = "Plugin {name}"
version = "1.0.0"
description = "A light process that sleeps."
command = {command}
[plugin_runtime]
auto_start = {auto_start}
{restart}
[plugin_runtime.supervisor]
startsecs = {startsecs}
stopwaitsecs = {stopwaitsecs}
{tables}"""
