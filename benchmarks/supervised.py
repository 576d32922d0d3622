"""A supervisord that runs light processes: Plugvisor's (`ours`) or a stock one (`stock`)."""

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
QUICK = "p0000"
"""Counts as running at once: startsecs is 0."""
ORDINARY = "p0001"
"""Has every option at its default; startsecs is 1."""

START_SECONDS = 120.0
STOP_SECONDS = 60.0


def name_plugins(count: int) -> list[str]:
    """The ids of so many plugins."""
    return [f"p{number:04}" for number in range(count)]


def get_startsecs(name: str) -> int:
    """The seconds after which a program counts as running."""
    return 0 if name == QUICK else 1


class Supervised:
    """A supervisord and its programs."""

    def __init__(self, process: subprocess.Popen[bytes], socket_path: Path, names: Sequence[str]) -> None:
        self.process = process
        self.names = names
        self._socket_path = socket_path
        self.rpc = self.connect()

    def connect(self) -> Any:
        """supervisord's XML-RPC over a connection of its own, by supervisor's own client."""
        transport = SupervisorTransport("", "", f"unix://{self._socket_path}")
        return xmlrpc.client.ServerProxy("http://127.0.0.1", transport).supervisor

    @property
    def pid(self) -> int:
        """supervisord's process id."""
        return self.process.pid

    def read_pid(self, name: str) -> int:
        """The process id of a program; 0 while it has none."""
        pid: int = self.rpc.getProcessInfo(name)["pid"]
        return pid

    def wait_for_exec(self, name: str) -> int:
        """Wait until a program's process is what it is to be, for until then SIGTERM may be lost; returns its pid."""
        deadline = time.monotonic() + START_SECONDS
        while read_name(pid := self.read_pid(name)) != COMMAND[0]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} does not run")
            time.sleep(0.002)
        return pid

    def wait_until_running(self) -> None:
        """Wait until every program is RUNNING."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                infos = self.rpc.getAllProcessInfo()
                running = {info["name"] for info in infos if info["state"] == ProcessState.RUNNING}
                if running.issuperset(self.names):
                    return
            except OSError:  # it does not listen yet, and supervisor's client does not connect twice
                self.rpc = self.connect()
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError(f"supervisord {self.pid} does not run all of its programs")
            time.sleep(0.1)

    def find_pids(self) -> list[int]:
        """supervisord's process and those of all of its programs, which are its children."""
        return [self.pid, *read_children(self.pid)]

    def terminate(self) -> float:
        """Send supervisord SIGTERM, touch nothing, and return the seconds until everything is gone."""
        pids = self.find_pids()
        began = time.monotonic()
        self.process.terminate()
        while self.process.poll() is None:
            if time.monotonic() > began + STOP_SECONDS:
                raise TimeoutError("supervisord does not end")
            time.sleep(0.002)
        wait_until_gone(pids, STOP_SECONDS)
        return time.monotonic() - began

    def end(self) -> None:
        """End everything quickly, in whatever state it is; does nothing where `terminate` has done it."""
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
                self._nudge()
                time.sleep(0.005)
        finally:
            self.process.kill()
            self.process.wait()
            wait_until_gone(pids, STOP_SECONDS)

    def _nudge(self) -> None:
        """Make supervisord go its round at once, which it otherwise does once a second."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as wake:
            wake.connect(str(self._socket_path))
