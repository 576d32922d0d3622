"""The clients of a round, who do what the seed says at the same time, and check what they are answered."""

from __future__ import annotations

import collections
import contextlib
import os
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.chaos.swarm.activity import ANYTHING, REQUIRED
from tests.chaos.swarm.cast import PLUGINS
from tests.chaos.swarm.containers import describe
from tests.helpers.packages import make_plugin_package
from tests.helpers.stack import ADMIN_CODE
from tests.helpers.swarm.node import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.chaos.swarm.activity import Activity, Interval
    from tests.chaos.swarm.containers import ContainerWatcher
    from tests.chaos.swarm.folders import Folders
    from tests.chaos.swarm.rounds import Operation
    from tests.helpers.swarm.stack import SwarmStack

READ_SECONDS = 5.0
ALONE_SECONDS = 15.0
LONGEST_SECONDS = 120.0
RETURN_SECONDS = 30.0
"""How much longer a request may take while the service is killed, for it waits at the socket meanwhile."""
ADMIN = {"Authorization": f"Bearer {ADMIN_CODE}"}
EXPECTED = {
    "start": {200, 202, 404, 409, 422, 500}, "stop": {200, 202, 404, 409}, "reload": {200, 202, 404, 409, 422, 500},
    "disable": {200, 202, 404}, "enable": {200, 404},
    "install": {201, 202, 409, 422, 429, 500}, "roll-back": {200, 202, 404, 409, 422, 429, 500},
}  # fmt: skip
REASONS = ("start_failed", "build_failed", "operation_cancelled", "operation_interrupted")
"""The codes of errors with the status 500 that are no defects."""
BUSY = {"supervisor_unavailable", "store_unavailable"}
ALLOWED_IN_FAULTS = {409, 500, 502, 503, 504}


