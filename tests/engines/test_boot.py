"""What is there after the start of everything, and after a restart of the service alone, whichever engine runs it.

Each test has a Plugvisor of its own. One of a whole file would be in the same swarm: such tests have other files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.engines.differences import drop_own
from tests.helpers.plugin_processes import find_plugin, kill_plugin
from tests.helpers.stack import QUICK
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from tests.helpers.stack import PlugvisorStack


def test_an_empty_plugins_folder(plugvisor: PlugvisorStack) -> None:
    plugvisor.up()
    assert plugvisor.http.get("/plugins").json() == {"plugins": [], "message": "no plugins registered"}
    told = plugvisor.http.get("/plugin/status").json()
    assert (told.keys(), told["plugins"]) == ({"plugins", "time"}, {})
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
    assert listed["message"] == ""
    broken, *others = listed["plugins"]
    fields = {
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
    plain = {**fields, "version": "0.1.0", "description": "", "status": "stopped", "state": "STOPPED", "enabled": True}
    assert list(map(drop_own, others)) == [
        {"id": "by_hand", "name": "by_hand", **plain, "runtime_auto_start": False},
        {"id": "disabled", "name": "disabled", **plain, "enabled": False, "runtime_enabled": False},
        {
            **fields,
            "id": "greeter",
            "name": "示例插件 🎉",
            "version": "2.1.0",
            "description": '第一行\n🐼 "quoted" 100%',
            "status": "running",
            "state": "RUNNING",
            "enabled": True,
        },
    ]
    assert (broken["id"], broken["name"], broken["status"], broken["enabled"]) == ("broken", "broken", "error", False)
    assert "plugin.toml line 5" in broken["detail"]
    for name in ("by_hand", "disabled", "broken"):
        assert not find_plugin(plugvisor, name)


def test_a_restart_of_the_service_touches_no_plugin(plugvisor: PlugvisorStack) -> None:
    """What was stopped stays stopped, although its manifest starts it, and what runs goes on."""
    plugvisor.write_plugin("runs", runtime=QUICK)
    plugvisor.write_plugin("stopped", runtime="supervisor.startsecs = 0")
    plugvisor.up()
    plugvisor.start_running("runs")
    plugvisor.wait_for_status("stopped", "running")
    plugvisor.change("stopped", "stop")
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
