"""The clients of a round, who do what the seed says at the same time, and check what they are answered."""

from __future__ import annotations

import collections
import contextlib
import re
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.chaos.faults import FREEZE_SECONDS, RETURN_SECONDS
from tests.helpers.stack import ADMIN_CODE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.chaos.activity import Activity
    from tests.chaos.author import Author
    from tests.chaos.faults import Faults
    from tests.chaos.operations import Operation
    from tests.chaos.promises.intents import IntentRecord
    from tests.chaos.promises.process_watcher import ProcessWatcher
    from tests.helpers.stack import PlugvisorStack

READ_SECONDS = 5.0
"""Within this every read is answered."""
ALONE_SECONDS = 5.0
"""Within this a plugin that obeys is started, stopped or reloaded, if nothing else is done to it."""
LONGEST_SECONDS = 120.0
"""Within this every operation is answered, those that waited for their turn too."""
RESTART_SECONDS = 30.0
"""Within this a service that was killed is back on a busy machine, if that is not starved; requests wait for it."""
LOG_BYTES = 20_000
"""As much of supervisord's log from before an operation says whether the plugin had just ended."""
ADMIN = {"Authorization": f"Bearer {ADMIN_CODE}"}
EXPECTED = {
    "start": {200, 404, 409, 422, 500}, "stop": {200, 202, 404, 409}, "reload": {200, 202, 404, 409, 422, 500},
}  # fmt: skip
EXCUSED = ("supervisor_unavailable", "start_failed", "plugins_unreadable")
"""What a read or a refresh may answer while supervisord, the service or the run folder is kept from working."""


