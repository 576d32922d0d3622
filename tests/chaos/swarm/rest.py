"""What must hold when nothing is done any more: everybody agrees, and nothing was lost."""

from __future__ import annotations

import json
import subprocess
import time
from typing import TYPE_CHECKING, Any

import httpx

from tests.chaos.swarm.activity import ANYTHING, SETTLE_SECONDS
from tests.chaos.swarm.cast import PLUGINS
from tests.chaos.swarm.containers import PREFIX, Container, describe
from tests.helpers.swarm.node import LabError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.chaos.swarm.activity import Activity
    from tests.chaos.swarm.containers import ContainerWatcher
    from tests.chaos.swarm.follower import Follower
    from tests.helpers.swarm.stack import SwarmStack

POLL_SECONDS = 0.1
ENGINE_SECONDS = 5.0

Tasks = dict[str, list[str]]
"""By plugin, the nodes on which the swarm has tasks running that it wants to run."""


class RestCheck:
    """Waits until nothing changes any more, and reports to the watcher what does not hold then."""

    def __init__(self, stack: SwarmStack, activity: Activity, watcher: ContainerWatcher, follower: Follower) -> None:
        self.longest_seconds = 0.0
        """The longest time that everything took to settle."""
        self._stack = stack
        self._activity = activity
        self._watcher = watcher
        self._follower = follower
        self._log_size = 0

    def come_to_rest(self) -> None:
        """Check all that must hold at rest."""
        began = time.monotonic()
        deadline = began + SETTLE_SECONDS
        problem = "nothing was looked at"
        while problem and not self._watcher.violations:
            try:
                problem = self._stop_those_that_end() or self._find_disagreement()
            except (httpx.HTTPError, LabError, subprocess.TimeoutExpired, OSError) as error:
                problem = f"no answer: {error!r}"
            if time.monotonic() > deadline:
                self._watcher.report(f"4: {SETTLE_SECONDS:.0f} s after the end of everything: {problem}")
                return
            time.sleep(POLL_SECONDS if problem else 0)
        self.longest_seconds = max(self.longest_seconds, time.monotonic() - began)
        self._check_log()

    def _check_log(self) -> None:
        log = self._stack.service_log
        new, self._log_size = log[self._log_size :], len(log)
        if "Traceback" in new:
            at = new.index("Traceback")
            self._watcher.report(f"6: {new[max(0, at - 500) : at + 3000]}")
        if not self._stack.service_pid:
            self._watcher.report(f"6: the service has ended: {log[-2000:]}")

    def _stop_those_that_end(self) -> str:
        """They would be another process at every look."""
        for name, behaviour in PLUGINS.items():
            if not behaviour.runs_until_stopped:
                response = self._stack.post(f"/plugin/{name}/stop")
                if response.status_code not in (200, 404, 409):
                    return f"{name} cannot be stopped: {response.status_code} {response.text}"
        return ""

    def _find_disagreement(self) -> str:
        response = self._stack.get("/plugin/status")
        if response.status_code != 200:
            return f"GET /plugin/status: {response.status_code} {response.text}"
        statuses: dict[str, dict[str, Any]] = response.json()["plugins"]
        nodes = self._stack.get("/nodes").raise_for_status().json()["nodes"]
        if not_ready := [node for node in nodes if node["state"] != "ready"]:
            return f"these nodes are not ready: {not_ready}"
        tasks = self._read_tasks()
        containers: dict[str, list[Container]] = {name: [] for name in PLUGINS}
        for container in self._watcher.read():
            containers.setdefault(container.plugin_id, []).append(container)
        for name, found in containers.items():
            if problem := self._compare(name, statuses.get(name), tasks.get(name, []), found):
                alive = ", ".join(map(describe, found))
                return f"{problem}: {name!r} is {statuses.get(name)}, the swarm runs {tasks.get(name)}, alive: {alive}"
        return self._compare_follower(statuses)

    def _compare(
        self, name: str, status: Mapping[str, Any] | None, tasks: list[str], containers: list[Container]
    ) -> str:
        """What does not hold of a plugin."""
        if status is None:  # its folder is gone
            return ""
        wanted = self._activity.get_wanted(name) if PLUGINS[name].runs_until_stopped else ANYTHING
        is_running = status["status"] == "running"
        if status["status"] not in ("running", "stopped", "error"):
            return "it goes on changing"
        if sorted(tasks) != sorted(container.node for container in containers):
            return "the swarm and the kernel do not agree"
        if is_running != bool(containers):
            return "the API and the kernel do not agree"
        if is_running and status.get("node") not in tasks:
            return "the API names another node"
        if wanted == "running" and len(containers) != PLUGINS[name].replicas:
            return "6: it was lost"
        if wanted == "stopped" and is_running:
            return "6: it runs though it was stopped"
        return ""

    def _compare_follower(self, statuses: Mapping[str, Mapping[str, Any]]) -> str:
        known = self._follower.statuses
        told = {name: status["status"] for name, status in statuses.items()}
        return "" if known == told else f"who follows /events knows {known}, who asks {told}"

    def _read_tasks(self) -> Tasks:
        manager = self._stack.lab.living_manager
        if manager is None:
            raise LabError("no manager answers")
        transport = httpx.HTTPTransport(uds=str(manager.socket))
        with httpx.Client(transport=transport, base_url="http://engine", timeout=ENGINE_SECONDS) as http:
            services = {one["ID"]: one["Spec"]["Name"] for one in http.get("/v1.41/services").raise_for_status().json()}
            names = {one["ID"]: one["Description"]["Hostname"] for one in http.get("/v1.41/nodes").json()}
            filters = json.dumps({"desired-state": ["running"]})
            tasks = http.get("/v1.41/tasks", params={"filters": filters}).raise_for_status().json()
        found: Tasks = {}
        for task in tasks:
            name = services.get(task["ServiceID"], "")
            if task["Status"]["State"] == "running" and name.startswith(PREFIX):
                found.setdefault(name.removeprefix(PREFIX), []).append(names.get(task["NodeID"], ""))
        return found
