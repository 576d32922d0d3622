"""Start, stop, reload and refresh through the API, beside each other and beside the operator."""

from __future__ import annotations

import os
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.helpers.plugin_code import HESITANT, IGNORES_SIGTERM, OBEDIENT
from tests.helpers.processes import find_processes, is_alive
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.stack import PlugvisorStack

SLOW = OBEDIENT.replace("sys.exit(0)", "(time.sleep(1.5), sys.exit(0))").replace("import ", "import time, ")
"""A plugin that takes its time to end."""
ALONE = f"import fcntl\nlock = open('lock', 'w')\nfcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)\n{OBEDIENT}"
"""A plugin that ends with a stack trace where another process of it is alive."""
WAITS_LONG = 4.0
"""Far below the ten seconds of `stopwaitsecs` that a lost SIGTERM costs, far above what a stop takes."""


def options(text: str = "startsecs = 0") -> str:
    """A plugin's runtime table that holds these options of supervisord."""
    return f"auto_start = false\n[plugin_runtime.supervisor]\n{text}"


def find(shared: PlugvisorStack, plugin_id: str) -> list[int]:
    """The living processes of a plugin, from the moment at which they have entered its folder."""
    return find_processes(shared.plugins_dir / plugin_id)


def goes_on(shared: PlugvisorStack, condition: Callable[[], bool], seconds: float = 1.5) -> bool:
    """Whether a condition holds all the time, while supervisord goes more rounds than it needs for anything."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not condition():
            return False
        time.sleep(0.01)
    return True


def test_a_stop_right_after_a_start_ends_quickly(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add()
    for _ in range(20):
        pid = shared.post(f"/plugin/{plugin_id}/start").json()["pid"]
        began = time.monotonic()
        assert shared.post(f"/plugin/{plugin_id}/stop").json()["status"] == "stopped"
        assert time.monotonic() - began < WAITS_LONG
        assert not is_alive(pid)


def test_a_start_while_it_is_being_stopped_by_the_operator(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(SLOW, runtime=options())
    old = shared.start_running(plugin_id)
    shared.rpc("stopProcess", plugin_id, False)
    shared.wait_for_status(plugin_id, "stopping")
    started = shared.post(f"/plugin/{plugin_id}/start").json()
    assert started["status"] == "running"
    assert started["pid"] != old
    assert not is_alive(old)
    wait_for(lambda: find(shared, plugin_id) == [started["pid"]])
    assert shared.status(plugin_id)["pid"] == started["pid"]


def test_a_reload_applies_changed_options(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(IGNORES_SIGTERM, runtime=options("startsecs = 0\nstopwaitsecs = 1"))
    shared.start_running(plugin_id)
    for text, state in (("startsecs = 0\npriority = 5", "RUNNING"), ("startsecs = 100", "STARTING")):
        pid = shared.status(plugin_id)["pid"]
        shared.write_plugin(plugin_id, runtime=options(text))
        assert shared.post(f"/plugin/{plugin_id}/reload?wait=2.5").is_success
        reloaded = shared.wait_for_state(plugin_id, state)  # a busy machine needs more
        assert reloaded["pid"] != pid
        assert not is_alive(pid)
        wait_for(lambda: len(find(shared, plugin_id)) == 1)
    assert shared.post(f"/plugin/{plugin_id}/stop").status_code == 200


def test_a_persons_stop_is_not_undone(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    stopped, other = (add(suffix=suffix, runtime="supervisor.startsecs = 0") for suffix in ("-a", "-b"))
    for plugin_id in (stopped, other):
        shared.start_running(plugin_id)
    assert shared.post(f"/plugin/{stopped}/stop").status_code == 200
    # both are changed, and supervisord reads the one's new section because of the other
    for plugin_id in (stopped, other):
        shared.write_plugin(plugin_id, runtime="supervisor.startsecs = 0\nsupervisor.priority = 5")
    assert shared.post("/plugins/refresh").json()["changed"] == [stopped, other]
    assert shared.post(f"/plugin/{other}/reload").json()["status"] == "running"
    assert shared.post("/plugins/refresh").status_code == 200
    assert goes_on(shared, lambda: shared.status(stopped)["state"] == "STOPPED")
    assert shared.read_log(stopped).count("ready") == 1


def test_what_a_refresh_finds_does_not_run(shared: PlugvisorStack) -> None:
    quick = "[plugin_runtime.supervisor]\nstartsecs = 0\nautorestart = true"
    kinds = ("auto_start = true", f"auto_start = true\n{quick}", f"enabled = false\n{quick}")
    plugin_ids = [f"found-{number}" for number in range(90)]
    folders = [shared.write_plugin(plugin_id, runtime=kinds[number % 3]) for number, plugin_id in enumerate(plugin_ids)]
    try:
        refreshed = shared.post("/plugins/refresh")
        assert refreshed.status_code == 200, refreshed.text
        assert set(refreshed.json()["added"]) >= set(plugin_ids)

        def states() -> dict[str, str]:
            told = shared.http.get("/plugin/status").json()["plugins"]
            return {
                plugin_id: told[plugin_id]["state"] for plugin_id in plugin_ids if told[plugin_id]["state"] != "STOPPED"
            }

        assert states() == {}
        assert goes_on(shared, lambda: states() == {})
        # not for a moment
        assert {shared.read_log(plugin_id) for plugin_id in plugin_ids} == {""}
        pid = shared.start_running(plugin_ids[1])
        assert shared.read_log(plugin_ids[1]) == "ready\n"
        assert is_alive(pid)
    finally:
        for folder in folders:
            shutil.rmtree(folder)
        shared.post("/plugins/refresh")


def test_one_of_ten_starts_at_once_wins(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(ALONE)
    with ThreadPoolExecutor(10) as clients:
        answers = list(clients.map(lambda _: shared.post(f"/plugin/{plugin_id}/start"), range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 9
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"already_running"}
    [pid] = [answer.json()["pid"] for answer in answers if answer.status_code == 200]
    assert shared.wait_for_status(plugin_id, "running")["pid"] == pid
    assert find(shared, plugin_id) == [pid]


def test_a_mix_of_operations_ends_in_a_consistent_state(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(ALONE, runtime=options("startsecs = 0"))
    verbs = ["start", "stop", "reload", "reload", "stop", "start"] * 6
    with ThreadPoolExecutor(6) as clients:
        answers = list(clients.map(lambda verb: (verb, shared.post(f"/plugin/{plugin_id}/{verb}")), verbs))
    for verb, answer in answers:
        assert (answer.status_code, answer.json().get("code")) in {
            "start": [(200, None), (409, "already_running")],
            "stop": [(200, None), (409, "not_running")],
            "reload": [(200, None), (500, "start_failed")],  # by a stop while it was waited for
        }[verb], answer.text
    assert "BlockingIOError" not in shared.read_log(plugin_id)  # two at a time
    assert len(find(shared, plugin_id)) <= 1
    told = shared.status(plugin_id)
    wait_for(lambda: find(shared, plugin_id) == ([told["pid"]] if told["status"] == "running" else []))
    assert shared.post(f"/plugin/{plugin_id}/reload").status_code == 200
    wait_for(lambda: find(shared, plugin_id) == [shared.status(plugin_id)["pid"]])


def test_operations_on_different_plugins_do_not_wait(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    deaf, other = (
        add(IGNORES_SIGTERM, suffix="-deaf", runtime=options("startsecs = 0\nstopwaitsecs = 600")),
        add(suffix="-other"),
    )
    pid = shared.start_running(deaf)
    with ThreadPoolExecutor(1) as client:
        stop = client.submit(shared.post, f"/plugin/{deaf}/stop")
        shared.wait_for_status(deaf, "stopping")
        assert shared.post(f"/plugin/{other}/start").status_code == 200
        assert shared.post(f"/plugin/{other}/stop").status_code == 200
        assert not stop.done()
        assert is_alive(pid)
        os.kill(pid, signal.SIGKILL)
        assert stop.result().json()["status"] == "stopped"
    assert not is_alive(pid)


def test_a_client_that_goes_away_cancels_nothing(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(HESITANT, runtime=options("startsecs = 0\nstopwaitsecs = 600"))
    go = shared.plugins_dir / plugin_id / "go"
    for verb, after in (("stop", "stopped"), ("reload", "running")):
        go.unlink(missing_ok=True)
        pid = shared.start_running(plugin_id)
        with pytest.raises(httpx.ReadTimeout):
            shared.post(f"/plugin/{plugin_id}/{verb}", timeout=0.3)
        shared.wait_for_status(plugin_id, "stopping")  # a busy service may read the request later
        go.touch()
        told = shared.wait_for_status(plugin_id, after)
        assert not is_alive(pid)
        wait_for(lambda told=told: find(shared, plugin_id) == ([told["pid"]] if "pid" in told else []))
        shared.post(f"/plugin/{plugin_id}/stop")


@pytest.mark.parametrize("code", [OBEDIENT, IGNORES_SIGTERM], ids=["obedient", "deaf"])
def test_children_end_with_their_plugin(shared: PlugvisorStack, add: Callable[..., str], code: str) -> None:
    plugin_id = add(f"import os\nos.fork()\nos.fork()\n{code}", runtime=options("startsecs = 0\nstopwaitsecs = 1"))
    for verb in ("stop", "reload"):
        shared.start_running(plugin_id)
        wait_for(lambda: len(find(shared, plugin_id)) == 4)
        before = find(shared, plugin_id)
        assert shared.post(f"/plugin/{plugin_id}/{verb}").status_code == 200
        wait_for(lambda before=before: not any(is_alive(pid) for pid in before), seconds=2)
    shared.post(f"/plugin/{plugin_id}/stop")
