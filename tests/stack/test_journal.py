"""The journal across restarts: nothing is lost, nothing is said twice, and what happened meanwhile is found."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from tests.helpers.disks import fill, mount_tmpfs, needs_mounts
from tests.helpers.event_client import open_events
from tests.helpers.stack import ADMIN_CODE, QUICK
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from tests.helpers.stack import PlugvisorStack

AUTH = {"Authorization": f"Bearer {ADMIN_CODE}"}
CHECKED = f"""{QUICK}
[plugin_runtime.checks.works]
exec = ["true"]
period = 0.5
"""
FAILING_CHECK = f"""{QUICK}
[plugin_runtime.checks.works]
exec = ["false"]
period = 0.1
threshold = 1
startup = 0
"""
GREEDY = "import time\nkept = b'x' * 200_000_000\nprint('ready', flush=True)\ntime.sleep(600)\n"


def read(plugvisor: PlugvisorStack, **query: Any) -> list[dict[str, Any]]:
    """The entries, oldest first."""
    response = plugvisor.http.get("/journal", params={"limit": 1000, **query}, headers=AUTH)
    assert response.status_code == 200, response.text
    entries: list[dict[str, Any]] = response.json()["entries"]
    return entries[::-1]


def list_service(plugvisor: PlugvisorStack) -> list[tuple[str, str]]:
    return [(entry["subject"], entry["verb"]) for entry in read(plugvisor, kind="service")]


def list_states(plugvisor: PlugvisorStack, plugin_id: str) -> list[tuple[str, int]]:
    """The states of a plugin, and how often each was counted."""
    return [(entry["state"], entry.get("times", 1)) for entry in read(plugvisor, plugin_id=plugin_id, kind="state")]


def restart_service(plugvisor: PlugvisorStack, how: signal.Signals = signal.SIGTERM) -> None:
    """End the service; supervisord starts it again."""
    pid = plugvisor.service_pid
    os.kill(pid, how)
    wait_for(lambda: plugvisor.service_pid not in (pid, 0), "the new service")
    wait_for(plugvisor.is_ready, "the service to be ready")


def test_a_restart_of_the_service_says_nothing_twice(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("steady", runtime=CHECKED)
    plugvisor.write_plugin("crashed", "raise SystemExit(3)", runtime=f"{QUICK}\nsupervisor.autorestart = false")
    plugvisor.write_plugin("idle", runtime=QUICK)
    plugvisor.up()
    plugvisor.start_running("steady")
    plugvisor.post("/plugin/crashed/start")
    plugvisor.wait_for_state("crashed", "EXITED")
    wait_for(lambda: read(plugvisor, plugin_id="steady", kind="check"), "the check")
    wait_for(lambda: ("EXITED", 1) in list_states(plugvisor, "crashed"), "the exit in the journal")
    wait_for(lambda: read(plugvisor, plugin_id="crashed", kind="operation"), "the start that was asked for")
    before = {name: read(plugvisor, plugin_id=name) for name in ("steady", "crashed", "idle")}
    assert before["idle"] == []
    for how, service in ((signal.SIGTERM, ["stopped", "started"]), (signal.SIGKILL, ["started"])):
        known = len(list_service(plugvisor))
        restart_service(plugvisor, how)
        wait_for(lambda: plugvisor.http.get("/plugin/steady/health").json().get("health") == "healthy", "the check")
        wait_for(
            lambda known=known: len(list_service(plugvisor)) > known and list_service(plugvisor)[-1][1] == "started",
            "the start in the journal",
        )
        assert list_service(plugvisor)[known:] == [("service", verb) for verb in service]
        # what it leaves is stored after everything before
        request_id = plugvisor.post("/plugin/idle/stop").headers["X-Request-Id"]
        wait_for(
            lambda request_id=request_id: request_id in str(read(plugvisor, plugin_id="idle")), "the entry of a stop"
        )
        for name in ("steady", "crashed"):
            assert read(plugvisor, plugin_id=name) == before[name]


def test_what_happens_while_the_service_is_down_is_found(plugvisor: PlugvisorStack) -> None:
    for name in ("killed", "started", "again"):
        plugvisor.write_plugin(name, runtime=f"{QUICK}\nsupervisor.autorestart = false")
    plugvisor.up()
    pids = {name: plugvisor.start_running(name) for name in ("killed", "again")}
    wait_for(lambda: list_states(plugvisor, "again") == [("RUNNING", 1)], "the start in the journal")
    service = plugvisor.service_pid
    os.kill(service, signal.SIGSTOP)
    os.kill(pids["killed"], signal.SIGKILL)
    wait_for(lambda: "EXITED" in plugvisor.ctl("status", "killed"), "the end of it")
    plugvisor.ctl("start", "started")
    plugvisor.ctl("restart", "again")
    os.kill(service, signal.SIGKILL)
    wait_for(lambda: plugvisor.service_pid not in (service, 0), "the new service")
    wait_for(plugvisor.is_ready, "the service to be ready")

    def list_asked() -> list[tuple[str, str]]:
        entries = read(plugvisor, kind="operation")
        return [(entry["plugin_id"], entry["verb"]) for entry in entries if entry["identity"] == "supervisorctl"]

    expected = {
        "killed": [("RUNNING", 1), ("EXITED", 1)],
        "started": [("RUNNING", 1)],
        "again": [("RUNNING", 1), ("RUNNING", 1)],
    }
    for name, states in expected.items():
        wait_for(lambda name=name, states=states: len(list_states(plugvisor, name)) >= len(states), f"{name}'s states")
    wait_for(lambda: len(list_asked()) >= 2, "what the operator has asked for")
    for _ in range(2):
        assert {name: list_states(plugvisor, name) for name in expected} == expected
        assert list_asked() == [("started", "start"), ("again", "start")]
        restart_service(plugvisor)
    killed, started = read(plugvisor, plugin_id="killed")[-1], read(plugvisor, kind="service")[-1]
    assert killed["last_exit"]["signal"] == "SIGKILL"
    assert killed["at"] < started["at"], "it says when it happened, and not when it was found"


def test_a_stream_is_resumed_after_a_restart(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("one", runtime=QUICK)
    plugvisor.up()
    with open_events(plugvisor.port, path="/journal/stream", code=ADMIN_CODE) as client:
        plugvisor.start_running("one")
        last = client.wait("entry", plugin_id="one", verb="start")
        wait_for(lambda: list_states(plugvisor, "one") == [("RUNNING", 1)], "the start in the journal")
        restart_service(plugvisor)
        wait_for(lambda: client.ended, "the end of the stream")
    plugvisor.post("/plugin/one/stop")
    with open_events(plugvisor.port, last.id, path="/journal/stream", code=ADMIN_CODE) as client:
        client.wait("entry", plugin_id="one", verb="stop")
        assert client.grows
        assert "gap" not in client.kinds
        verbs = [event.data["verb"] for event in client.events if "verb" in event.data]
        assert verbs == ["stopped", "started", "stop"]
        assert client.events[0].number > last.number


def test_a_shutdown_is_no_loss(plugvisor: PlugvisorStack) -> None:
    plugvisor.up()
    plugvisor.down()
    plugvisor.up()
    wait_for(lambda: len(list_service(plugvisor)) >= 3, "the second start in the journal")
    assert list_service(plugvisor) == [("service", "started"), ("service", "stopped"), ("service", "started")]


def test_supervisord_that_is_frozen_or_another_one(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("one", runtime=QUICK)
    plugvisor.up()
    os.kill(plugvisor.supervisord_pid, signal.SIGSTOP)
    wait_for(lambda: ("supervisord", "lost") in list_service(plugvisor), "the loss in the journal")
    os.kill(plugvisor.supervisord_pid, signal.SIGCONT)
    wait_for(lambda: ("supervisord", "back") in list_service(plugvisor), "the return in the journal")
    assert list_service(plugvisor) == [("service", "started"), ("supervisord", "lost"), ("supervisord", "back")]


def test_everything_is_down_and_up_again(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("one", runtime="supervisor.startsecs = 0")
    plugvisor.up()
    wait_for(lambda: list_states(plugvisor, "one") == [("RUNNING", 1)], "the start in the journal")
    plugvisor.down()
    plugvisor.up()
    wait_for(lambda: list_states(plugvisor, "one")[-1] == ("RUNNING", 1) and list_states(plugvisor, "one")[1:], "both")
    assert list_states(plugvisor, "one")[-1] == ("RUNNING", 1)
    assert [service for service in list_service(plugvisor) if service[0] == "service"] == [
        ("service", "started"),
        ("service", "stopped"),
        ("service", "started"),
    ]


def test_checks_and_limits(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("sick", runtime=FAILING_CHECK)
    plugvisor.write_plugin("greedy", GREEDY, runtime=f'{QUICK}\nsupervisor.autorestart = false\nlimits.memory = "64M"')
    plugvisor.up()
    assert plugvisor.post("/plugin/sick/start").status_code == 200
    assert plugvisor.post("/plugin/greedy/start").status_code == 200
    [verdict] = wait_for(lambda: read(plugvisor, plugin_id="sick", kind="check"), "the verdict")
    assert (verdict["health"], verdict["subject"]) == ("unhealthy", "works")
    assert "check 'works' failed" in verdict["detail"]
    [limit] = wait_for(lambda: read(plugvisor, plugin_id="greedy", kind="limit"), "the limit")
    assert limit["subject"] == "memory"
    assert limit["last_exit"]["reason"] == "memory limit"
    assert "64 M" in limit["detail"]


# -- while it cannot be stored


def test_without_a_store_it_cannot_be_read_and_nothing_is_lost(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("one", runtime=QUICK)
    folder = plugvisor.root / "state"
    folder.write_text("")  # a file, where a folder is needed
    plugvisor.up()
    response = plugvisor.http.get("/journal", headers=AUTH)
    assert response.status_code == 503
    assert response.json()["code"] == "store_unavailable"
    assert int(response.headers["Retry-After"]) > 0
    assert "plugvisor_store_up 0.0" in plugvisor.http.get("/metrics", headers=AUTH).text
    with open_events(plugvisor.port, path="/journal/stream", code=ADMIN_CODE) as client:
        plugvisor.start_running("one")
        folder.unlink()
        client.wait("entry", plugin_id="one", verb="start")
        client.wait("entry", subject="store", verb="available")
        assert client.grows
    entries = read(plugvisor)
    assert {("service", "started"), ("store", "available")} <= {
        (entry["subject"], entry["verb"]) for entry in entries if entry["kind"] == "service"
    }
    assert [entry["verb"] for entry in entries if entry["kind"] == "operation"] == ["start"]
    assert list_states(plugvisor, "one") == [("RUNNING", 1)]
    assert "plugvisor_store_up 1.0" in plugvisor.http.get("/metrics", headers=AUTH).text


@needs_mounts
def test_a_full_disk_delays_it_and_loses_nothing(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("one", runtime=QUICK)
    with mount_tmpfs(plugvisor.root / "state", 2000) as folder:
        plugvisor.up()
        plugvisor.start_running("one")
        wait_for(lambda: list_states(plugvisor, "one") == [("RUNNING", 1)], "the start in the journal")
        before = read(plugvisor)
        filler = fill(folder)
        ids = [f"full-{number}" for number in range(200)]
        for request_id in ids:
            plugvisor.http.post("/plugin/one/start", headers={**AUTH, "X-Request-Id": request_id})
        metrics = wait_for(
            lambda: "plugvisor_store_up 0.0" in (text := plugvisor.http.get("/metrics", headers=AUTH).text) and text,
            "the store to be unavailable",
        )
        assert "plugvisor_store_errors_total 0.0" not in metrics
        assert read(plugvisor)[: len(before)] == before, "what is there can be read"
        filler.unlink()

        def list_ids() -> list[str]:
            return [entry["request_id"] for entry in read(plugvisor, kind="operation") if "full" in entry["request_id"]]

        wait_for(lambda: len(list_ids()) >= len(ids), "every entry")
        assert list_ids() == ids
        plugvisor.down()


def test_one_that_is_deleted_begins_anew_and_says_so(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("one", runtime=QUICK)
    plugvisor.up()
    with open_events(plugvisor.port, path="/journal/stream", code=ADMIN_CODE) as client:
        plugvisor.start_running("one")
        last = client.wait("entry", plugin_id="one", verb="start")
        for path in (plugvisor.root / "state").glob("plugvisor.db*"):
            path.unlink()
        replaced = client.wait("entry", subject="store", verb="replaced")
        assert replaced.number > last.number
        assert "was removed or replaced" in replaced.data["detail"]
    plugvisor.post("/plugin/one/stop")
    wait_for(lambda: [entry for entry in read(plugvisor) if entry.get("verb") == "stop"], "the stop in the journal")
    assert ("service", "started") not in list_service(plugvisor)
    with open_events(plugvisor.port, last.id, path="/journal/stream", code=ADMIN_CODE) as client:
        client.wait("entry", verb="stop")
        assert client.grows