class Clients:
    """Plays rounds on one Plugvisor."""

    def __init__(self, stack: SwarmStack, activity: Activity, watcher: ContainerWatcher, folders: Folders) -> None:
        self.done: collections.Counter[str] = collections.Counter()
        self.answers: collections.Counter[str] = collections.Counter()
        self.history: list[str] = []
        """When each operation began and ended."""
        self._stack = stack
        self._activity = activity
        self._watcher = watcher
        self._folders = folders

    def play(self, operations: Sequence[Operation]) -> None:
        """Have the clients do all of it; returns when they have."""
        clients: dict[int, list[Operation]] = {}
        for operation in operations:
            clients.setdefault(operation.client, []).append(operation)
        with ThreadPoolExecutor(len(clients)) as pool:
            list(pool.map(self._act, clients.values()))

    def _act(self, operations: Sequence[Operation]) -> None:
        timeout = LONGEST_SECONDS + RETURN_SECONDS
        with httpx.Client(
            base_url=self._stack.url, timeout=timeout, trust_env=False, verify=False, headers=ADMIN
        ) as http:
            for operation in operations:
                if self._watcher.violations:
                    return
                time.sleep(operation.pause_seconds)
                self._remember(f"begins: {operation}")
                try:
                    self._do(operation, http)
                except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - a thread's error would be lost
                    self._watcher.report(f"the test itself, in {operation}: {error!r}")
                self._remember(f"ends: {operation}")
                self.done[operation.kind] += 1

    def _remember(self, what: str) -> None:
        self.history.append(f"{datetime.now():%H:%M:%S.%f} {what}")  # noqa: DTZ005 - as the service's log

    def _do(self, operation: Operation, http: httpx.Client) -> None:
        name = operation.plugin_id
        match operation.kind:
            case "start" | "stop" | "reload" as verb:
                self._change(verb, name, operation.wait, http)
            case "read":
                self._read(operation.read, http)
            case "bulk":
                self._change_many(operation, http)
            case "hang-up":
                self._hang_up(operation)
            case "disable" | "enable" | "install" | "roll-back" as verb:
                self._administer(verb, name, operation, http)
            case "refresh":
                with self._activity.doing_all():
                    began = time.monotonic()
                    response = self._send(http, "POST", "/plugins/refresh", began)
                    self._check("refresh", response, {200}, began)
            case "kill":
                self._kill(name)
            case "scale" | "rm":
                self._act_by_hand(operation)
            case kind:
                with self._activity.doing(name) as interval:
                    self._folders.change(kind, name)
                    if kind in ("remove", "add", "break"):
                        self._activity.note(name, ANYTHING, interval)

    # -- by HTTP

    def _send(self, http: httpx.Client, method: str, path: str, began: float, **more: Any) -> httpx.Response | None:
        """The answer; None if the connection broke because the service was killed."""
        try:
            return http.request(method, path, **more)
        except httpx.TransportError as error:
            if isinstance(error, httpx.ConnectError) or not self._activity.was_disturbed(began):
                self._watcher.report(f"5: {method} {path}: {error!r}")
            return None

    def _check(
        self, kind: str, response: httpx.Response | None, expected: set[int], began: float, longest: float = 0.0
    ) -> None:
        """Check status, reason and time of an answer."""
        if response is None:
            return
        seconds = time.monotonic() - began
        is_disturbed = self._activity.was_disturbed(began)
        body = response.json() if "json" in response.headers.get("content-type", "") else {}
        code = body.get("code", "") if isinstance(body, dict) else ""
        self.answers[f"{kind} {response.status_code} {code}".strip()] += 1
        told = f"{kind} {response.request.url.raw_path.decode()}: {response.status_code} {response.text[:600]}"
        is_allowed = response.status_code in expected or (is_disturbed and response.status_code in ALLOWED_IN_FAULTS)
        if (
            code in BUSY and not is_disturbed
        ):  # the managers or the disk of a busy machine take longer than they are waited for
            self.answers[f"{code} without a fault"] += 1
            is_allowed = True
        has_reason = response.is_success or response.status_code == 304 or bool(code and body.get("detail"))
        if not is_allowed or not has_reason or (response.status_code == 500 and code not in REASONS):
            self._watcher.report(f"6: {told} after {seconds:.2f} s")
        limit = (longest or LONGEST_SECONDS) + (RETURN_SECONDS if is_disturbed else 0.0)
        if seconds > limit:
            self._watcher.report(f"5: {told} took {seconds:.2f} s")

    def _read(self, path: str, http: httpx.Client) -> None:
        began = time.monotonic()
        self._check("read", self._send(http, "GET", path, began), {200, 404}, began, READ_SECONDS)

    def _change(self, verb: str, name: str, wait: str, http: httpx.Client) -> None:
        starts = verb != "stop"
        with self._activity.doing(name, starts=starts) as interval:
            path = f"/plugin/{name}/{verb}"
            response = self._send(http, "POST", path, interval.began, params={"wait": wait} if wait else {})
            if response is None:
                self._activity.forget(name, may_start=starts)
                return
            self._note(verb, name, response, interval)
            self._check(verb, response, EXPECTED[verb], interval.began)
            if response.status_code == 200 and self._activity.was_alone(name, interval):
                self._check_alone(verb, name, response.json(), interval)

    def _note(self, verb: str, name: str, response: httpx.Response, interval: Interval) -> None:
        """Keep what an answer says of what must be so at rest."""
        code = response.json().get("code", "")
        if verb == "stop" and response.status_code == 200:
            self._activity.note(name, "stopped", interval)
            self._activity.note_gone(name, interval)
        elif response.status_code == 200:
            self._activity.note(name, "running", interval)
        elif response.status_code == 202 or response.status_code >= 500 or code == "dependency_failed":
            self._activity.forget(name, may_start=verb != "stop")
        for other in REQUIRED[name] if verb != "stop" else ():
            self._activity.note(other, ANYTHING, interval)

    def _check_alone(self, verb: str, name: str, answer: dict[str, Any], interval: Interval) -> None:
        """Check the answer to an operation during which nothing else was done to the plugin."""
        behaviour = PLUGINS[name]
        seconds = time.monotonic() - interval.began
        if not behaviour.runs_until_stopped:
            return
        containers = self._watcher.read(name)
        if not self._activity.was_alone(name, interval):
            return
        self.answers[f"alone {verb}"] += 1
        if behaviour.stops_soon and seconds > ALONE_SECONDS:
            self._watcher.report(f"5: {verb} of {name!r} alone took {seconds:.2f} s: {answer}")
        if verb == "stop" or behaviour.replicas != 1:
            return
        new = [one for one in containers if self._watcher.get_first_seen(one) >= interval.began]
        pids = {number for one in new for number in map(find_nodes_own_pid, one.pids)}
        if len(containers) != 1 or new != containers or answer.get("pid") not in pids:
            told = ", ".join(describe(one) for one in containers)
            self._watcher.report(f"3: {verb} of {name!r} was answered with {answer}, but there is {told}: pids {pids}")

    def _change_many(self, operation: Operation, http: httpx.Client) -> None:
        names = sorted(PLUGINS)
        first = names.index(operation.plugin_id)
        chosen = [*names[first:], *names[:first]][:3]
        verb = operation.verb
        with self._activity.doing_all(chosen, starts=verb != "stop"):
            began = time.monotonic()
            response = self._send(http, "POST", f"/plugins/{verb}", began, json={"plugin_ids": chosen})
            self._activity.forget(*chosen, may_start=verb != "stop")
            self._check(f"bulk {verb}", response, {200, 202}, began)

    def _administer(self, verb: str, name: str, operation: Operation, http: httpx.Client) -> None:
        more: dict[str, Any] = {}
        path = f"/plugin/{name}/{verb}"
        if verb in ("install", "roll-back"):
            name = next(name for name, behaviour in PLUGINS.items() if behaviour.is_installed)
            path = f"/plugin/{name}/rollback"
            more = {"params": {"wait": "25"}}
        if verb == "install":
            version = f"1.0.{int(operation.choice * 1000)}"
            runtime = "auto_start = false\nsupervisor.startsecs = 0"
            path = "/plugins/install"
            more = {
                "params": {"wait": "25", "replace": "true"},
                "content": make_plugin_package(name, PLUGINS[name].code, version=version, runtime=runtime),
            }
        with self._activity.doing(name, starts=verb != "disable") as interval:
            response = self._send(http, "POST", path, interval.began, **more)
            self._activity.forget(name, may_start=verb != "disable")
            self._check(verb, response, EXPECTED[verb], interval.began)

    def _hang_up(self, operation: Operation) -> None:
        name, verb = operation.plugin_id, operation.verb
        with self._activity.doing(name, starts=verb != "stop") as interval:
            self._activity.forget(name, may_start=verb != "stop")
            head = f"POST /plugin/{name}/{verb} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {ADMIN_CODE}"
            try:
                with socket.create_connection(("127.0.0.1", self._stack.port), LONGEST_SECONDS) as client:
                    client.sendall(f"{head}\r\nContent-Length: 0\r\n\r\n".encode())
                    time.sleep(operation.choice * 0.2)
            except OSError as error:
                if not self._activity.was_disturbed(interval.began):
                    self._watcher.report(f"5: hanging up: {error!r}")

    # -- past the service

    def _kill(self, name: str) -> None:
        with self._activity.doing(name):
            for container in self._watcher.read(name)[:1]:
                for pid in container.pids[:1]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

    def _act_by_hand(self, operation: Operation) -> None:
        """Do what an operator does with the docker command."""
        name = operation.plugin_id
        count = PLUGINS[name].replicas if operation.choice < 0.5 else 0
        command = {"rm": ("rm", f"plugvisor-{name}")}.get(
            operation.kind, ("scale", "--detach", f"plugvisor-{name}={count}")
        )
        with self._activity.doing(name, starts=operation.kind == "scale"):
            self._activity.forget(name, may_start=operation.kind == "scale")
            self._activity.note_by_hand(name)
            for node in self._stack.lab.managers:
                # there is no such service, or this manager is the one that a fault has befallen
                with contextlib.suppress(LabError, subprocess.TimeoutExpired, OSError):
                    if node.socket.exists():
                        node.docker("service", *command, seconds=5)
                        return


def find_nodes_own_pid(pid: int) -> int:
    """The pid that a process has on its node, by its pid on this machine."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        pids = next(line for line in lines if line.startswith("NSpid:")).split()[1:]
        return int(pids[1]) if len(pids) > 1 else 0
    return 0
