"""A supervisord that runs light processes, with Plugvisor or without."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
import xmlrpc.client
from typing import TYPE_CHECKING, Any

from plugvisor.models.process import ProcessState
from supervisor.xmlrpc import SupervisorTransport

from benchmarks.machine import read_children, read_name, wait_until_gone

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence
    from pathlib import Path

COMMAND = ("sleep", "1000000")
INSTANT_PLUGIN = "p0000"
"""It counts as running as soon as it is spawned: startsecs is 0."""
DEFAULT_PLUGIN = "p0001"
"""It has every option at its default; startsecs is 1."""

START_SECONDS = 120.0
STOP_SECONDS = 60.0
POLL_SECONDS = 0.002


def name_plugins(count: int) -> list[str]:
    """The ids of that many plugins."""
    return [f"p{number:04}" for number in range(count)]


def get_startsecs(name: str) -> int:
    """The seconds after which a program counts as running."""
    return 0 if name == INSTANT_PLUGIN else 1


class Supervisord:
    """A supervisord and its programs."""

    def __init__(self, process: subprocess.Popen[bytes], socket_path: Path, names: Sequence[str]) -> None:
        self.process = process
        self.names = names
        self.socket_path = socket_path
        self.server = self.connect()

    def connect(self) -> Any:
        """supervisord's XML-RPC server over a connection of its own, by supervisor's own client."""
        transport = SupervisorTransport("", "", f"unix://{self.socket_path}")
        return xmlrpc.client.ServerProxy("http://127.0.0.1", transport)

    @property
    def pid(self) -> int:
        """supervisord's process id."""
        return self.process.pid

    def read_pid(self, name: str) -> int:
        """The process id of a program; 0 if it has none."""
        pid: int = self.server.supervisor.getProcessInfo(name)["pid"]
        return pid

    def wait_for_exec(self, name: str) -> int:
        """Wait until a program's process has executed its command; returns its pid.

        A supervisord without the extension may lose a SIGTERM that it sends earlier.
        """
        deadline = time.monotonic() + START_SECONDS
        while read_name(pid := self.read_pid(name)) != COMMAND[0]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} does not run")
            time.sleep(POLL_SECONDS)
        return pid

    def wait_until_running(self) -> None:
        """Wait until every program is RUNNING."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                infos = self.server.supervisor.getAllProcessInfo()
                running = {info["name"] for info in infos if info["state"] == ProcessState.RUNNING}
                if running.issuperset(self.names):
                    return
            except OSError:  # it does not listen yet, and supervisor's client does not connect twice
                self.server = self.connect()
            self.check_alive(deadline)
            time.sleep(0.1)

    def check_alive(self, deadline: float) -> None:
        """Raise `TimeoutError` if supervisord has ended, or the time on the monotonic clock is past."""
        if self.process.poll() is not None or time.monotonic() > deadline:
            raise TimeoutError(f"supervisord {self.pid} does not run all of its programs")

    def find_pids(self) -> list[int]:
        """supervisord's process and those of all of its programs, which are its children."""
        return [self.pid, *read_children(self.pid)]

    def terminate(self) -> float:
        """Send supervisord SIGTERM and do nothing else; returns the seconds until every process is gone."""
        pids = self.find_pids()
        began = time.monotonic()
        self.process.terminate()
        while self.process.poll() is None:
            if time.monotonic() > began + STOP_SECONDS:
                raise TimeoutError("supervisord does not end")
            time.sleep(POLL_SECONDS)
        wait_until_gone(pids, STOP_SECONDS)
        return time.monotonic() - began

    def end(self) -> None:
        """End every process quickly, whatever state it is in; does nothing after `terminate`."""
        if self.process.poll() is not None:
            return
        pids = self.find_pids()
        try:
            self.process.terminate()  # first, or it would start again what is killed next
            for pid in pids[1:]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            deadline = time.monotonic() + STOP_SECONDS
            while self.process.poll() is None and time.monotonic() < deadline:
                self._wake()
                time.sleep(0.005)
        finally:
            self.process.kill()
            self.process.wait()
            wait_until_gone(pids, STOP_SECONDS)

    def _wake(self) -> None:
        """Make supervisord's main loop run at once; without the extension it runs once a second."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.socket_path))
