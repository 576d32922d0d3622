"""What must hold when nothing is done any more: everybody agrees, and nothing was lost."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.chaos.plugins import PLUGINS
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from tests.chaos.activity import Activity
    from tests.chaos.process_watcher import ProcessWatcher
    from tests.helpers.stack import PlugvisorStack

REST_SECONDS = 30.0
"""Within this all is as it is to stay."""
POLL_SECONDS = 0.02


def come_to_rest(stack: PlugvisorStack, activity: Activity, watcher: ProcessWatcher, service_kills: int) -> None:
    """Wait until nothing changes any more; report to the watcher what does not hold then."""
    for process in watcher.read():
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGCONT)
    if watcher.violations:
        return
    try:
        wait_for(stack.is_ready, "the service to answer", REST_SECONDS)
        for name, behaviour in PLUGINS.items():
            if not behaviour.runs_until_stopped:  # it would be another process at every look
                stack.post(f"/plugin/{name}/stop")
        _check_agreement(stack, activity, watcher)
    except pytest.fail.Exception as failure:
        watcher.report(f"4: {failure}")
        return
    except AssertionError as error:
        watcher.report(f"6: {error}")
        return
    _check_logs(stack, watcher, service_kills)


def _check_agreement(stack: PlugvisorStack, activity: Activity, watcher: ProcessWatcher) -> None:
    """The API, supervisord and the system say the same of each plugin, and those run that must."""
    deadline = time.monotonic() + REST_SECONDS
    unsettled = set(PLUGINS)
    while unsettled:
        api, supervisord, processes = _ask_api(stack), _ask_supervisord(stack), watcher.read()
        for name in list(unsettled):
            stopped = ("STOPPED", 0)
            (state, pid), own = supervisord.get(name, stopped), [one for one in processes if one.plugin_id == name]
            mains = [process for process in own if process.is_main]
            is_settled = (
                state not in ("STARTING", "STOPPING")
                and api.get(name, stopped) == (state, pid)
                and [process.pid for process in mains] == ([pid] if pid else [])
                and {process.launch for process in own} == {process.launch for process in mains}
                and (bool(pid) or not activity.must_run(name))
            )
            if is_settled:
                unsettled.discard(name)
            elif time.monotonic() > deadline:
                number = "6: it was lost" if activity.must_run(name) and not pid else "4: they do not agree"
                watcher.report(f"{number}: {name!r}: API {api.get(name)}, supervisord {state} {pid}, processes {own}")
                return
        time.sleep(POLL_SECONDS if unsettled else 0)


def _ask_api(stack: PlugvisorStack) -> dict[str, tuple[str, int]]:
    plugins: dict[str, dict[str, Any]] = stack.http.get("/plugin/status").json()["plugins"]
    return {name: (told["state"].replace("UNKNOWN", "STOPPED"), told.get("pid", 0)) for name, told in plugins.items()}


def _ask_supervisord(stack: PlugvisorStack) -> dict[str, tuple[str, int]]:
    return {info["name"]: (info["statename"], info["pid"]) for info in stack.rpc("getAllProcessInfo")}


def _check_logs(stack: PlugvisorStack, watcher: ProcessWatcher, service_kills: int) -> None:
    if stack.process is None or stack.process.poll() is not None:
        watcher.report("6: supervisord has ended")
    supervisord_log = stack.read_log("_supervisord")
    for log in (supervisord_log, stack.service_log, stack.output_path.read_text(errors="replace")):
        if "Traceback" in log:
            watcher.report(f"6: {log[max(0, log.index('Traceback') - 500) :][:3000]}")
    spawned = supervisord_log.count("spawned: 'plugvisor'")
    was_rotated = (stack.log_dir / "_supervisord.log.1").exists()
    if spawned > 1 + service_kills and not was_rotated:
        watcher.report(f"6: the service was started {spawned} times, and killed {service_kills} times")
