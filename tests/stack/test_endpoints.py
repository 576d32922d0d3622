"""The endpoints over a real supervisord: bodies, messages and statuses as the contract has them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.plugin_code import HESITANT, OBEDIENT
from tests.helpers.processes import is_alive
from tests.helpers.stack import QUICK
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.stack import PlugvisorStack

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d")
HISTORY = {"restarts", "last_exit", "retry_at", "intent"}


def without_history(told: dict[str, Any]) -> dict[str, Any]:
    """A status without what depends on what happened before."""
    return {name: value for name, value in told.items() if name not in HISTORY}


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


def test_reload_of_a_failed_plugin(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    failed = add("raise SystemExit(1)", suffix="-failed", runtime="auto_start = false\nsupervisor.startretries = 0")
    shared.post(f"/plugin/{failed}/start")
    wait_for(lambda: shared.status(failed)["state"] == "FATAL")
    (shared.plugins_dir / failed / "main.py").write_text(OBEDIENT)
    assert shared.post(f"/plugin/{failed}/reload").json()["status"] == "running"
    assert shared.status(failed)["status"] == "running"


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
        (
            "raise SystemExit(0)",
            "startsecs = 60\nstartretries = 100",
            "error BACKOFF it could not be started: it exited too quickly",
        ),
        (
            "raise SystemExit(0)",
            "startsecs = 60\nstartretries = 0",
            "error FATAL it could not be started and supervisord has given up",
        ),
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
