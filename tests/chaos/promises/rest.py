"""What must hold when nothing is done any more: everybody agrees, nothing was lost, and nothing started too early."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import xmlrpc.client
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.chaos.faults import REPORTS
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.activity import Activity
    from tests.chaos.promises.intents import IntentRecord
    from tests.chaos.promises.process_watcher import ProcessWatcher
    from tests.chaos.promises.start_order import StartOrder
    from tests.helpers.stack import PlugvisorStack

REST_SECONDS = 60.0
"""Within this all is as it is to stay; the longest delay of a restart is half of it."""
ENDS = {"ailing": "check 'pid'", "leaking": "memory limit"}
"""The plugins that are ended again and again, and what the reason says."""
POLL_SECONDS = 0.02
STOPPED = ("STOPPED", 0)

States = dict[str, tuple[str, int]]


class RestCheck:
    """Waits until nothing changes any more, and reports to the watcher what does not hold then."""

    def __init__(
        self,
        stack: PlugvisorStack,
        activity: Activity,
        watcher: ProcessWatcher,
        order: StartOrder,
        intents: IntentRecord,
    ) -> None:
        self._stack = stack
        self._intents = intents
        self._order = order
        self._activity = activity
        self._watcher = watcher
        self._logs = [
            _NewLines(path)
            for path in (stack.log_dir / "_supervisord.log", stack.log_dir / "_server.log", stack.output_path)
        ]
        self._spawned = 0

    def come_to_rest(self, service_kills: int) -> None:
        """Check all that must hold at rest."""
        for process in self._watcher.read():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGCONT)
        if self._watcher.violations:
            return
        try:
            wait_for(self._stack.is_ready, "the service to answer", REST_SECONDS)
            self._order.check()
            wait_for(self._nothing_waits, "no plugin to wait for its dependencies", REST_SECONDS)
            self._check_ends()
            for name, behaviour in self._activity.plugins.items():
                if not behaviour.runs_until_stopped:  # it would be another process at every look
                    wait_for(lambda name=name: self._is_stopped(name), f"{name} to stop", REST_SECONDS)
            self._check_agreement()
        except pytest.fail.Exception as failure:
            self._watcher.report(f"4: {failure}")
            return
        except AssertionError as error:
            self._watcher.report(f"6: {error}")
            return
        self._check_logs(service_kills)
        self.check_reports()

    def check_reports(self) -> None:
        """Check what the hostile plugins have achieved."""
        is_separate = "PLUGVISOR_PLUGIN_USER" in self._stack.environ
        for path in sorted((self._stack.root / REPORTS).iterdir()):
            lines = path.read_text(errors="replace").splitlines()
            achieved = {line for line in lines if is_separate or not line.startswith("deleted ")}
            for line in sorted(achieved):
                self._watcher.report(f"7: {path.name} {line}")

    def _nothing_waits(self) -> bool:
        with contextlib.suppress(httpx.TransportError, httpx.HTTPStatusError):
            # what supervisorctl has added again waits, as at a boot, for what somebody has stopped, and others for it
            waiting = {name: one for name, one in self._read_statuses().items() if one.get("queued")}
            held = {name for name, one in waiting.items() if "(stopped by " in one.get("detail", "")}
            while more := {name for name in waiting.keys() - held if held.intersection(waiting[name].get("unmet", ()))}:
                held |= more
            return held == waiting.keys()
        return False

    def _check_ends(self) -> None:
        """What is above its limit, or fails its check, is ended and restarted; a crash loop ends."""
        before = self._read_statuses()
        left = {name for name in ENDS if before.get(name, {}).get("status") in ("starting", "running")}
        left |= {"exhausted"} & before.keys()

        def is_done() -> bool:
            with contextlib.suppress(httpx.TransportError, httpx.HTTPStatusError):
                now = self._read_statuses()
                left.difference_update(
                    [name for name in left if self._was_ended(name, before[name], now.get(name, {}))]
                )
            return not left

        wait_for(is_done, f"the end of {left}", REST_SECONDS)

    def _was_ended(self, name: str, before: dict[str, Any], now: dict[str, Any]) -> bool:
        if name not in ENDS:
            return now.get("status") in (None, "stopped", "error") and "retry_at" not in now
        if now.get("pid") in (None, before.get("pid")):
            return False
        reason = now["last_exit"].get("reason", "")
        if ENDS[name] not in reason:
            self._watcher.report(f"6: {name!r} was ended, and its reason is {reason!r}: {now}")
        return True

    def _is_stopped(self, name: str) -> bool:
        began = time.monotonic()
        with contextlib.suppress(httpx.TransportError):
            # 404: its folder was removed before it was ever started; 503: supervisord has just been frozen
            status = self._stack.post(f"/plugin/{name}/stop").status_code
            if status in (200, 409):
                self._intents.note(name, "stopped", began)
            return status in (200, 404, 409)
        return False

    def _check_agreement(self) -> None:
        """The API, supervisord and the system say the same of each plugin, and those run that must."""
        deadline = time.monotonic() + REST_SECONDS
        unsettled = set(self._activity.plugins)
        while unsettled:
            try:
                api, supervisord = self._ask_api(), self._ask_supervisord()
            except (OSError, httpx.HTTPError, xmlrpc.client.Error) as error:
                if time.monotonic() > deadline:
                    self._watcher.report(f"4: no answer at rest: {error!r}")
                    return
                time.sleep(POLL_SECONDS)
                continue
            processes = self._watcher.read()
            for name in list(unsettled):
                must_run = self._activity.must_run(name)
                state, pid = supervisord.get(name, STOPPED)
                own = [process for process in processes if process.plugin_id == name]
                mains = [process for process in own if process.is_main]
                is_settled = (
                    state not in ("STARTING", "STOPPING")
                    and api.get(name, STOPPED) == (state, pid)
                    and [process.pid for process in mains] == ([pid] if pid else [])
                    and {one.launch for one in own if not one.is_check} == {process.launch for process in mains}
                    and (bool(pid) or not must_run)
                )
                if is_settled:
                    unsettled.discard(name)
                elif time.monotonic() > deadline:
                    number = "6: it was lost" if must_run and not pid else "4: they do not agree"
                    told = f"API {api.get(name)}, supervisord {state} {pid}, processes {own}"
                    self._watcher.report(f"{number}: {name!r}: {told}")
                    return
            time.sleep(POLL_SECONDS if unsettled else 0)

    def _ask_api(self) -> States:
        return {
            name: (one["state"].replace("UNKNOWN", "STOPPED"), one.get("pid", 0))
            for name, one in self._read_statuses().items()
        }

    def _read_statuses(self) -> dict[str, dict[str, Any]]:
        plugins: dict[str, dict[str, Any]] = self._stack.http.get("/plugin/status").raise_for_status().json()["plugins"]
        return plugins

    def _ask_supervisord(self) -> States:
        return {info["name"]: (info["statename"], info["pid"]) for info in self._stack.rpc("getAllProcessInfo")}

    def _check_logs(self, service_kills: int) -> None:
        if self._stack.process is None or self._stack.process.poll() is not None:
            self._watcher.report("6: supervisord has ended")
        for log in self._logs:
            text = log.read()
            self._spawned += text.count("spawned: 'plugvisor'") if log is self._logs[0] else 0
            if "Traceback" in text:
                self._watcher.report(f"6: {text[max(0, text.index('Traceback') - 500) :][:3000]}")
        # it ends with a message if it is started while the run folder is gone
        if self._spawned > 1 + service_kills + self._watcher.deletions:
            self._watcher.report(f"6: the service was started {self._spawned} times, and killed {service_kills} times")


class _NewLines:
    """Reads what a log has got since the last time; what is rotated or deleted meanwhile is not read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._inode = 0

    def read(self) -> str:
        """The new lines."""
        with contextlib.suppress(FileNotFoundError), self._path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_ino != self._inode or status.st_size < self._offset:
                self._offset, self._inode = 0, status.st_ino
            file.seek(self._offset)
            lines = file.read()
            lines = lines[: lines.rfind(b"\n") + 1]
            self._offset += len(lines)
            return lines.decode(errors="replace")
        return ""
