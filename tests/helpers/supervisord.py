"""A real supervisord with the extension and without the service, plugins for it, and a reader of its state stream."""

from __future__ import annotations

import contextlib
import http.client
import io
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

from plugvisor.engines.supervisord.extension.generated import GENERATED
from plugvisor.engines.supervisord.extension.processes.launch_file import Launch
from supervisor import supervisorctl
from supervisor.options import ClientOptions
from supervisor.supervisorctl import Controller

from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.processes import find_processes, is_alive
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED, FATAL, UNKNOWN = 0, 10, 20, 30, 40, 100, 200, 1000
AT_ONCE = {"delay": 0.0}
"""A restart policy without delays."""
EXTENSION = "plugvisor.engines.supervisord.extension.rpcinterface"

_CONFIGURATION = """\
[supervisord]
nodaemon=true
pidfile={root}/supervisord.pid
logfile={root}/supervisord.log
childlogdir={root}
minprocs=1
environment=OF_SUPERVISORD="1"
{supervisord}
[unix_http_server]
file={root}/rpc.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[rpcinterface:plugins]
supervisor.rpcinterface_factory={factory}:make_rpcinterface
stream={root}/state.sock
programs={root}/conf.d
{extension}
[supervisorctl]
serverurl=unix://{root}/rpc.sock
{more}
[include]
files={root}/conf.d/*.conf
"""


class InternalError(Exception):
    """supervisord answered a call with something other than HTTP 200."""


class RpcClient:
    """Calls XML-RPC methods over one connection that is kept, as the service does."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: http.client.HTTPConnection | None = None

    def __call__(self, method: str, *parameters: Any) -> Any:
        """What a method returns; raises `xmlrpc.client.Fault`, `InternalError`, or OSError if nobody listens."""
        body = xmlrpc.client.dumps(parameters, method).encode("utf-8", "surrogateescape")
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
            connection = http.client.HTTPConnection("127.0.0.1", timeout=DEADLINE_SECONDS)
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


class StreamReader:
    """Reads the state stream in a thread and keeps every line, with the time at which it came."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(DEADLINE_SECONDS)
        wait_for(lambda: self._connect(path), "room among the connections that are not accepted yet")
        self.socket.settimeout(None)
        self.lines: list[tuple[float, dict[str, Any]]] = []
        self.is_closed = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _connect(self, path: Path) -> bool:
        with contextlib.suppress(BlockingIOError):
            self.socket.connect(str(path))
            return True
        return False

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError), self.socket.makefile("rb") as file:
            for line in file:
                self.lines.append((time.monotonic(), json.loads(line)))
        self.is_closed = True

    @property
    def messages(self) -> list[dict[str, Any]]:
        """Every line, without the heartbeats."""
        return [message for _, message in list(self.lines) if message["type"] != "heartbeat"]

    @property
    def processes(self) -> dict[str, dict[str, Any]] | None:
        """Everyone's process as a reader knows it now; None before the snapshot."""
        processes: dict[str, dict[str, Any]] | None = None
        for message in self.messages:
            if message["type"] == "snapshot":
                processes = {process["name"]: process for process in message["processes"]}
            elif processes is not None and message["type"] == "process":
                processes[message["process"]["name"]] = message["process"]
            elif processes is not None:
                processes.pop(message["name"], None)
        return processes

    def list_states(self, name: str, since: int = 0) -> list[int]:
        """Every state of a program that was reported after so many messages, in order."""
        return [
            message["process"]["state"]
            for message in self.messages[since:]
            if message["type"] == "process" and message["process"]["name"] == name
        ]

    def wait_for(self, name: str, seconds: float = DEADLINE_SECONDS, **fields: Any) -> dict[str, Any]:
        """Wait until a program is reported with these values; returns all that is reported of it."""

        def find() -> dict[str, Any] | None:
            process = (self.processes or {}).get(name, {})
            return process if fields.items() <= process.items() else None

        process: dict[str, Any] = wait_for(find, f"{name} to be {fields}", seconds)
        return process

    def wait_for_report(self, name: str, **fields: Any) -> dict[str, Any]:
        """Wait for a report of a program with these values, which may be over by now; returns the first one."""

        def list_reports() -> Iterator[dict[str, Any]]:
            for message in self.messages:
                if message["type"] == "snapshot":
                    yield from message["processes"]
                elif message["type"] == "process":
                    yield message["process"]

        def find() -> dict[str, Any] | None:
            wanted = fields | {"name": name}
            return next((process for process in list_reports() if wanted.items() <= process.items()), None)

        process: dict[str, Any] = wait_for(find, f"a report of {name} with {fields}")
        return process

    def close(self) -> None:
        """Hang up."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(DEADLINE_SECONDS)
        self.socket.close()


class _ClientOptions(ClientOptions):  # type: ignore[misc] # supervisor has no type hints
    """supervisorctl's options; its connections can be closed."""

    def __init__(self) -> None:
        super().__init__()
        self._proxies: list[Any] = []

    def getServerProxy(self) -> Any:  # noqa: N802 - supervisor's name
        self._proxies.append(super().getServerProxy())
        return self._proxies[-1]

    def close(self) -> None:
        """Close the connections."""
        for proxy in self._proxies:
            proxy("close")()


