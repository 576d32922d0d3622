"""supervisorctl as the operator's fallback: what it does is what the API shows next, and the other way round."""

from __future__ import annotations

import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.helpers.plugin_code import HESITANT, OBEDIENT
from tests.helpers.processes import find_processes, is_alive
from tests.helpers.stack import QUICK
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.stack import PlugvisorStack


def test_status_start_stop_restart(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    assert re.search(rf"^{plugin_id} +STOPPED", shared.ctl("status"), re.MULTILINE)
    wait_for(lambda: re.search(r"^plugvisor +RUNNING", shared.ctl("status"), re.MULTILINE))

    assert f"{plugin_id}: started" in shared.ctl("start", plugin_id)
    told = shared.wait_for_status(plugin_id, "running")
    assert f"pid {told['pid']}" in shared.ctl("status", plugin_id)
    assert shared.post(f"/plugin/{plugin_id}/start").json()["code"] == "already_running"

    assert f"{plugin_id}: started" in shared.ctl("restart", plugin_id)
    wait_for(lambda: shared.status(plugin_id).get("pid", told["pid"]) != told["pid"], "the new process")
    shared.wait_for_status(plugin_id, "running")
    assert not is_alive(told["pid"])

    assert f"{plugin_id}: stopped" in shared.ctl("stop", plugin_id)
    shared.wait_for_status(plugin_id, "stopped")
    assert shared.post(f"/plugin/{plugin_id}/stop").json()["code"] == "not_running"
    pid = shared.start_running(plugin_id)
    assert f"pid {pid}" in shared.ctl("status", plugin_id)


def test_a_disabled_plugin_is_a_program_that_the_operator_can_start(
    shared: PlugvisorStack, add: Callable[..., str]
) -> None:
    plugin_id = add(runtime="enabled = false\nsupervisor.startsecs = 0")
    assert f"{plugin_id}: started" in shared.ctl("start", plugin_id)
    shared.wait_for_status(plugin_id, "running")
    assert shared.post(f"/plugin/{plugin_id}/stop").json()["status"] == "stopped"


def test_stop_ends_where_the_plugin_is_started_again_at_once(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(HESITANT, runtime=QUICK)
    pid = shared.start_running(plugin_id)
    with ThreadPoolExecutor(1) as pool:
        stopped = pool.submit(shared.ctl, "stop", plugin_id)
        wait_for(lambda: "asked to stop" in shared.read_log(plugin_id), "the stop")
        assert shared.post(f"/plugin/{plugin_id}/reload?wait=0").status_code == 202
        (shared.plugins_dir / plugin_id / "go").touch()
        assert f"{plugin_id}: stopped" in stopped.result()
    assert shared.wait_for_status(plugin_id, "running")["pid"] != pid


def test_tail(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(f"print('你好 🐼', flush=True)\n{OBEDIENT}", runtime=QUICK)
    shared.start_running(plugin_id)
    assert shared.ctl("tail", plugin_id) == "你好 🐼\nready\n\n"
    assert f"/plugin/{plugin_id}/start: 200" in shared.ctl("tail", "plugvisor")


def test_render_reread_update(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    changed, removed = add(suffix="-changed", runtime=QUICK), add(suffix="-removed", runtime=QUICK)
    untouched = add(suffix="-untouched", runtime=QUICK)
    pids = {plugin_id: shared.start_running(plugin_id) for plugin_id in (changed, removed, untouched)}
    new = f"{untouched}-new"
    shared.write_plugin(new, runtime="auto_start = true\nsupervisor.startsecs = 0")
    shared.write_plugin(changed, runtime="auto_start = true\nsupervisor.startsecs = 100")
    (shared.plugins_dir / removed).rename(shared.root / removed)
    assert shared.command("render").returncode == 0
    reread = shared.ctl("reread")
    for plugin_id, what in ((new, "available"), (changed, "changed"), (removed, "disappeared")):
        assert f"{plugin_id}: {what}" in reread
    assert untouched not in reread.replace(new, "")
    for plugin_id, pid in pids.items():
        assert shared.status(plugin_id)["pid"] == pid

    update = shared.ctl("update")
    for line in (f"{new}: added process group", f"{changed}: updated process group", f"{removed}: removed process"):
        assert line in update
    assert shared.wait_for_state(changed, "STARTING")["pid"] != pids[changed]
    assert shared.status(untouched)["pid"] == pids[untouched]
    assert not is_alive(pids[changed])
    assert not is_alive(pids[removed])
    # the service has not read the folder yet
    shared.wait_for_status(removed, "stopped")
    assert shared.http.get(f"/plugin/status?plugin_id={new}").status_code == 404
    wait_for(lambda: find_processes(shared.plugins_dir / new))
    refreshed = shared.post("/plugins/refresh").json()
    assert (refreshed["added"], refreshed["changed"], refreshed["removed"]) == ([new], [changed], [removed])
    shared.wait_for_status(new, "running")
    assert shared.http.get(f"/plugin/status?plugin_id={removed}").status_code == 404


def test_the_service_notices_what_an_update_applied(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    """A manifest goes from A to B, which the operator applies, and back to A, which the API has to apply."""
    plugin_id = add(runtime=QUICK)
    shared.start_running(plugin_id)  # A is applied by the service
    shared.write_plugin(plugin_id, runtime="auto_start = false\nsupervisor.startsecs = 100")
    assert shared.command("render").returncode == 0
    assert plugin_id in shared.ctl("update")
    shared.write_plugin(plugin_id, runtime=QUICK)
    reloaded = shared.post(f"/plugin/{plugin_id}/reload?wait=50")
    assert (reloaded.status_code, reloaded.json()["state"]) == (200, "RUNNING")
    assert f"{plugin_id}:" not in shared.ctl("reread")


def test_a_program_that_the_operator_removed_can_be_started(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    pid = shared.start_running(plugin_id)
    shared.ctl("stop", plugin_id)
    assert "removed" in shared.ctl("remove", plugin_id)
    assert plugin_id not in shared.ctl("status")
    shared.wait_for_status(plugin_id, "stopped")
    assert shared.post(f"/plugin/{plugin_id}/stop").json()["code"] == "not_running"
    assert shared.start_running(plugin_id) != pid
    assert re.search(rf"^{plugin_id} +RUNNING", shared.ctl("status"), re.MULTILINE)

    shared.ctl("stop", plugin_id)
    shared.ctl("remove", plugin_id)
    before = shared.read_log(plugin_id)
    assert shared.post("/plugins/refresh").json()["added"] == [plugin_id]
    assert re.search(rf"^{plugin_id} +STOPPED", shared.ctl("status"), re.MULTILINE)
    assert shared.read_log(plugin_id) == before


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_a_restarted_service(shared: PlugvisorStack, add: Callable[..., str], how: str) -> None:
    """Plugins do not notice, and nothing is lost."""
    running, stopped = add(suffix="-up", runtime=QUICK), add(suffix="-down", runtime=QUICK)
    edited = add(suffix="-edited", runtime=QUICK)
    pids = {plugin_id: shared.start_running(plugin_id) for plugin_id in (running, edited)}

    def list_plugins() -> dict[str, object]:
        """The plugins of this test, and the ids of all: others may still be starting."""
        plugins = {plugin["id"]: plugin for plugin in shared.http.get("/plugins").json()["plugins"]}
        return dict.fromkeys(plugins) | {name: plugins[name] for name in (running, stopped, edited)}

    before = list_plugins()
    old = shared.service_pid
    if how == "restart":
        assert "plugvisor: started" in shared.ctl("restart", "plugvisor")
    else:
        os.kill(old, signal.SIGKILL)
    wait_for(lambda: shared.service_pid not in (0, old), "another process of the service")
    wait_for(shared.is_ready)
    assert list_plugins() == before
    for plugin_id, pid in pids.items():
        assert shared.status(plugin_id)["pid"] == pid
        assert is_alive(pid)
    # the new service does everything, with the same admin code
    assert shared.post("/plugins/refresh").json() == {"added": [], "changed": [], "removed": [], "invalid": []}
    assert shared.start_running(stopped)
    assert shared.post(f"/plugin/{running}/stop").status_code == 200
    shared.write_plugin(edited, runtime="auto_start = false\nsupervisor.startsecs = 100")
    assert shared.post(f"/plugin/{edited}/reload?wait=0.1").status_code == 202
    shared.wait_for_state(edited, "STARTING")


@pytest.mark.parametrize("verb", ["start", "reload"])
def test_a_change_while_away(shared: PlugvisorStack, add: Callable[..., str], verb: str) -> None:
    """Manifests that changed while the service was down are applied at the next start, also where all come at once."""
    code = f"import os\nprint(os.environ.get('SEEN'), flush=True)\n{OBEDIENT}"
    pids = {
        plugin_id: shared.start_running(plugin_id)
        for plugin_id in [add(code, suffix=f"-{n}", runtime=QUICK) for n in range(3)]
    }
    assert "stopped" in shared.ctl("stop", "plugvisor")
    for plugin_id, pid in pids.items():
        assert is_alive(pid)
        runtime = 'auto_start = true\nsupervisor.startsecs = 100\nenvironment.SEEN = "new"'
        shared.write_plugin(plugin_id, code, runtime=runtime)
    assert "started" in shared.ctl("start", "plugvisor")
    wait_for(shared.is_ready)
    for plugin_id, pid in pids.items():
        assert shared.status(plugin_id)["pid"] == pid
        if verb == "start":
            assert shared.post(f"/plugin/{plugin_id}/stop").status_code == 200
    with ThreadPoolExecutor(len(pids)) as clients:
        answers = clients.map(lambda plugin_id: shared.post(f"/plugin/{plugin_id}/{verb}?wait=1"), pids)
    assert {answer.status_code for answer in answers} <= {200, 202}
    for plugin_id in pids:
        wait_for(lambda plugin_id=plugin_id: shared.status(plugin_id)["state"] == "STARTING")
        wait_for(lambda plugin_id=plugin_id: "new\nready\n" in shared.read_log(plugin_id))
        assert f"{plugin_id}:" not in shared.ctl("reread")
