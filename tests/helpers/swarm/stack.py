"""A Plugvisor whose engine is a swarm: the service runs on this machine, in the network of the lab, and on no node."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.helpers.stack import ROOT, PlugvisorStack
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.helpers.swarm.lab import SwarmLab

BACKLOG = 128
START_SECONDS = 120.0
"""A service makes those of all plugins in the swarm before it answers."""


class SwarmStack(PlugvisorStack):
    """As `PlugvisorStack`, with the plugins on a lab's nodes.

    The service listens at this machine's 127.0.0.1, at a socket that outlives it, and connects in the lab's network.
    """

    engine = "swarm"

    def __init__(self, root: Path, lab: SwarmLab, image: str) -> None:
        super().__init__(root)
        self.lab = lab
        self.environ |= {
            "PLUGVISOR_ENGINE": "swarm",
            "PLUGVISOR_DOCKER_HOST": ",".join(f"unix://{node.socket}" for node in lab.managers),
            "PLUGVISOR_IMAGE": image,
            "PLUGVISOR_NETWORK": "host",
        }
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=BACKLOG)

    def spawn(self, *arguments: str, limit_descriptors: int = 0, **environ: str) -> subprocess.Popen[bytes]:
        """Start `plugvisor …` in the lab's network; its output goes to `output_path`."""
        assert not limit_descriptors, "there is no use for it"
        with self.output_path.open("ab") as output:
            return subprocess.Popen(
                [*self.lab.enter(), sys.executable, "-m", "plugvisor", *arguments],
                env=self.environ | environ,
                cwd=ROOT,
                stdin=self._listener,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def up(self, *, limit_descriptors: int = 0) -> None:
        """Start the service and wait until it answers."""
        self.process = self.spawn("serve", limit_descriptors=limit_descriptors)
        try:
            wait_for(self.is_ready, "the service", START_SECONDS)
        except pytest.fail.Exception:
            pytest.fail(f"the service does not answer:\n{self.service_log}")

    def is_ready(self) -> bool:
        """Whether the service answers, and the swarm with it."""
        assert self.process is None or self.process.poll() is None, self.service_log
        with contextlib.suppress(httpx.TransportError):
            # connections to a service that is not there are made: its socket outlives it
            return self.get("/plugin/status", timeout=2).status_code == 200
        return False

    def close(self) -> list[int]:
        """Stop the service and remove every plugin; returns what is left, as `PlugvisorStack.close`."""
        self.down()
        self._listener.close()
        # a lab that a test has broken is repaired before its next use; a failure of pytest is no `Exception`
        with contextlib.suppress(Exception, pytest.fail.Exception):
            remove_everything(self.lab)
        return super().close()

    @property
    def service_pid(self) -> int:
        """The service's process id; 0 if it does not run."""
        return self.process.pid if self.process is not None and self.process.poll() is None else 0

    def restart_service(self) -> None:
        """Kill the service and start it again; what it has started goes on."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(DEADLINE_SECONDS)
        self.up()

    @property
    def service_log(self) -> str:
        """The service's own log."""
        return self.output_path.read_text()

    def read_log(self, plugin_id: str) -> str:
        """What a plugin has printed; asked for again while it cannot be known, as `status`."""

        def ask() -> httpx.Response | None:
            response = self.get(f"/plugin/{plugin_id}/logs?lines=1000")
            return response if response.status_code != 503 else None

        response: httpx.Response = wait_for(ask, f"the log of {plugin_id} to be known")
        assert response.status_code == 200, response.text
        return "".join(f"{entry['message']}\n" for entry in response.json()["logs"])

    # -- the swarm, past the service

    def docker(self, *arguments: str) -> str:
        """Run `docker …` with a manager that answers; returns the output."""
        return self.lab.find_manager().docker(*arguments)

    def inspect_service(self, plugin_id: str) -> Any:
        """A plugin's service, as the Engine describes it."""
        return json.loads(self.docker("service", "inspect", f"plugvisor-{plugin_id}"))[0]

    def kill_container(self, plugin_id: str) -> None:
        """Kill the processes of a plugin on every node, as a crash does."""
        for node in self.lab.nodes:
            if node.pid:
                label = f"label=com.docker.swarm.service.name=plugvisor-{plugin_id}"
                if containers := node.docker("ps", "--quiet", "--filter", label).split():
                    node.docker("kill", *containers)


def remove_everything(lab: SwarmLab) -> None:
    """Remove every service, config and secret, and wait for the end of the containers."""
    manager = lab.living_manager
    assert manager is not None
    for kind in ("service", "config", "secret"):
        if names := manager.docker(kind, "ls", "--quiet").split():
            manager.docker(kind, "rm", *names)
    living = [node for node in lab.nodes if node.pid]
    wait_for(lambda: not any(node.docker("ps", "--quiet") for node in living), "the end of every container")


@contextlib.contextmanager
def run_swarm_stack(lab: SwarmLab, image: str) -> Iterator[SwarmStack]:
    """A Plugvisor that is not up yet; at the end it is stopped, with all its plugins, and must have left nothing."""
    root = Path(tempfile.mkdtemp(prefix="pv-"))
    stack = SwarmStack(root, lab, image)
    try:
        yield stack
    finally:
        left = stack.close()
        output = stack.output_path.read_text() if stack.output_path.exists() else ""
        shutil.rmtree(root, ignore_errors=True)
    assert not left, f"processes were left behind: {left}\n{output}"