class Supervisord:
    """One supervisord under test: write programs, `start()`, then talk to it."""

    def __init__(
        self, root: Path, factory: str = EXTENSION, *, supervisord: str = "", extension: str = "", more: str = ""
    ) -> None:
        """Args: `supervisord` and `extension` are more options of these sections, `more` are more sections."""
        self.root = root
        for folder in ("conf.d", "launch"):
            (root / folder).mkdir()
        text = _CONFIGURATION.format(
            root=root, factory=factory, supervisord=supervisord, extension=extension, more=more
        )
        (root / "supervisord.conf").write_text(text)
        self.process: subprocess.Popen[bytes] | None = None
        self.readers: list[StreamReader] = []
        self.rpc = RpcClient(root / "rpc.sock")

    # -- programs

    def write_plugin(
        self,
        name: str,
        code: str = OBEDIENT,
        *,
        arguments: Sequence[str] | None = None,
        environment: dict[str, str] | None = None,
        environment_files: dict[str, str] | None = None,
        directory: str | None = None,
        restart: Mapping[str, float] | None = None,
        critical: bool = False,
        checks: dict[str, list[str]] | None = None,
        limits: dict[str, float] | None = None,
        depends_on: Sequence[str] = (),
        **options: object,
    ) -> Path:
        """Write a plugin's launch file and its section, which never starts by itself; returns the section's file.

        Args:
            arguments: what is executed instead of `code`.
            restart: the values of its restart policy that are not the default.
            checks: the commands of its `exec` checks.
            options: supervisord's.
        """
        script = self.root / f"{name}.py"
        script.write_text(code)
        launch = Launch(
            directory or str(self.root),
            list(arguments) if arguments else [sys.executable, "-I", "-S", str(script)],
            environment or {},
            ["PATH"],
            restart=dict(restart or {}),
            critical=critical,
            checks=checks or {},
            limits=limits or {},
            depends_on=list(depends_on),
            environment_files=environment_files or {},
        )
        (self.root / "launch" / f"{name}.sh").write_bytes(launch.render(sys.executable))
        values: dict[str, object] = {
            "command": f"/bin/sh {self.root}/launch/{name}.sh",
            "stopasgroup": "true",
            "killasgroup": "true",
            "autostart": "false",
            "autorestart": "false",
        }
        return self.write_program(name, head=f"{GENERATED}\n", **values | options)

    def write_program(self, name: str, *, kind: str = "program", head: str = "", **options: object) -> Path:
        """Write a program's section; without more it runs the same code as a plugin, but is no plugin."""
        path = self.root / "conf.d" / f"{name}.conf"
        values: dict[str, object] = {"command": f"{sys.executable} -I -S {self.root}/{name}.py", "startsecs": 0}
        values |= {"stopwaitsecs": 20, "stdout_logfile": self.root / f"{name}.log", "redirect_stderr": "true"}
        values |= options
        new = path.with_suffix(".new")
        lines = [f"{option}={value}\n" for option, value in values.items() if value != ""]
        new.write_text(f"{head}[{kind}:{name}]\n" + "".join(lines))
        new.rename(path)
        return path

    # -- the life of it

    def start(self, **environ: str) -> None:
        """Start supervisord and wait until it answers."""
        with (self.root / "output").open("ab") as output:
            self.process = subprocess.Popen(
                [*self.command, "-c", str(self.root / "supervisord.conf")],
                env={**os.environ, "PYTHONPATH": str(self.root), **environ},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        wait_for(self.answers, f"supervisord; {self.root}/output")

    command: Sequence[str] = (sys.executable, "-m", "plugvisor.engines.supervisord.extension")

    def answers(self) -> bool:
        """Whether it answers calls and has begun to run programs."""
        assert self.is_up, (self.root / "output").read_text()
        with contextlib.suppress(OSError, xmlrpc.client.Fault):  # it is beginning anew
            return bool(self.rpc("supervisor.getState")["statename"] == "RUNNING")
        return False

    @property
    def pid(self) -> int:
        """supervisord's process id."""
        assert self.process is not None
        return self.process.pid

    @property
    def is_up(self) -> bool:
        """Whether supervisord is alive."""
        return self.process is not None and self.process.poll() is None

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it with a signal; returns its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_SECONDS)

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
        self.close_readers()
        self.rpc.close()
        return left

    # -- talking to it

    def add(self, name: str, code: str = OBEDIENT, **options: Any) -> str:
        """Write a plugin and add it to the running supervisord; returns its name."""
        self.write_plugin(name, code, **options)
        self.rpc("plugins.add", name)
        return name

    def start_ready(self, name: str, method: str = "plugins.start") -> int:
        """Start a program and wait until it has printed "ready"; returns its pid."""
        before = self.count_ready(name)
        self.rpc(method, name)
        wait_for(lambda: self.count_ready(name) > before, f"{name} to be ready")
        return self.states[name][1]

    def stop_plugin(self, name: str) -> None:
        """Stop a plugin and wait until nothing of it is left."""
        if self.fault("plugins.stop", name) is None:
            self.wait_until_gone(name)

    def wait_until_gone(self, name: str) -> None:
        """Wait until a plugin has neither a process nor orphans."""
        wait_for(lambda: (process := self.describe(name))["pid"] == 0 and not process["orphans"], f"{name} to be gone")

    def remove(self, name: str) -> None:
        """Stop a plugin and remove it, if it is there; its files too."""
        (self.root / "conf.d" / f"{name}.conf").unlink(missing_ok=True)
        while self.fault("plugins.remove", name) == "STILL_RUNNING":
            self.fault("plugins.stop", name)
        for file in self.root.glob(f"{name}.*"):
            file.unlink()

    def fault(self, method: str, *parameters: Any) -> str | None:
        """The name of the fault that a call ends with; None if it succeeds."""
        try:
            self.rpc(method, *parameters)
        except xmlrpc.client.Fault as fault:
            return fault.faultString.partition(":")[0]
        return None

    def ctl(self, *arguments: str) -> str:
        """What supervisorctl prints."""
        output = io.StringIO()
        options = _ClientOptions()
        options.realize(["-c", str(self.root / "supervisord.conf"), *arguments], doc=supervisorctl.__doc__)
        try:
            Controller(options, stdout=output).onecmd(" ".join(options.args))
        finally:
            options.close()
        return output.getvalue()

    @property
    def states(self) -> dict[str, tuple[int, int]]:
        """State and pid of each program, as supervisord itself reports them."""
        return {info["name"]: (info["state"], info["pid"]) for info in self.rpc("supervisor.getAllProcessInfo")}

    def describe(self, name: str) -> dict[str, Any]:
        """A program as the state stream's snapshot has it."""
        reader = StreamReader(self.root / "state.sock")
        try:
            processes = wait_for(lambda: reader.processes, "the snapshot")
        finally:
            reader.close()
        process: dict[str, Any] = processes[name]
        return process

    def follow(self, *, synced: bool = True) -> StreamReader:
        """Read the state stream; `synced` waits for the snapshot."""
        reader = StreamReader(self.root / "state.sock")
        self.readers.append(reader)
        if synced:
            wait_for(lambda: reader.processes is not None, "the snapshot")
        return reader

    def close_readers(self) -> None:
        """Close every reader's connection."""
        while self.readers:
            self.readers.pop().close()

    # -- looking at it

    def find(self, name: str) -> list[int]:
        """The living processes of a plugin, by process tag or by the script that they run."""
        tag, script = f"PLUGVISOR_PLUGIN={self.root}:{name}:".encode(), str(self.root / f"{name}.py").encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                is_its = tag in (process / "environ").read_bytes() or script in (process / "cmdline").read_bytes()
                if is_its and is_alive(int(process.name)):
                    found.append(int(process.name))
        return sorted(found)

    def read_output(self, name: str) -> str:
        """What a program has printed."""
        path = self.root / f"{name}.log"
        return path.read_text(errors="surrogateescape") if path.exists() else ""

    def count_ready(self, name: str) -> int:
        """How often a program has printed that it is ready."""
        return self.read_output(name).count("ready")

    @property
    def log(self) -> str:
        """supervisord's own log."""
        return (self.root / "supervisord.log").read_text()

    def count_descriptors(self) -> int:
        """How many files supervisord has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def read_resident_kilobytes(self) -> int:
        """How much memory supervisord has."""
        [line] = [line for line in Path(f"/proc/{self.pid}/status").read_text().splitlines() if "VmRSS" in line]
        return int(line.split()[1])


@contextlib.contextmanager
def make_supervisord(factory: str = EXTENSION, **options: Any) -> Iterator[Supervisord]:
    """A supervisord that is not started yet; afterwards nothing of it is left. `options` are the constructor's."""
    root = Path(tempfile.mkdtemp(prefix="pv-"))  # a Unix socket's path must be short
    supervisord = Supervisord(root, factory, **options)
    try:
        yield supervisord
    finally:
        left = supervisord.close()
        log = (root / "supervisord.log").read_text()[-4000:] if (root / "supervisord.log").exists() else ""
        shutil.rmtree(root, ignore_errors=True)
    assert not left, f"processes were left behind: {left}\n{log}"
