"""A Plugvisor of its own for one plugin, in temporary folders, and its end."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from plugvisor.cli.client import Client, NoAnswer
from plugvisor.errors import CommandRejected, ConfigurationError
from plugvisor.models.manifest import FILE_NAME

_KEPT = ("PLUGVISOR_RUNNER",)
"""The settings that concern how a plugin is run; all others would be those of another Plugvisor."""
END_SECONDS = 30.0
_PORTS = range(10_000, 18_000)
"""Below those that systems give to clients: one of them could take the port before the service does."""
_MOST_PORTS_TRIED = 100
_OUTPUT_CHARACTERS = 4000
_PR_SET_PDEATHSIG = 1


class DevStack:
    """`plugvisor up` as a child of this process, from `start` to `end`.

    Args:
        folder: of the plugin.
        others: a folder of plugins that it may depend on.
        port: of the service; 0 for a free one.
    """

    def __init__(self, folder: Path, others: Path | None, port: int) -> None:
        found = _list_plugins(others) if others is not None else []
        self.root = Path(tempfile.mkdtemp(prefix="plugvisor-dev-"))
        plugins_dir = self.root / "plugins"
        plugins_dir.mkdir()
        name = folder.name.lstrip("._") or "plugin"  # others are nobody's plugin
        linked = plugins_dir / name
        linked.symlink_to(folder)
        for other in found:
            if other.resolve() != folder and other.name != name:
                (plugins_dir / other.name).symlink_to(other.resolve())
        self.port = port or find_free_port()
        self.environ = {
            **{key: value for key, value in os.environ.items() if not key.startswith("PLUGVISOR_") or key in _KEPT},
            "PLUGVISOR_HOST": "127.0.0.1",
            "PLUGVISOR_PORT": str(self.port),
            "PLUGVISOR_PLUGINS_DIR": str(plugins_dir),
            "PLUGVISOR_RUN_DIR": str(self.root / "run"),
            "PLUGVISOR_STATE_DIR": str(self.root / "state"),
            "PLUGVISOR_DEV_FOLDER": str(linked),
        }
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The service's address."""
        return f"http://127.0.0.1:{self.port}"

    def find_log(self, plugin_id: str) -> Path:
        """The plugin's log."""
        return self.root / "run" / "log" / f"{plugin_id}.log"

    def start(self) -> None:
        """Begin to start it."""
        with self._output.open("wb") as output:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "plugvisor", "up"],
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for this process alone, which then ends that one
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - there are no threads yet
            )

    def connect(self) -> Client | None:
        """A client, once the service answers.

        Raises:
            ConfigurationError: everything has ended.
        """
        self.check()
        with contextlib.suppress(NoAnswer, CommandRejected, ConfigurationError):
            client = Client.from_env(self.environ)
            if client.has_token:  # else the admin code may have been written since, and only this call needs none
                client.call("GET", "/plugin/status")
                return client
        return None

    def check(self) -> None:
        """Raise `ConfigurationError` if everything has ended."""
        if self._child is not None and self._child.poll() is not None:
            raise ConfigurationError(f"cannot go on: Plugvisor has ended:\n{self._read_output()}")

    def begin_end(self) -> None:
        """Begin to end everything."""
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)

    @property
    def has_ended(self) -> bool:
        """Whether nothing runs any more."""
        return self._child is None or self._child.poll() is not None

    def kill(self) -> None:
        """End everything at once; supervisord ends the plugin's processes as it can."""
        if self._child is not None and self._child.poll() is None:
            _kill_session(self._child.pid)
            self._child.wait()

    def remove(self) -> None:
        """Remove the temporary folders."""
        shutil.rmtree(self.root, ignore_errors=True)

    @property
    def _output(self) -> Path:
        return self.root / "up.log"

    def _read_output(self) -> str:
        try:
            return self._output.read_text(errors="replace")[-_OUTPUT_CHARACTERS:]
        except OSError:
            return ""


def _list_plugins(folder: Path) -> list[Path]:
    """The folders of plugins in a folder; raises `ConfigurationError`."""
    try:
        return sorted(path for path in folder.iterdir() if (path / FILE_NAME).exists())
    except OSError as error:
        raise ConfigurationError(f"cannot read the folder {str(folder)!r}: {error.strerror}") from error


def find_free_port() -> int:
    """A port of the loopback interface that nobody listens on now; raises `ConfigurationError`."""
    for port in random.sample(_PORTS, _MOST_PORTS_TRIED):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise ConfigurationError("cannot find a free port: name one with --port")


def find_start(pid: int) -> float:
    """When a process was started, in seconds since 1970; 0 if it is gone."""
    import psutil  # noqa: PLC0415 - it takes a while

    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
        # the time at which the system was started is known in whole seconds alone
        return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))
    except OSError:
        with contextlib.suppress(psutil.Error):
            return psutil.Process(pid).create_time()
        return 0.0


def _end_with_parent() -> None:
    """Have the kernel end this process as SIGTERM does if its parent is killed (Linux)."""
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 - in the child alone

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _kill_session(leader: int) -> None:
    """Kill every process that supervisord has started, and supervisord itself."""
    import psutil  # noqa: PLC0415 - few need it

    with contextlib.suppress(psutil.Error):
        process = psutil.Process(leader)
        process.suspend()  # it would start others
        for child in process.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
    with contextlib.suppress(OSError):
        os.kill(leader, signal.SIGKILL)
