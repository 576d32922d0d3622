"""Plugvisor over a swarm of three nodes on this machine, and the Engine API beside it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from benchmarks.systems.plugvisor_stack import ADMIN_CODE, POLL_SECONDS, ApiClient
from tests.helpers.stack import ROOT
from tests.helpers.swarm.pool import LabPool
from tests.helpers.swarm.stack import run_swarm_stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.helpers.swarm.lab import SwarmLab
    from tests.helpers.swarm.node import LabNode
    from tests.helpers.swarm.stack import SwarmStack

TAG = "plugvisor:bench"
RUNNING = 30
"""So many plugins run, at most half of them; the others are services without a task."""
VERSION = "/v1.41"
PATIENCE_SECONDS = 300.0
COMMAND = ("sleep", "infinity")
THREE = "three"
"""The plugin with three replicas."""


class EngineApi:
    """The Engine API of a node, with little overhead."""

    def __init__(self, node: LabNode) -> None:
        self._http = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(node.socket)), base_url="http://engine", timeout=PATIENCE_SECONDS
        )

    def call(self, method: str, path: str, body: object = None, **query: object) -> Any:
        """Make a call; returns the JSON of the answer."""
        parameters = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in query.items()}
        response = self._http.request(method, VERSION + path, json=body, params=parameters)  # type: ignore[arg-type]
        if not response.is_success:
            raise RuntimeError(f"cannot measure {method} {path}: {response.status_code} {response.text}")
        return response.json() if response.content else None


class SwarmSystem:
    """Plugvisor with many services, of which `RUNNING` run, and one of three replicas."""

    def __init__(self, stack: SwarmStack, image: str, count: int) -> None:
        self.stack = stack
        self.lab: SwarmLab = stack.lab
        self.image = image
        self.names = [f"p{number:04}" for number in range(count - 1)]
        self.running = self.names[: min(RUNNING, len(self.names) // 2)]
        for name in self.names:
            self.write(name, "auto_start = true" if name in self.running else "")
        self.write(THREE, "replicas = 3")
        stack.environ["PLUGVISOR_ADMIN_CODE"] = ADMIN_CODE
        stack.up()
        self.api = ApiClient(stack.port)
        self.engine = EngineApi(self.lab.nodes[0])
        self.wait_until(self._is_up, "all plugins to run")

    def write(self, name: str, runtime: str = "", **environment: str) -> None:
        """Write a plugin."""
        folder = self.stack.plugins_dir / name
        folder.mkdir(exist_ok=True)
        start = runtime or "auto_start = false"
        start += "" if "auto_start" in start else "\nauto_start = false"
        variables = "".join(f"{key} = {json.dumps(value)}\n" for key, value in environment.items())
        (folder / "plugin.toml").write_text(
            f'[plugin]\nid = "{name}"\ncommand = {json.dumps(COMMAND)}\n[plugin_runtime]\n{start}\nrestart.delay = 0\n'
            f"[plugin_runtime.supervisor]\nstartsecs = 0\n[plugin_runtime.environment]\n{variables}"
        )

    def _is_up(self) -> bool:
        with contextlib.suppress(RuntimeError):  # 503: the managers are busy
            services = self.engine.call("GET", "/services")
            statuses = self.api.read_statuses()
            are_running = all(statuses[name]["status"] == "running" for name in self.running)
            return len(services) >= len(self.names) + 1 and are_running
        return False

    def status(self, name: str) -> dict[str, Any]:
        """A plugin's status."""
        status: dict[str, Any] = json.loads(self.api.get(f"/plugin/status?plugin_id={name}"))
        return status

    def read_tasks(self, service: str) -> list[dict[str, Any]]:
        """A service's tasks that are wanted to run."""
        tasks: list[dict[str, Any]] = self.engine.call(
            "GET", "/tasks", filters={"service": [service], "desired-state": ["running"]}
        )
        return tasks

    def find_containers(self, name: str) -> list[tuple[LabNode, str]]:
        """The containers of a plugin, with the nodes that they run on."""
        label = f"label=com.docker.swarm.service.name=plugvisor-{name}"
        return [
            (node, container)
            for node in self.lab.nodes
            if node.pid
            for container in node.docker("ps", "--quiet", "--no-trunc", "--filter", label).split()
        ]

    @staticmethod
    def wait_until(condition: Callable[[], object], what: str, pause_seconds: float = POLL_SECONDS) -> None:
        """Wait until a condition is true; raises `TimeoutError`."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {PATIENCE_SECONDS:g} s in vain for {what}")
            time.sleep(pause_seconds)


@contextlib.contextmanager
def run_swarm(count: int) -> Iterator[SwarmSystem]:
    """A swarm of three nodes with that many services; nothing is left of it afterwards."""
    subprocess.run(["docker", "build", "--quiet", "--tag", TAG, "."], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(LabPool(Path(folder), TAG)) as pool,
        pool.lease() as lab,
        run_swarm_stack(lab, TAG) as stack,
    ):
        yield SwarmSystem(stack, TAG, count)
