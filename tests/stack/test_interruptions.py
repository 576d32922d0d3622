"""What was begun is finished, whatever becomes of the service, and whatever else is asked at the same time."""

from __future__ import annotations

import os
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.helpers.plugin_code import HESITANT
from tests.helpers.processes import find_processes, is_alive
from tests.helpers.stack import QUICK
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.stack import PlugvisorStack


def read_info(stack: PlugvisorStack, plugin_id: str) -> tuple[str, int]:
    """A plugin's state and process id, as supervisord has them."""
    info = stack.rpc("getProcessInfo", plugin_id)
    return info["statename"], info["pid"]


def count_spawned(stack: PlugvisorStack, plugin_id: str) -> int:
    return stack.read_log("_supervisord").count(f"spawned: '{plugin_id}'")


def test_a_reload_whose_service_is_killed_is_finished_by_supervisord(
    shared: PlugvisorStack, add: Callable[..., str]
) -> None:
    plugin_id = add(HESITANT, runtime=QUICK)
    old = shared.start_running(plugin_id)
    shared.write_plugin(plugin_id, HESITANT, runtime=f'{QUICK}\nenvironment.VERSION = "2"')
    service_pid = shared.service_pid
    with ThreadPoolExecutor(1) as pool:
        reload = pool.submit(shared.post, f"/plugin/{plugin_id}/reload")
        shared.wait_for_status(plugin_id, "stopping")
        os.kill(service_pid, signal.SIGKILL)
        with pytest.raises(httpx.TransportError):
            reload.result()
    (shared.plugins_dir / plugin_id / "go").touch()
    wait_for(lambda: read_info(shared, plugin_id) not in [("STOPPING", old), ("STOPPED", 0)], "the new process")
    state, new = read_info(shared, plugin_id)
    assert (state, is_alive(old), count_spawned(shared, plugin_id)) == ("RUNNING", False, 2)
    wait_for(shared.is_ready, "the service")
    assert shared.status(plugin_id)["pid"] == new
    environ = Path(f"/proc/{new}/environ")
    wait_for(lambda: b"VERSION=2" in environ.read_bytes().split(b"\0"), "its environment, once its program is executed")


def test_starts_that_are_pending_survive_a_restart_of_the_service(
    shared: PlugvisorStack, add: Callable[..., str]
) -> None:
    runtime = f"{QUICK}\nsupervisor.stopwaitsecs = 600"
    ids = [add(HESITANT, runtime=runtime, suffix=f"-{number}") for number in range(3)]
    pids = {plugin_id: shared.start_running(plugin_id) for plugin_id in ids}
    for plugin_id in ids:
        assert shared.post(f"/plugin/{plugin_id}/reload?wait=0").status_code == 202
    shared.restart_service()
    # it knows what is pending, and a stop cancels it
    for plugin_id in ids:
        assert (shared.status(plugin_id)["status"], shared.status(plugin_id)["pid"]) == ("stopping", pids[plugin_id])
    cancelled, *others = ids
    with ThreadPoolExecutor(1) as pool:
        stop = pool.submit(shared.post, f"/plugin/{cancelled}/stop")
        wait_for(lambda: "asked to stop" in shared.read_log(cancelled), "the stop")
        assert shared.post(f"/plugin/{cancelled}/stop?wait=0").status_code == 202
        for plugin_id in ids:
            (shared.plugins_dir / plugin_id / "go").touch()
        assert stop.result().json()["status"] == "stopped"
    for plugin_id in others:
        assert shared.wait_for_status(plugin_id, "running")["pid"] != pids[plugin_id]
        assert count_spawned(shared, plugin_id) == 2
    assert (shared.status(cancelled)["status"], count_spawned(shared, cancelled)) == ("stopped", 1)


def test_refreshes_and_starts_at_once(shared: PlugvisorStack) -> None:
    """Every plugin is added once, and runs once, whoever found it first."""
    ids = [f"at-once-{number}" for number in range(8)]
    for plugin_id in ids:
        shared.write_plugin(plugin_id, runtime=QUICK)

    def start(plugin_id: str) -> int:
        while (response := shared.post(f"/plugin/{plugin_id}/start")).status_code == 404:
            pass  # no refresh has found it yet
        return response.status_code

    with ThreadPoolExecutor(2 + 2 * len(ids)) as clients:
        starts = [clients.submit(start, plugin_id) for plugin_id in ids for _ in range(2)]
        refreshes = [clients.submit(shared.post, "/plugins/refresh") for _ in range(2)]
        assert Counter(one.result() for one in starts) == {200: len(ids), 409: len(ids)}
        added = [name for refresh in refreshes for name in refresh.result().json()["added"]]
    assert sorted(added) == ids
    for plugin_id in ids:
        pids = [shared.status(plugin_id)["pid"]]
        wait_for(
            lambda folder=shared.plugins_dir / plugin_id, pids=pids: find_processes(folder) == pids,
            "its one process to enter its folder",
        )
        assert count_spawned(shared, plugin_id) == 1


def test_refreshes_and_reloads_of_what_is_removed_at_once(shared: PlugvisorStack) -> None:
    """A plugin whose folder is gone is stopped and removed once, and nothing starts it again."""
    ids = [f"removed-{number}" for number in range(6)]
    for plugin_id in ids:
        shared.write_plugin(plugin_id, runtime=QUICK)
    assert shared.post("/plugins/refresh").json()["added"] == ids
    for plugin_id in ids:
        shared.start_running(plugin_id)
    for plugin_id in ids:
        (shared.plugins_dir / plugin_id).rename(shared.root / plugin_id)
    with ThreadPoolExecutor(2 + len(ids)) as clients:
        reloads = [clients.submit(shared.post, f"/plugin/{plugin_id}/reload") for plugin_id in ids]
        refreshes = [clients.submit(shared.post, "/plugins/refresh") for _ in range(2)]
        assert {one.result().status_code for one in reloads} <= {404, 422}
        removed = [name for refresh in refreshes for name in refresh.result().json()["removed"]]
    assert sorted(removed) == ids
    for plugin_id in ids:
        assert not find_processes(shared.root / plugin_id)
        assert shared.http.get("/plugin/status", params={"plugin_id": plugin_id}).status_code == 404
        assert plugin_id not in shared.ctl("status")
