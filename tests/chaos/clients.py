"""The clients of a round, who do what the seed says at the same time, and check what they are answered."""

from __future__ import annotations

import collections
import contextlib
import os
import random
import re
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx

from tests.chaos.plugins import PLUGINS
from tests.helpers.processes import list_children, read_command
from tests.helpers.stack import ADMIN_CODE
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.chaos.activity import Activity, Interval
    from tests.chaos.operations import Operation
    from tests.chaos.process_watcher import ProcessWatcher
    from tests.helpers.stack import PlugvisorStack

READ_SECONDS = 5.0
"""Within this every read is answered."""
ALONE_SECONDS = 5.0
"""Within this a plugin that obeys is started, stopped or reloaded, if nothing else is done to it."""
LONGEST_SECONDS = 120.0
"""Within this every operation is answered, those that waited for their turn too."""
FREEZE_SECONDS = 1.0
RESTART_SECONDS = 10.0
"""Within this a service that was killed is back; requests wait for it."""
ADMIN = {"Authorization": f"Bearer {ADMIN_CODE}"}
EXPECTED = {
    "start": {200, 404, 409, 422, 500}, "stop": {200, 202, 404, 409}, "reload": {200, 202, 404, 409, 422, 500},
}  # fmt: skip
SIGNALS = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "pause": signal.SIGSTOP, "continue": signal.SIGCONT}


