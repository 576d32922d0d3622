"""What operators have asked for, and restarts of the service, whichever engine runs the plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.helpers.plugin_processes import find_plugin, kill_plugin
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
    assert shared.post(f"/plugin/{plugin_id}/stop").status_code == 200


def test_a_restart_of_the_service_touches_no_plugin(plugvisor: PlugvisorStack) -> None:
    """What was stopped stays stopped, although its manifest starts it, and what runs goes on."""
    plugvisor.write_plugin("runs", runtime=QUICK)
    plugvisor.write_plugin("stopped", runtime="supervisor.startsecs = 0")
    plugvisor.up()
    plugvisor.start_running("runs")
    plugvisor.wait_for_status("stopped", "running")
    assert plugvisor.post("/plugin/stopped/stop").status_code == 200
    processes = find_plugin(plugvisor, "runs")
    pid = plugvisor.status("runs")["pid"]
    plugvisor.restart_service()
    assert find_plugin(plugvisor, "runs") == processes
    told = plugvisor.wait_for_status("runs", "running")
    assert (told["pid"], told["restarts"]) == (pid, 0)
    assert plugvisor.status("stopped")["status"] == "stopped"
    assert plugvisor.status("runs")["intent"]["wanted"] == "running"
    assert plugvisor.status("stopped")["intent"]["wanted"] == "stopped"


def test_what_ends_without_the_service_is_restarted_without_it(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("crashing", runtime=f"{QUICK}\nrestart.delay = 0.1")
    plugvisor.up()
    plugvisor.start_running("crashing")
    [before] = find_plugin(plugvisor, "crashing")
    kill_plugin(plugvisor, "crashing")
    wait_for(lambda: find_plugin(plugvisor, "crashing") not in ([], [before]), "the restart")
    plugvisor.restart_service()
    told = plugvisor.wait_for_status("crashing", "running")
    assert told["restarts"] == 1
    assert told["last_exit"]["signal"] == "SIGKILL"
