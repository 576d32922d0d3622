"""What operators have asked for, and restarts of the service, whichever engine runs the plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.helpers.plugin_processes import find_plugin
from tests.helpers.stack import QUICK
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.stack import PlugvisorStack


def test_an_intent_is_shown_and_forgotten(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    assert "intent" not in shared.status(plugin_id)
    shared.start_running(plugin_id)
    intent = shared.status(plugin_id)["intent"]
    assert (intent["wanted"], intent["by"]) == ("running", "admin")
    assert shared.post("/plugins/stop", json={"plugin_ids": [plugin_id]}).json()["ok"]
    assert shared.status(plugin_id)["intent"]["wanted"] == "stopped"
    assert shared.delete(f"/plugin/{plugin_id}/intent").json() == {"plugin_id": plugin_id, "enabled": True}
    assert "intent" not in shared.status(plugin_id)


def test_a_stop_of_a_plugin_that_has_failed_is_remembered(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add("raise SystemExit(3)\n", runtime='supervisor.startsecs = 0\nsupervisor.autorestart = "false"')
    shared.post(f"/plugin/{plugin_id}/start")
    shared.wait_for_state(plugin_id, "EXITED")
    for _ in range(2):
        problem = shared.post(f"/plugin/{plugin_id}/stop")
        assert (problem.status_code, problem.json()["code"]) == (409, "not_running")
        intent = shared.status(plugin_id)["intent"]
        assert (intent["wanted"], intent["by"]) == ("stopped", "admin")
    wait_for(lambda: shared.status(plugin_id).get("last_exit", {}).get("code") == 3, "how it has ended")
    assert shared.post("/plugins/stop", json={"plugin_ids": [plugin_id]}).json()["ok"]
    assert shared.status(plugin_id)["intent"] == intent, "it is asked for once"


def test_a_disabled_plugin_is_stopped_and_not_started(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    shared.start_running(plugin_id)
    assert shared.post(f"/plugin/{plugin_id}/disable").json()["status"] == "stopped"
    assert not find_plugin(shared, plugin_id)
    assert shared.status(plugin_id)["detail"] == "it was disabled by 'admin'"
    for verb in ("start", "reload"):
        problem = shared.post(f"/plugin/{plugin_id}/{verb}")
        assert (problem.status_code, problem.json()["code"]) == (409, "plugin_disabled")
    assert shared.post(f"/plugin/{plugin_id}/enable").json()["enabled"] is True
    shared.start_running(plugin_id)
    shared.change(plugin_id, "stop")