class Clients:
    """Plays rounds on one Plugvisor."""

    def __init__(self, stack: PlugvisorStack, activity: Activity, watcher: ProcessWatcher) -> None:
        self.done: collections.Counter[str] = collections.Counter()
        self.answers: collections.Counter[str] = collections.Counter()
        self.service_kills = 0
        self._stack = stack
        self._activity = activity
        self._watcher = watcher
        self._files = threading.Lock()
        self._supervisord_log = stack.log_dir / "_supervisord.log"

    def write_plugin(self, name: str, priority: int = 999) -> None:
        """Write a plugin of the random test."""
        behaviour = PLUGINS[name]
        options = f"[plugin_runtime.supervisor]\npriority = {priority}\n{behaviour.supervisor}"
        self._stack.write_plugin(name, behaviour.code, runtime=f"auto_start = false\n{options}")

    def play(self, operations: Sequence[Operation]) -> None:
        """Have the clients do all of it; returns when they have."""
        threads = [
            threading.Thread(target=self._act, args=([one for one in operations if one.client == client],))
            for client in sorted({operation.client for operation in operations})
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _act(self, operations: Sequence[Operation]) -> None:
        with httpx.Client(base_url=self._stack.url, timeout=LONGEST_SECONDS + 20, trust_env=False) as http:
            for operation in operations:
                if self._watcher.violations:
                    return
                time.sleep(operation.pause_seconds)
                try:
                    self._do(operation, http)
                except Exception as error:  # noqa: BLE001 - a thread's error would be lost
                    self._watcher.report(f"the test itself, in {operation}: {error!r}")
                self.done[operation.kind] += 1

    def _do(self, operation: Operation, http: httpx.Client) -> None:
        name = operation.plugin_id
        match operation.kind:
            case "start" | "stop" | "reload" as verb:
                self._change(verb, name, operation.wait, http)
            case "hang-up":
                self._hang_up(operation)
            case "read":
                self._ask("GET", "/plugin/status", READ_SECONDS, http)
            case "refresh":
                with self._activity.doing_all(starts=False):
                    self._ask("POST", "/plugins/refresh", LONGEST_SECONDS, http)
            case "ctl-start" | "ctl-stop" | "ctl-restart":
                verb = operation.kind.removeprefix("ctl-")
                with self._activity.doing(name, starts=verb != "stop", stops=verb == "stop"):
                    self._stack.ctl(verb, name)
            case "ctl-update":
                with self._activity.doing_all(starts=True):
                    self._stack.ctl("update")
            case "kill" | "term" | "pause" | "continue":
                self._signal(operation)
            case "kill-service":
                self._kill_service()
            case "freeze":
                self._freeze()
            case _:
                self._change_manifest(operation)

    # -- by HTTP

    def _change(self, verb: str, name: str, wait: str, http: httpx.Client) -> None:
        path = f"/plugin/{name}/{verb}" + (f"?wait={wait}" if wait else "")
        log_size = self._supervisord_log.stat().st_size
        with self._activity.doing(name, starts=verb != "stop", stops=verb == "stop") as interval:
            try:
                response = http.post(path, headers=ADMIN)
            except httpx.TransportError as error:
                self._activity.forget_end(name, may_start=verb != "stop")
                if not self._was_disturbed(interval.began):
                    self._watcher.report(f"5: {path}: {error!r}")
                return
            seconds = time.monotonic() - interval.began
            code = response.json().get("code", "")
            self.answers[f"{verb} {response.status_code} {code}".strip()] += 1
            if response.status_code == 202 or code in ("supervisor_unavailable", "stop_timeout"):
                self._activity.forget_end(name, may_start=verb != "stop")
            if verb == "stop" and response.status_code == 200:
                self._activity.note_stopped(name, interval)
            self._check_answer(verb, path, response, seconds, interval)
            if response.status_code == 200 and self._activity.was_alone(name, interval):
                self._check_alone(verb, name, response.json(), log_size, seconds)

    def _check_answer(self, verb: str, path: str, response: httpx.Response, seconds: float, interval: Interval) -> None:
        was_disturbed = self._was_disturbed(interval.began)
        answer = f"{path}: {response.status_code} {response.text} after {seconds:.2f} s"
        if response.status_code not in EXPECTED[verb] and not (was_disturbed and response.status_code == 503):
            self._watcher.report(f"6: {answer}")
        if response.status_code == 500 and response.json()["code"] != "start_failed":
            self._watcher.report(f"6: {answer}")
        if seconds > LONGEST_SECONDS + (FREEZE_SECONDS if was_disturbed else 0):
            self._watcher.report(f"5: {answer}")

    def _check_alone(self, verb: str, name: str, answer: dict[str, Any], log_size: int, seconds: float) -> None:
        """Check the answer to an operation during which nothing else was done to the plugin."""
        behaviour = PLUGINS[name]
        if not behaviour.runs_until_stopped:
            return
        is_soon = (behaviour.stops_soon or verb == "start") and not self._was_disturbed(time.monotonic() - seconds)
        if is_soon and seconds > ALONE_SECONDS:
            self._watcher.report(f"5: {verb} of {name!r} alone took {seconds:.2f} s: {answer}")
        if verb != "stop":
            log = self._supervisord_log.read_bytes()
            before, since = (part.decode(errors="replace") for part in (log[:log_size], log[log_size:]))
            spawned = [int(pid) for pid in re.findall(rf"spawned: '{name}' with pid (\d+)", since)]
            # it had just ended by itself, and supervisord started it again before it heard of this operation
            ends = re.findall(rf"(exited: {name} |spawned: '{name}' )", before)
            if len(spawned) == 2 and ends[-1:] == [f"exited: {name} "]:
                del spawned[0]
            if spawned != [answer["pid"]]:
                self._watcher.report(f"3: {verb} of {name!r} was answered with {answer}, but spawned were {spawned}")

    def _ask(self, method: str, path: str, longest_seconds: float, http: httpx.Client) -> None:
        began = time.monotonic()
        try:
            response = http.request(method, path, headers=ADMIN)
        except httpx.TransportError as error:
            if not self._was_disturbed(began):
                self._watcher.report(f"5: {path}: {error!r}")
            return
        seconds = time.monotonic() - began
        self.answers[f"{path} {response.status_code}"] += 1
        if response.status_code != 200 and not (self._was_disturbed(began) and response.status_code == 503):
            self._watcher.report(f"6: {path}: {response.status_code} {response.text}")
        if seconds > longest_seconds + (RESTART_SECONDS if self._was_disturbed(began) else 0):
            self._watcher.report(f"5: {path} took {seconds:.2f} s")

    def _hang_up(self, operation: Operation) -> None:
        name, verb = operation.plugin_id, operation.verb
        with self._activity.doing(name, starts=verb != "stop", stops=verb == "stop"):
            self._activity.forget_end(name, may_start=verb != "stop")
            head = f"POST /plugin/{name}/{verb} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ADMIN_CODE}"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._stack.port)) as client:
                client.sendall(f"{head}\r\nContent-Length: 0\r\n\r\n".encode())
                time.sleep(operation.pause_seconds / 5)

    # -- past it

    def _signal(self, operation: Operation) -> None:
        name = operation.plugin_id
        processes = self._watcher.read(name)
        if operation.verb == "start":
            processes = [process for process in processes if process.is_main] or processes
        if not processes:
            return
        # a SIGTERM that nobody asked for is an expected end, after which nothing starts the plugin again
        with self._activity.doing(name, stops=operation.kind == "term"):
            if operation.kind == "pause":
                self._activity.forget_end(name, may_start=False)
            if processes[0].is_alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(processes[0].pid, SIGNALS[operation.kind])

    def _kill_service(self) -> None:
        children = list_children(self._stack.supervisord_pid)
        found = [pid for pid in children if read_command(pid).endswith("\0serve\0")]
        if not found:
            return
        with self._activity.disturbing():
            self._activity.forget_all_ends()
            self.service_kills += 1
            with contextlib.suppress(ProcessLookupError):
                os.kill(found[0], signal.SIGKILL)
            wait_for(self._stack.is_ready, "the service to be back", LONGEST_SECONDS)

    def _freeze(self) -> None:
        with self._activity.disturbing():
            os.kill(self._stack.supervisord_pid, signal.SIGSTOP)
            time.sleep(FREEZE_SECONDS)
            os.kill(self._stack.supervisord_pid, signal.SIGCONT)

    def _was_disturbed(self, since: float) -> bool:
        return self._activity.disturbed_until > since

    def _change_manifest(self, operation: Operation) -> None:
        name = operation.plugin_id
        folder, away = self._stack.plugins_dir / name, self._stack.root / f"away-{name}"
        # a plugin that is gone or broken cannot be started again once it has ended
        with self._files, self._activity.doing(name, stops=operation.kind in ("break", "remove")):
            match operation.kind:
                case "remove" if folder.exists():
                    folder.rename(away)
                case "add" if away.exists():
                    away.rename(folder)
                case "break" if folder.exists():
                    (folder / "plugin.toml").write_text("[plugin\n")
                case "edit" | "repair" if folder.exists():
                    self.write_plugin(name, priority=random.randrange(1000))
