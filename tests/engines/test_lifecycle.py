"""Start, stop and reload, whichever engine runs the plugins."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest

from tests.engines.differences import drop_own
from tests.helpers.plugin_code import HESITANT, IGNORES_SIGTERM, OBEDIENT
from tests.helpers.plugin_processes import find_plugin, kill_plugin
from tests.helpers.stack import QUICK
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.stack import PlugvisorStack

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d")
PARENT = f"""\
import subprocess, sys
if len(sys.argv) == 1:
    subprocess.Popen([sys.executable, "main.py", "child"], start_new_session=True)
{OBEDIENT}"""
"""Has a child that no signal to its process group reaches."""
PARENT_AND_CHILD = """\
import os, signal, subprocess, sys
if len(sys.argv) == 1:
    child = subprocess.Popen([sys.executable, "main.py", "child"])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(child.wait()))
else:
    signal.signal(signal.SIGTERM, lambda *_: (os.write(1, b"the child was asked\\n"), sys.exit(0)))
    print("ready", flush=True)
while True:
    signal.pause()
"""
"""Ends only when its child does, which is asked by nobody but the engine."""


def test_start_status_stop(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime="auto_start = false\nsupervisor.startsecs = 5")  # a busy machine's answer takes its time
    assert drop_own(shared.status(plugin_id)).keys() == {"plugin_id", "status", "state", "time"}
    assert shared.status(plugin_id)["status"] == "stopped"

    started = shared.post(f"/plugin/{plugin_id}/start")
    assert started.status_code == 200, started.text
    told = started.json()
    assert drop_own(told) == {
        "plugin_id": plugin_id,
        "status": "starting",
        "state": "STARTING",
        "message": "Plugin started successfully",
        "pid": told["pid"],
    }
    told = shared.wait_for_status(plugin_id, "running")
    assert told["pid"] == started.json()["pid"]
    assert told["uptime"] >= 0
    assert TIME.fullmatch(told["time"])
    assert len(find_plugin(shared, plugin_id)) == 1

    stopped = shared.post(f"/plugin/{plugin_id}/stop")
    assert stopped.status_code == 200, stopped.text
    assert drop_own(stopped.json()) == {
        "plugin_id": plugin_id,
        "status": "stopped",
        "state": "STOPPED",
        "message": "Plugin stopped successfully",
    }
    assert not find_plugin(shared, plugin_id)
    assert drop_own(shared.status(plugin_id)).keys() == {"plugin_id", "status", "state", "time"}


def test_a_plugin_without_startsecs_is_running_at_once(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    started = shared.post(f"/plugin/{plugin_id}/start").json()
    assert (started["status"], started["state"]) == ("running", "RUNNING")
    wait_for(lambda: find_plugin(shared, plugin_id), "its process")  # a container may have to unpack its folder first


def test_a_start_waits_as_long_as_it_is_told(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime="auto_start = false\nsupervisor.startsecs = 100")
    for wait in ("?wait=", "?wait=0", "?wait=0.2"):
        began = time.monotonic()
        started = shared.post(f"/plugin/{plugin_id}/start{wait}")
        assert time.monotonic() - began >= (0.2 if wait == "?wait=0.2" else 0)
        assert (started.status_code, started.json()["status"]) == (200, "starting")
        shared.change(plugin_id, "stop")
    shared.write_plugin(plugin_id, runtime="auto_start = false\nsupervisor.startsecs = 1")
    assert shared.post(f"/plugin/{plugin_id}/start?wait=60").json()["status"] == "running"


def test_what_runs_is_not_started_and_what_does_not_run_is_not_stopped(
    shared: PlugvisorStack, add: Callable[..., str]
) -> None:
    plugin_id = add(runtime=QUICK)
    problem = shared.post(f"/plugin/{plugin_id}/stop")
    assert (problem.status_code, problem.json()["code"]) == (409, "not_running")
    pid = shared.start_running(plugin_id)
    problem = shared.post(f"/plugin/{plugin_id}/start")
    assert (problem.status_code, problem.json()["code"]) == (409, "already_running")
    assert shared.status(plugin_id)["pid"] == pid


def test_an_unknown_plugin(shared: PlugvisorStack) -> None:
    for response in (
        shared.post("/plugin/nobody/start"),
        shared.post("/plugin/nobody/stop"),
        shared.post("/plugin/nobody/reload"),
        shared.http.get("/plugin/status?plugin_id=nobody"),
    ):
        assert (response.status_code, response.json()["code"]) == (404, "plugin_not_found")


def test_a_plugin_that_ignores_sigterm_is_killed(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(IGNORES_SIGTERM, runtime=f"{QUICK}\nsupervisor.stopwaitsecs = 1")
    shared.start_running(plugin_id)
    began = time.monotonic()
    assert shared.post(f"/plugin/{plugin_id}/stop").json()["status"] == "stopped"
    assert time.monotonic() - began >= 1
    assert not find_plugin(shared, plugin_id)


def test_the_stopsignal_of_the_manifest_is_sent(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    code = IGNORES_SIGTERM.replace(
        "print(", "signal.signal(signal.SIGUSR1, lambda *_: print('asked', flush=True) or exit())\nprint("
    )
    plugin_id = add(code, runtime=f'{QUICK}\nsupervisor.stopsignal = "USR1"')
    shared.start_running(plugin_id)
    assert shared.post(f"/plugin/{plugin_id}/stop").json()["status"] == "stopped"
    assert "asked" in shared.read_log(plugin_id)


def test_a_stop_goes_on_when_nobody_waits_for_it(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(HESITANT, runtime=f"{QUICK}\nsupervisor.stopwaitsecs = 100")
    shared.start_running(plugin_id)
    for wait in (0, 0.2):
        stopping = shared.post(f"/plugin/{plugin_id}/stop?wait={wait}")
        told = stopping.json()
        assert stopping.status_code == 202, told
        assert drop_own(told) == {
            "plugin_id": plugin_id,
            "status": "stopping",
            "state": "STOPPING",
            "message": "Plugin is stopping",
            "pid": told["pid"],
        }
        assert shared.status(plugin_id)["status"] == "stopping"
    kill_plugin(shared, plugin_id)
    shared.wait_for_status(plugin_id, "stopped")
    assert not find_plugin(shared, plugin_id)


def test_reload_of_a_stopped_and_of_a_running_plugin(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add()
    before: list[int] = []
    for _ in ("stopped", "running"):
        reloaded = shared.post(f"/plugin/{plugin_id}/reload")
        assert reloaded.status_code == 200, reloaded.text
        told = reloaded.json()
        assert drop_own(told) == {
            "plugin_id": plugin_id,
            "status": "running",
            "state": "RUNNING",
            "message": "Plugin reloaded successfully",
            "pid": told["pid"],
        }
        [process] = find_plugin(shared, plugin_id)
        assert process not in before
        before.append(process)


def test_a_reload_applies_what_has_changed(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    """Neither the manifest nor the code that a plugin runs with changes before."""
    code = f"import os\nprint('greeting', os.environ.get('GREETING'), flush=True)\n{IGNORES_SIGTERM}"
    runtime = f'{QUICK}\nsupervisor.stopwaitsecs = 1\nenvironment.GREETING = "{{}}"'
    plugin_id = add(code, runtime=runtime.format('你好; \\"100%\\"\\n$HOME'))
    shared.start_running(plugin_id)
    assert 'greeting 你好; "100%"\n$HOME\n' in shared.read_log(plugin_id)
    shared.write_plugin(plugin_id, code.replace("greeting", "new"), runtime=runtime.format("hello"))
    assert shared.post(f"/plugin/{plugin_id}/reload").json()["status"] == "running"
    wait_for(lambda: "new hello\n" in shared.read_log(plugin_id), "the new code")


def test_a_reload_of_a_broken_manifest_changes_nothing(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    shared.start_running(plugin_id)
    [process] = find_plugin(shared, plugin_id)
    shared.write_plugin(plugin_id, runtime="enabled = maybe")
    problem = shared.post(f"/plugin/{plugin_id}/reload")
    assert (problem.status_code, problem.json()["code"]) == (422, "invalid_manifest")
    assert find_plugin(shared, plugin_id) == [process]
    shared.change(plugin_id, "stop")


def test_many_at_once(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    names = [add(runtime=QUICK, suffix=f"-{number}") for number in range(3)]
    for verb, status in (("start", "running"), ("reload", "running"), ("stop", "stopped")):
        answer = shared.post(f"/plugins/{verb}", json={"plugin_ids": [*names, "nobody"]}).json()
        assert [result.get("status", result["ok"]) for result in answer["results"]] == [*[status] * 3, False]
        assert answer["results"][3]["problem"]["code"] == "plugin_not_found"
        assert [shared.status(name)["status"] for name in names] == [status] * 3


def test_an_orphan_ends_with_the_stop_of_its_plugin(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(PARENT, runtime=QUICK)
    shared.start_running(plugin_id)
    wait_for(lambda: len(find_plugin(shared, plugin_id)) == 2, "the child")
    shared.change(plugin_id, "stop")
    assert not find_plugin(shared, plugin_id)


@pytest.mark.parametrize("exitcodes", [[0], [0, 7]])
def test_children_are_asked_to_stop_with_their_plugin(
    shared: PlugvisorStack, add: Callable[..., str], exitcodes: list[int]
) -> None:
    plugin_id = add(
        PARENT_AND_CHILD, runtime=f"auto_start = false\n[plugin_runtime.supervisor]\nexitcodes = {exitcodes}\n"
    )
    shared.start_running(plugin_id)
    wait_for(lambda: "ready" in shared.read_log(plugin_id), "the child")
    shared.change(plugin_id, "stop")
    assert "the child was asked" in shared.read_log(plugin_id)
