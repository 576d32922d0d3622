"""The endpoints over a real supervisord: bodies, messages and statuses as the contract has them."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.plugin_code import HESITANT, IGNORES_SIGTERM, OBEDIENT
from tests.helpers.processes import is_alive
from tests.helpers.stack import QUICK
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.stack import PlugvisorStack

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d")
HISTORY = {"restarts", "last_exit", "retry_at", "intent"}


def without_history(told: dict[str, Any]) -> dict[str, Any]:
    """A status without what depends on what happened before (`test_crash_loops.py`)."""
    return {name: value for name, value in told.items() if name not in HISTORY}


def test_start_status_stop(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add()
    assert shared.status(plugin_id)["status"] == "stopped"

    started = shared.post(f"/plugin/{plugin_id}/start")
    assert started.status_code == 200
    pid = started.json()["pid"]
    assert started.json() == {
        "plugin_id": plugin_id,
        "status": "starting",
        "state": "STARTING",
        "message": "Plugin started successfully",
        "pid": pid,
    }
    told = shared.wait_for_status(plugin_id, "running")
    assert told["pid"] == pid
    assert told["uptime"] >= 0
    assert TIME.fullmatch(told["time"])
    assert is_alive(pid)

    stopped = shared.post(f"/plugin/{plugin_id}/stop")
    assert stopped.status_code == 200
    assert stopped.json() == {
        "plugin_id": plugin_id,
        "status": "stopped",
        "state": "STOPPED",
        "message": "Plugin stopped successfully",
    }
    assert not is_alive(pid)
    assert without_history(shared.status(plugin_id)).keys() == {"plugin_id", "status", "state", "time"}


def test_an_empty_plugins_folder(plugvisor: PlugvisorStack) -> None:
    plugvisor.up()
    listed = plugvisor.http.get("/plugins")
    assert listed.status_code == 200
    assert listed.json() == {"plugins": [], "message": "no plugins registered"}
    told = plugvisor.http.get("/plugin/status").json()
    assert told.keys() == {"plugins", "time"}
    assert told["plugins"] == {}
    assert plugvisor.post("/plugins/refresh").json() == {"added": [], "changed": [], "removed": [], "invalid": []}


def test_what_runs_after_a_boot_and_how_it_is_listed(plugvisor: PlugvisorStack) -> None:
    folder = plugvisor.write_plugin("greeter")
    (folder / "plugin.toml").write_text(
        '[plugin]\nid = "greeter"\nname = "示例插件 🎉"\nversion = "2.1.0"\n'
        'description = "第一行\\n🐼 \\"quoted\\" 100%"\ncommand = ["python", "main.py"]\n',
        encoding="utf-8",
    )
    plugvisor.write_plugin("by_hand", runtime="auto_start = false")
    plugvisor.write_plugin("disabled", runtime="enabled = false")
    plugvisor.write_plugin("broken", runtime="enabled = maybe")
    plugvisor.up()
    plugvisor.wait_for_status("greeter", "running")

    listed = plugvisor.http.get("/plugins").json()
    told = {
        "runtime_enabled": True,
        "runtime_auto_start": True,
        "author": None,
        "dependencies": [],
        "sdk_version": None,
        "sdk_recommended": None,
        "sdk_supported": None,
        "sdk_untested": None,
        "sdk_conflicts": [],
        "entries": [],
        "depends_on": [],
        "dependents": [],
    }
    plain = {**told, "version": "0.1.0", "description": "", "status": "stopped", "state": "STOPPED", "enabled": True}
    assert listed["message"] == ""
    assert [without_history(plugin) for plugin in listed["plugins"] if plugin["id"] != "broken"] == [
        {"id": "by_hand", "name": "by_hand", **plain, "runtime_auto_start": False},
        {"id": "disabled", "name": "disabled", **plain, "enabled": False, "runtime_enabled": False},
        {
            **told,
            "id": "greeter",
            "name": "示例插件 🎉",
            "version": "2.1.0",
            "description": '第一行\n🐼 "quoted" 100%',
            "status": "running",
            "state": "RUNNING",
            "enabled": True,
        },
    ]
    [broken] = [plugin for plugin in listed["plugins"] if plugin["id"] == "broken"]
    assert (broken["status"], broken["enabled"], broken["name"]) == ("error", False, "broken")
    assert "plugin.toml line 5" in broken["detail"]
    for never_started in ("by_hand", "disabled", "broken"):
        assert not (plugvisor.log_dir / f"{never_started}.log").exists()


def test_status_of_one_and_of_all_say_the_same(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    running, stopped = add(suffix="-up"), add(suffix="-down")
    pid = shared.start_running(running)
    for path in ("/plugin/status", "/plugin/status?plugin_id="):
        told = shared.http.get(path).json()
        assert told.keys() == {"plugins", "time"}
        assert TIME.fullmatch(told["time"])
        assert without_history(told["plugins"][running]).keys() == {"status", "state", "pid", "uptime"}
        assert (told["plugins"][running]["status"], told["plugins"][running]["pid"]) == ("running", pid)
        assert isinstance(told["plugins"][running]["uptime"], int)
        assert without_history(told["plugins"][stopped]) == {"status": "stopped", "state": "STOPPED"}
    assert without_history(shared.status(running)).keys() == {"plugin_id", "status", "state", "pid", "uptime", "time"}
    assert wait_for(lambda: shared.status(running)["uptime"] >= 1)
    assert shared.status(running)["uptime"] < 60


def test_reload_of_a_running_a_stopped_and_a_failed_plugin(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add()
    before = 0
    for _ in ("stopped", "running"):
        reloaded = shared.post(f"/plugin/{plugin_id}/reload")
        assert reloaded.status_code == 200
        pid = reloaded.json()["pid"]
        assert reloaded.json() == {
            "plugin_id": plugin_id,
            "status": "running",
            "state": "RUNNING",
            "message": "Plugin reloaded successfully",
            "pid": pid,
        }
        assert is_alive(pid)
        assert pid != before
        assert not before or not is_alive(before)
        before = pid

    failed = add("raise SystemExit(1)", suffix="-failed", runtime="auto_start = false\nsupervisor.startretries = 0")
    shared.post(f"/plugin/{failed}/start")
    wait_for(lambda: shared.status(failed)["state"] == "FATAL")
    (shared.plugins_dir / failed / "main.py").write_text(OBEDIENT)
    assert shared.post(f"/plugin/{failed}/reload").json()["status"] == "running"
    assert shared.status(failed)["status"] == "running"


def test_a_plugin_without_startsecs_is_running_at_once(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    started = shared.post(f"/plugin/{plugin_id}/start").json()
    assert (started["status"], started["state"]) == ("running", "RUNNING")
    assert is_alive(started["pid"])


def test_start_waits_as_long_as_it_is_told(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime="auto_start = false\nsupervisor.startsecs = 100")
    for wait in ("", "?wait=", "?wait=0", "?wait=0.2"):
        began = time.monotonic()
        started = shared.post(f"/plugin/{plugin_id}/start{wait}")
        assert time.monotonic() - began >= (0.2 if wait == "?wait=0.2" else 0)
        assert (started.status_code, started.json()["status"]) == (200, "starting")
        assert shared.post(f"/plugin/{plugin_id}/stop").status_code == 200
    shared.write_plugin(plugin_id, runtime="auto_start = false\nsupervisor.startsecs = 1")
    started = shared.post(f"/plugin/{plugin_id}/start?wait=300")
    assert started.json()["status"] == "running"


def test_state_and_message_are_of_one_instant(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    """A stop that nobody waits for may be over when it is answered."""
    plugin_id = add("import signal\nprint('ready', flush=True)\nsignal.pause()\n", runtime=QUICK)
    for _ in range(30):
        shared.start_running(plugin_id)
        answer = shared.post(f"/plugin/{plugin_id}/stop?wait=0")
        told = answer.json()
        assert (answer.status_code, told["state"], told["message"]) in (
            (200, "STOPPED", "Plugin stopped successfully"),
            (202, "STOPPING", "Plugin is stopping"),
        )
        shared.wait_for_status(plugin_id, "stopped")
        answer = shared.post(f"/plugin/{plugin_id}/reload?wait=0")
        told = answer.json()
        assert (answer.status_code, told["state"], told["message"]) == (200, "RUNNING", "Plugin reloaded successfully")
        answer = shared.post(f"/plugin/{plugin_id}/reload?wait=0")
        told = answer.json()
        assert (answer.status_code, told["message"]) in (
            (200, "Plugin reloaded successfully"),
            (202, "Plugin is reloading"),
        )
        assert (told["state"] == "RUNNING") == (answer.status_code == 200)
        shared.wait_for_status(plugin_id, "running")
        assert shared.post(f"/plugin/{plugin_id}/stop").json()["state"] == "STOPPED"


def test_stop_that_goes_on_is_accepted(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(HESITANT, runtime=QUICK)
    pid = shared.start_running(plugin_id)
    for wait in (0, 0.2):
        accepted = shared.post(f"/plugin/{plugin_id}/stop?wait={wait}")
        assert accepted.status_code == 202
        assert accepted.json() == {
            "plugin_id": plugin_id,
            "status": "stopping",
            "state": "STOPPING",
            "message": "Plugin is stopping",
            "pid": pid,
        }
        told = shared.status(plugin_id)
        assert (told["status"], told["pid"]) == ("stopping", pid)
    (shared.plugins_dir / plugin_id / "go").touch()
    shared.wait_for_status(plugin_id, "stopped")
    assert not is_alive(pid)


def test_a_plugin_that_does_not_obey_is_killed(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(IGNORES_SIGTERM, runtime=f"{QUICK}\nsupervisor.stopwaitsecs = 1")
    pid = shared.start_running(plugin_id)
    assert shared.post(f"/plugin/{plugin_id}/stop").json()["status"] == "stopped"
    assert not is_alive(pid)


def test_reload_that_goes_on_is_accepted(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(HESITANT, runtime=QUICK)
    pid = shared.start_running(plugin_id)
    accepted = shared.post(f"/plugin/{plugin_id}/reload?wait=0.2")
    assert accepted.status_code == 202
    assert accepted.json() == {
        "plugin_id": plugin_id,
        "status": "stopping",
        "state": "STOPPING",
        "message": "Plugin is reloading",
        "pid": pid,
    }
    (shared.plugins_dir / plugin_id / "go").touch()
    told = shared.wait_for_status(plugin_id, "running")
    assert told["pid"] != pid
    assert not is_alive(pid)
    reloaded = shared.post(f"/plugin/{plugin_id}/reload?wait=50")
    assert (reloaded.status_code, reloaded.json()["status"]) == (200, "running")


def test_reload_does_not_say_that_it_is_done_before_it_is(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    pid = shared.start_running(plugin_id)
    for wait in [0, 0.002, 0.005, 0.01, 0.02] * 4:
        answer = shared.post(f"/plugin/{plugin_id}/reload?wait={wait}")
        told = answer.json()
        if answer.status_code == 200:
            assert (told["status"], told["message"]) == ("running", "Plugin reloaded successfully")
            assert told["pid"] != pid
        else:
            assert (answer.status_code, told["message"]) == (202, "Plugin is reloading")
        pid = wait_for(lambda pid=pid: (new := shared.status(plugin_id).get("pid", pid)) != pid and new)


@pytest.mark.parametrize(
    ("code", "options", "told"),
    [
        ("raise SystemExit(0)", "startsecs = 0", "stopped EXITED it exited by itself, with exit code 0"),
        (
            "raise SystemExit(3)",
            "startsecs = 0\nexitcodes = [3, 4]",
            "stopped EXITED it exited by itself, with exit code 3",
        ),
        (
            "raise SystemExit(3)",
            "startsecs = 0\nautorestart = false",
            "error EXITED it ended unexpectedly, with exit code 3",
        ),
        (
            "import os\nos.kill(0, 9)",
            "startsecs = 0\nautorestart = false",
            "error EXITED it ended unexpectedly, killed by ",
        ),
        ("raise SystemExit(0)", "startretries = 100", "error BACKOFF it could not be started: it exited too quickly"),
        ("raise SystemExit(0)", "startretries = 0", "error FATAL it could not be started and supervisord has given up"),
    ],
    ids=["expected", "expected-code", "unexpected-code", "signal", "backoff", "fatal"],
)
def test_what_is_told_of_a_plugin_that_ended(
    shared: PlugvisorStack, add: Callable[..., str], code: str, options: str, told: str
) -> None:
    plugin_id = add(code, runtime=f"auto_start = false\n[plugin_runtime.supervisor]\n{options}")
    status, state, detail = told.split(" ", 2)
    shared.post(f"/plugin/{plugin_id}/start")
    answer = wait_for(
        lambda: (answer := shared.status(plugin_id))["state"] == state and answer, f"{plugin_id} to be {state}"
    )
    assert without_history(answer).keys() == {"plugin_id", "status", "state", "detail", "time"}
    assert answer["status"] == status
    assert answer["detail"].startswith(detail)
    if state == "BACKOFF":
        assert "supervisord will try again" in answer["detail"]
        assert shared.post(f"/plugin/{plugin_id}/stop").json()["status"] == "stopped"  # else it goes on and on
    else:
        [listed] = [plugin for plugin in shared.http.get("/plugins").json()["plugins"] if plugin["id"] == plugin_id]
        assert (listed["status"], listed["state"], listed["detail"]) == (status, state, answer["detail"])