class Clients:
    """Plays rounds on one Plugvisor."""

    def __init__(
        self,
        stack: PlugvisorStack,
        activity: Activity,
        watcher: ProcessWatcher,
        faults: Faults,
        intents: IntentRecord,
        *,
        author: Author,
    ) -> None:
        self._intents = intents
        self._author = author
        self.done: collections.Counter[str] = collections.Counter()
        self.answers: collections.Counter[str] = collections.Counter()
        self._stack = stack
        self._activity = activity
        self._watcher = watcher
        self._faults = faults
        self._supervisord_log = stack.log_dir / "_supervisord.log"

    def play(self, operations: Sequence[Operation]) -> None:
        """Have the clients do all of it; returns when they have."""
        clients: dict[int, list[Operation]] = {}
        for operation in operations:
            clients.setdefault(operation.client, []).append(operation)
        with ThreadPoolExecutor(len(clients)) as pool:
            list(pool.map(self._act, clients.values()))

    def _act(self, operations: Sequence[Operation]) -> None:
        with httpx.Client(
            base_url=self._stack.url, timeout=LONGEST_SECONDS + 20, trust_env=False, verify=False
        ) as http:
            for operation in operations:
                if self._watcher.violations:
                    return
                time.sleep(operation.pause_seconds)
                try:
                    self._do(operation, http)
                except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - a thread's error would be lost
                    self._watcher.report(f"the test itself, in {operation}: {error!r}")
                self.done[operation.kind] += 1

    def _do(self, operation: Operation, http: httpx.Client) -> None:
        name = operation.plugin_id
        match operation.kind:
            case "start" | "stop" | "reload" as verb:
                self._change(verb, name, operation.wait, http)
            case "stop-dependents":
                self._change("stop", name, operation.wait, http, dependents=True)
            case "hang-up":
                self._hang_up(operation)
            case "read":
                self._ask("GET", "/plugin/status", READ_SECONDS, http)
            case "refresh":
                with self._activity.doing_all(starts=False):
                    self._ask("POST", "/plugins/refresh", LONGEST_SECONDS, http)
            case "disable" | "enable" as verb:
                self._toggle(verb, name, http)
            case "command-disable" | "command-enable":
                self._toggle_by_command(operation.kind.removeprefix("command-"), name)
            case "save" | "change-key":
                self._author.do(operation)
            case "ctl-start" | "ctl-stop" | "ctl-restart":
                verb = operation.kind.removeprefix("ctl-")
                with (
                    self._activity.doing(name, starts=verb != "stop", stops=verb == "stop"),
                    self._activity.requirements.overriding(name),
                ):
                    began = time.monotonic()
                    self._stack.ctl(verb, name)
                    self._intents.note_unknown(name, began)
            case "ctl-update":
                with self._activity.doing_all(starts=True):
                    self._stack.ctl("update")
            case _:
                self._faults.do(operation)

    # -- by HTTP

    def _change(self, verb: str, name: str, wait: str, http: httpx.Client, *, dependents: bool = False) -> None:
        parameters = {"wait": wait} if wait else {}
        if dependents:
            parameters["dependents"] = "true"
        path = str(httpx.URL(f"/plugin/{name}/{verb}", params=parameters))
        log_size = self._measure_log()
        starts = verb != "stop"
        with self._activity.doing(name, starts=starts, stops=not starts, dependents=dependents) as interval:
            try:
                response = http.post(path, headers=ADMIN)
            except httpx.TransportError as error:
                self._activity.forget_end(name, may_start=starts)
                for other in (name, *(self._activity.requirements.closures[name] if starts else ())):
                    self._intents.note_unknown(other, interval.began)
                self._check_transport_error(path, error, interval.began)
                return
            seconds = time.monotonic() - interval.began
            code = response.json().get("code", "")
            if response.is_success or code == "not_running":
                self._intents.note(name, "stopped" if verb == "stop" else "running", interval.began)
            elif response.status_code >= 500 or code == "dependency_failed":  # it may have been begun all the same
                self._intents.note_unknown(name, interval.began)
            # a start also ends the stops of what is started for it
            others = self._activity.requirements.closures[name] if starts else ()
            for other in (*others, *(self._activity.requirements.dependents[name] if dependents else ())):
                self._intents.note_unknown(other, interval.began)
            self.answers[f"{verb} {response.status_code} {code}".strip()] += 1
            if starts and self._may_wait(name) and response.status_code != 200:
                self._activity.note_unsettled(name, interval, must_follow=response.status_code == 202)
            elif response.status_code == 202 or code in ("supervisor_unavailable", "stop_timeout"):
                self._activity.forget_end(name, may_start=starts)
            if verb == "stop" and response.status_code == 200:
                self._activity.note_stopped(name, interval)
            self._check_answer(verb, name, response, interval.began, seconds)
            if response.status_code == 200 and self._activity.was_alone(name, interval):
                self._check_alone(verb, name, response.json(), log_size, seconds)

    def _check_answer(self, verb: str, name: str, response: httpx.Response, began: float, seconds: float) -> None:
        was_disturbed = self._was_disturbed(began)
        answer = (
            f"{response.request.url.raw_path.decode()}: {response.status_code} {response.text} after {seconds:.2f} s"
        )
        closure = self._activity.requirements.closures[name]
        is_expected = response.status_code in EXPECTED[verb] or (response.status_code == 202 and self._may_wait(name))
        if not is_expected and not (was_disturbed and response.status_code == 503):
            self._watcher.report(f"6: {answer}")
        body = response.json()
        if body.get("code") == "dependency_failed" and body.get("dependency") not in closure:
            self._watcher.report(f"6: {answer}")
        if response.status_code == 500 and body["code"] != "start_failed":
            self._watcher.report(f"6: {answer}")
        if seconds > LONGEST_SECONDS + (FREEZE_SECONDS if was_disturbed else 0):
            self._watcher.report(f"5: {answer}")

    def _toggle(self, verb: str, name: str, http: httpx.Client) -> None:
        with self._activity.doing(name, stops=verb == "disable") as interval:
            if verb == "disable":
                self._activity.forget_end(name, may_start=False)
            try:
                response = http.post(f"/plugin/{name}/{verb}", headers=ADMIN)
            except httpx.TransportError as error:
                self._check_transport_error(verb, error, interval.began)
                return
        code = response.json().get("code", "")
        self.answers[f"{verb} {response.status_code} {code}".strip()] += 1
        is_excused = self._was_disturbed(interval.began) and response.status_code == 503
        if response.status_code not in (200, 202, 404) and not is_excused:
            self._watcher.report(f"6: {verb} of {name!r}: {response.status_code} {response.text}")

    def _toggle_by_command(self, verb: str, name: str) -> None:
        with self._activity.doing(name, stops=verb == "disable") as interval:
            self._activity.forget_end(name, may_start=False)
            try:
                done = self._stack.command(verb, name)
                status, words = done.returncode, done.stdout + done.stderr
            except subprocess.TimeoutExpired as error:  # it waits for a service that is being started
                status, words = 1, str(error)
        self.answers[f"command {verb} {status}"] += 1
        was_disturbed = self._was_disturbed(interval.began)  # with 2 it has not been answered
        is_excused = (status in (1, 2) and was_disturbed) or (status == 1 and "there is no plugin" in words)
        if "Traceback" in words or (status and not is_excused):
            self._watcher.report(f"6: plugvisor {verb} {name}: {status} {words}")

    def _may_wait(self, name: str) -> bool:
        """Whether a start may have to wait for other plugins."""
        return bool(self._activity.requirements.closures[name]) or bool(self._activity.plugins[name].prefers)

    def _check_transport_error(self, path: str, error: httpx.TransportError, began: float) -> None:
        """A request may be broken off if the service is killed; a connection is never refused."""
        # a run without the thief may be of a Plugvisor that does not hold its port
        is_refused = isinstance(error, httpx.ConnectError) and "thief" in self._activity.plugins
        if is_refused or not self._was_disturbed(began):
            self._watcher.report(f"5: {path}: {error!r}")

    def _check_alone(self, verb: str, name: str, answer: dict[str, Any], log_size: int, seconds: float) -> None:
        """Check the answer to an operation during which nothing else was done to the plugin."""
        behaviour = self._activity.plugins[name]
        if not behaviour.runs_until_stopped:
            return
        self.answers[f"alone {verb}"] += 1
        if (behaviour.stops_soon or verb == "start") and seconds > ALONE_SECONDS:
            self._watcher.report(f"5: {verb} of {name!r} alone took {seconds:.2f} s: {answer}")
        try:
            before, since = self._read_log_around(log_size)
        except FileNotFoundError:  # it was deleted in the round before, and nothing was logged since
            return
        if behaviour.stops_soon and re.search(rf"killing '{name}' \(\d+\) with SIGKILL", since):
            self._watcher.report(f"5: {verb} of {name!r} alone needed SIGKILL: {answer}")
        if verb != "stop":
            spawned = [int(pid) for pid in re.findall(rf"spawned: '{name}' with pid (\d+)", since)]
            # a signal had just ended it, and supervisord started it again before it heard of this operation
            until_first = before + since.partition(f"spawned: '{name}' ")[0]
            events = re.findall(rf"(exited: {name} |stopped: {name} |spawned: '{name}' )", until_first)
            if len(spawned) == 2 and events[-1:] == [f"exited: {name} "]:
                del spawned[0]
            if spawned != [answer["pid"]]:
                self._watcher.report(f"3: {verb} of {name!r} was answered with {answer}, but spawned were {spawned}")

    def _measure_log(self) -> int:
        with contextlib.suppress(FileNotFoundError):  # somebody has deleted the run folder
            return self._supervisord_log.stat().st_size
        return 0

    def _read_log_around(self, size: int) -> tuple[str, str]:
        """The end of what supervisord had logged when its log had that size, and what it has logged since."""
        with self._supervisord_log.open("rb") as log:
            log.seek(max(0, size - LOG_BYTES))
            before = log.read(min(size, LOG_BYTES))
            return before.decode(errors="replace"), log.read().decode(errors="replace")

    def _ask(self, method: str, path: str, longest_seconds: float, http: httpx.Client) -> None:
        began = time.monotonic()
        try:
            response = http.request(method, path, headers=ADMIN)
        except httpx.TransportError as error:
            self._check_transport_error(path, error, began)
            return
        seconds = time.monotonic() - began
        self.answers[f"{path} {response.status_code}"] += 1
        # a refresh may find that the file is gone which it has just written, or a folder that is not the service's yet
        code = response.json().get("code") if response.status_code in (500, 503) else ""
        is_excused = self._was_disturbed(began) and code in EXCUSED
        if response.status_code != 200 and not is_excused:
            self._watcher.report(f"6: {path}: {response.status_code} {response.text}")
        if self._was_disturbed(began):
            is_starved = self._activity.starved_until > began
            longest_seconds += RETURN_SECONDS if is_starved else RESTART_SECONDS
        if seconds > longest_seconds:
            self._watcher.report(f"5: {path} took {seconds:.2f} s")

    def _hang_up(self, operation: Operation) -> None:
        name, verb = operation.plugin_id, operation.verb
        began = time.monotonic()
        with self._activity.doing(name, starts=verb != "stop", stops=verb == "stop"):
            self._activity.forget_end(name, may_start=verb != "stop")
            for other in (name, *(self._activity.requirements.closures[name] if verb != "stop" else ())):
                self._intents.note_unknown(other, began)
            head = f"POST /plugin/{name}/{verb} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {ADMIN_CODE}"
            try:
                with socket.create_connection(("127.0.0.1", self._stack.port)) as client:
                    client.sendall(f"{head}\r\nContent-Length: 0\r\n\r\n".encode())
                    time.sleep(operation.pause_seconds / 5)
            except ConnectionRefusedError as error:
                self._check_transport_error("hanging up", httpx.ConnectError(str(error)), began)
            except OSError as error:
                self._check_transport_error("hanging up", httpx.WriteError(str(error)), began)

    def _was_disturbed(self, since: float) -> bool:
        self._watcher.notice_deletion()
        return self._activity.disturbed_until > since
