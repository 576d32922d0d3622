"""A real supervisord with our extension and nothing else of Plugvisor's, for tests of the extension itself."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import xmlrpc.client
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.conftest import DEADLINE_SECONDS, OBEDIENT, find_free_port, find_processes, is_alive, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

Picture = dict[str, tuple[int, int]]
"""State and pid of each program."""
SILENCE_SECONDS = 2.5
"""Who hears nothing for so long knows that the stream tells nothing; the board waits for less."""

STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED, FATAL = 0, 10, 20, 30, 40, 100, 200

CONFIGURATION = """\
[supervisord]
nodaemon=true
pidfile={root}/supervisord.pid
logfile={root}/supervisord.log
childlogdir={root}
minprocs=1
environment=OF_SUPERVISORD="1"
[unix_http_server]
file={root}/rpc.sock
{more}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[rpcinterface:plugins]
supervisor.rpcinterface_factory={factory}:make_rpcinterface
stream={root}/state.sock
programs={root}/conf.d
[supervisorctl]
serverurl=unix://{root}/rpc.sock
[include]
files={root}/conf.d/*.conf
"""


class InternalError(Exception):
    """supervisord answered a call with something other than HTTP 200."""


class Caller:
    """Calls XML-RPC methods over one connection that is kept, as the service does."""

    def __init__(self, path: Path | None = None, port: int = 0) -> None:
        """Args: the Unix socket's path, or the TCP port."""
        self._path, self._port = path, port
        self._connection: http.client.HTTPConnection | None = None

    def __call__(self, method: str, *parameters: Any) -> Any:
        """What a method returns; raises `xmlrpc.client.Fault`, `InternalError`, or OSError where nobody is there."""
        body = xmlrpc.client.dumps(parameters, method).encode()
        try:
            status, text = self._post(body)
        except (OSError, http.client.HTTPException):
            self.close()
            status, text = self._post(body)  # it had closed the kept connection meanwhile
        if status != 200:
            raise InternalError(f"{method}: HTTP {status}")
        [value], _ = xmlrpc.client.loads(text)
        return value

    def _post(self, body: bytes) -> tuple[int, bytes]:
        if self._connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=DEADLINE_SECONDS)
            if self._path is not None:
                connection.sock = socket.socket(socket.AF_UNIX)
                connection.sock.settimeout(DEADLINE_SECONDS)
                try:
                    connection.sock.connect(str(self._path))
                except OSError:
                    connection.close()
                    raise
            self._connection = connection
        self._connection.request("POST", "/RPC2", body, {"Content-Type": "text/xml"})
        response = self._connection.getresponse()
        return response.status, response.read()

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Follower:
    """Reads the state stream in a thread and keeps every line, with the time at which it came."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(DEADLINE_SECONDS)
        self.socket.connect(str(path))
        self.socket.settimeout(None)
        self.lines: list[tuple[float, dict[str, Any]]] = []
        self.is_closed = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError), self.socket.makefile("rb") as file:
            for line in file:
                self.lines.append((time.monotonic(), json.loads(line)))
        self.is_closed = True

    @property
    def messages(self) -> list[dict[str, Any]]:
        """What was told, without the heartbeats."""
        return [message for _, message in list(self.lines) if message["type"] != "heartbeat"]

    @property
    def picture(self) -> dict[str, dict[str, Any]] | None:
        """Everyone's process as a reader knows it now; None before the snapshot."""
        picture: dict[str, dict[str, Any]] | None = None
        for message in self.messages:
            if message["type"] == "snapshot":
                picture = {process["name"]: process for process in message["processes"]}
            elif picture is not None and message["type"] == "process":
                picture[message["process"]["name"]] = message["process"]
            elif picture is not None:
                picture.pop(message["name"], None)
        return picture

    @property
    def states(self) -> Picture | None:
        """The picture, as `Lone.states` tells it."""
        picture = self.picture
        return None if picture is None else {name: (told["state"], told["pid"]) for name, told in picture.items()}

    @property
    def is_silent(self) -> bool:
        """Whether nothing at all has come for so long that a reader must ask supervisord."""
        return not self.lines or time.monotonic() - self.lines[-1][0] > SILENCE_SECONDS

    def wait_for(self, name: str, seconds: float = DEADLINE_SECONDS, **fields: Any) -> dict[str, Any]:
        """Wait until a program is told to have these values now; returns all that is told of it."""

        def look() -> dict[str, Any] | None:
            told = (self.picture or {}).get(name, {})
            return told if fields.items() <= told.items() else None

        told: dict[str, Any] = wait_for(look, f"{name} to be {fields}", seconds)
        return told

    def close(self) -> None:
        """Hang up."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(DEADLINE_SECONDS)
        self.socket.close()


class Lone:
    """One supervisord under test: `add` programs, `start()`, then talk to it."""

    def __init__(
        self, root: Path, factory: str = "plugvisor.engines.supervisord.extension.rpcinterface", *, tcp: bool = False
    ) -> None:
        self.root = root
        self.port = find_free_port() if tcp else None
        more = f"[inet_http_server]\nport=127.0.0.1:{self.port}\n" if tcp else ""
        (root / "conf.d").mkdir()
        (root / "supervisord.conf").write_text(CONFIGURATION.format(root=root, factory=factory, more=more))
        self.process: subprocess.Popen[bytes] | None = None
        self.followers: list[Follower] = []
        self.rpc = Caller(root / "rpc.sock")

    def add(self, name: str, code: str = OBEDIENT, **options: object) -> Path:
        """Write a program's file; supervisord reads it when it starts, or when it is told to."""
        script, path = self.root / f"{name}.py", self.root / "conf.d" / f"{name}.conf"
        script.write_text(code)
        values: dict[str, object] = {"command": f"{sys.executable} {script}", "startsecs": 0, "stopwaitsecs": 20}
        values |= {"stdout_logfile": self.root / f"{name}.log", "redirect_stderr": "true", **options}
        lines = "".join(f"{option}={value}\n" for option, value in values.items())
        path.write_text(f"[program:{name}]\n{lines}")
        return path

    def count_ready(self, name: str) -> int:
        """How often a program has printed that it is ready."""
        path = self.root / f"{name}.log"
        return path.read_text().count("ready") if path.exists() else 0

    def start_ready(self, name: str) -> int:
        """Start a program and wait until it is ready; returns its pid."""
        before = self.count_ready(name)
        assert self.rpc("supervisor.startProcess", name) is True
        wait_for(lambda: self.count_ready(name) > before, f"{name} to be ready")
        return self.states[name][1]

    def start(self, **environ: str) -> None:
        """Start supervisord and wait until it answers."""
        with (self.root / "output").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "supervisor.supervisord", "-c", str(self.root / "supervisord.conf")],
                env={**os.environ, "PYTHONPATH": f"{Path(__file__).parents[2]}:{self.root}", **environ},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        wait_for(self._answers, f"supervisord; {(self.root / 'output').read_text()}")

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            return self.rpc("supervisor.getState")["statename"] == "RUNNING"
        return False

    @property
    def pid(self) -> int:
        """supervisord's process id."""
        assert self.process is not None
        return self.process.pid

    @property
    def is_up(self) -> bool:
        """Whether supervisord lives."""
        return self.process is not None and self.process.poll() is None

    def fault(self, method: str, *parameters: Any) -> str | None:
        """The name of the fault that a call ends with, None where it ends well."""
        try:
            self.rpc(method, *parameters)
        except xmlrpc.client.Fault as fault:
            return fault.faultString.partition(":")[0]
        return None

    def ctl(self, *arguments: str) -> str:
        """What supervisorctl prints."""
        command = [sys.executable, "-m", "supervisor.supervisorctl", "-c", str(self.root / "supervisord.conf")]
        return subprocess.run(
            [*command, *arguments], capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False
        ).stdout

    @property
    def states(self) -> Picture:
        """The truth, as supervisord itself tells it."""
        return {info["name"]: (info["state"], info["pid"]) for info in self.rpc("supervisor.getAllProcessInfo")}

    def find(self, name: str) -> list[int]:
        """The living processes of a program and their children."""
        script = str(self.root / f"{name}.py")
        found = []
        for pid in find_processes(self.root):
            with contextlib.suppress(OSError):
                if script in Path(f"/proc/{pid}/cmdline").read_text():
                    found.append(pid)
        return found

    def follow(self, *, synced: bool = True) -> Follower:
        """Read the state stream; `synced` waits for the snapshot."""
        follower = Follower(self.root / "state.sock")
        self.followers.append(follower)
        if synced:
            wait_for(lambda: follower.picture is not None, "the snapshot")
        return follower

    def hang_up(self) -> None:
        """Close every follower's connection."""
        while self.followers:
            self.followers.pop().close()

    @property
    def log(self) -> str:
        """supervisord's own log."""
        return (self.root / "supervisord.log").read_text()

    def count_descriptors(self) -> int:
        """How many files supervisord has open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def read_resident_kilobytes(self) -> int:
        """How much memory supervisord has."""
        [line] = [line for line in Path(f"/proc/{self.pid}/status").read_text().splitlines() if "VmRSS" in line]
        return int(line.split()[1])

    def stop(self, seconds: float = DEADLINE_SECONDS) -> int:
        """End it with SIGTERM; returns its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def close(self) -> list[int]:
        """End it, kill what is left, and return the pids of that."""
        if self.is_up:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.stop()
        left = find_processes(self.root)
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not any(is_alive(pid) for pid in left))
        if self.process is not None:
            self.process.wait(DEADLINE_SECONDS)
        self.hang_up()
        self.rpc.close()
        return left


@contextlib.contextmanager
def make_lone(
    factory: str = "plugvisor.engines.supervisord.extension.rpcinterface", *, tcp: bool = False
) -> Iterator[Lone]:
    """A supervisord that is not started yet; afterwards nothing of it is left."""
    root = Path(tempfile.mkdtemp(prefix="pv-"))  # a Unix socket's path must be short
    lone = Lone(root, factory, tcp=tcp)
    try:
        yield lone
    finally:
        left = lone.close()
        log = (root / "supervisord.log").read_text()[-4000:] if (root / "supervisord.log").exists() else ""
        shutil.rmtree(root, ignore_errors=True)
    assert not left, f"processes were left behind: {left}\n{log}"
