"""Liveness, readiness and server info, and the health and usage of plugins."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor import VERSION
from prometheus_client.parser import text_string_to_metric_families

from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.processes import is_alive
from tests.helpers.stack import ADMIN_CODE
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from tests.helpers.stack import PlugvisorStack

CODE = {"Authorization": f"Bearer {ADMIN_CODE}"}
BUSY_CHILD = "import os\nif os.fork() == 0:\n    while True: pass\n" + OBEDIENT
MEASURED = {"plugin_id", "timestamp", "pid", "cpu_percent", "memory_mb", "memory_percent", "num_threads"}


def ask(plugvisor: PlugvisorStack, path: str) -> Any:
    response = plugvisor.http.get(path, headers=CODE)
    assert response.status_code == 200, response.text
    return response.json()


def read_metrics(response: httpx.Response) -> dict[tuple[str, ...], float]:
    """Every sample by its name and its labels' values."""
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/plain")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def test_the_service_is_alive_and_available(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    add()
    alive = shared.http.get("/health")
    assert (alive.status_code, alive.json()["status"], alive.json().keys()) == (200, "ok", {"status", "time"})
    available = shared.http.get("/available").json()
    assert available.keys() == {"status", "available", "plugins_count", "store", "time"}
    assert (available["status"], available["available"]) == ("ok", True)
    assert available["store"] == {"status": "ok"}
    assert available["plugins_count"] == len(shared.http.get("/plugins").json()["plugins"])


def test_server_info(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    running, stopped = add(suffix="-up"), add(suffix="-down")
    shared.start_running(running)
    for headers, status in (({}, 401), ({"Authorization": "Bearer wrong"}, 401), (CODE, 200)):
        assert shared.http.get("/server/info", headers=headers).status_code == status
    told = ask(shared, "/server/info")
    assert (told["version"], told["sdk_version"]) == (VERSION, VERSION)
    assert {running, stopped} <= set(told["registered_plugins"])
    assert told["plugins_count"] == len(told["registered_plugins"])
    assert running in told["running_plugins"]
    assert stopped not in told["running_plugins"]
    assert told["running_plugins_count"] == len(told["running_plugins"])
    assert told["engine"] == {"name": "supervisord", "version": "4.3.0", "state": "RUNNING", "lacks": {}}
    assert told["supervisor"] == {
        "version": "4.3.0",
        "pid": shared.supervisord_pid,
        "state": "RUNNING",
        "extension": True,
    }


def test_health_of_a_plugin(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime="auto_start = false\nsupervisor.autorestart = false")
    path = f"/plugin/{plugin_id}/health"
    assert shared.http.get(path).json() == {"alive": False, "status": "stopped", "pid": None, "exitcode": None}
    pid = shared.start_running(plugin_id)
    assert shared.http.get(path).json() == {"alive": True, "status": "running", "pid": pid, "exitcode": None}
    os.kill(pid, signal.SIGKILL)
    shared.wait_for_status(plugin_id, "error")
    ended = {"alive": False, "status": "crashed", "pid": None, "exitcode": -9}
    assert shared.http.get(path).json() == ended
    assert shared.http.get("/plugin/gone/health").json()["code"] == "plugin_not_found"


@pytest.mark.parametrize(("code", "status"), [(0, "stopped"), (3, "crashed")])
def test_exit_codes(shared: PlugvisorStack, add: Callable[..., str], code: int, status: str) -> None:
    plugin_id = add(
        f"raise SystemExit({code})",
        runtime="auto_start = false\n[plugin_runtime.supervisor]\nstartsecs = 0\nautorestart = false",
    )
    shared.post(f"/plugin/{plugin_id}/start")
    wait_for(lambda: shared.status(plugin_id)["state"] == "EXITED")
    told = shared.http.get(f"/plugin/{plugin_id}/health").json()
    assert told == {"alive": False, "status": status, "pid": None, "exitcode": code}


def test_usage_of_a_plugin_with_a_busy_child(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(BUSY_CHILD)
    before = ask(shared, f"/plugin/metrics/{plugin_id}")
    assert before["metrics"] is None
    assert (before["plugin_running"], before["process_alive"], bool(before["message"])) == (False, False, True)
    assert not [told for told in ask(shared, "/plugin/metrics")["metrics"] if told["plugin_id"] == plugin_id]

    pid = shared.start_running(plugin_id)
    told = wait_for(lambda: (told := ask(shared, f"/plugin/metrics/{plugin_id}"))["metrics"] and told)
    assert told["metrics"].keys() == MEASURED
    assert (told["plugin_running"], told["process_alive"], told["message"]) == (True, True, "")
    assert told["metrics"]["pid"] == pid
    # the first sample may be from before it had a child
    wait_for(lambda: ask(shared, f"/plugin/metrics/{plugin_id}")["metrics"]["num_threads"] == 2, "its child")
    wait_for(lambda: ask(shared, f"/plugin/metrics/{plugin_id}")["metrics"]["cpu_percent"] > 1)
    whole = ask(shared, "/plugin/metrics")
    assert whole.keys() == {"metrics", "count", "global", "time"}
    assert whole["count"] == whole["global"]["active_plugins"] == len(whole["metrics"])
    assert whole["global"]["total_threads"] == sum(one["num_threads"] for one in whole["metrics"])
    assert whole["global"]["total_memory_mb"] >= 5

    history = wait_for(lambda: (told := ask(shared, f"/plugin/metrics/{plugin_id}/history"))["count"] >= 2 and told)
    times = [one["timestamp"] for one in history["history"]]
    assert times == sorted(times)
    path = f"/plugin/metrics/{plugin_id}/history"
    first = {"end_time": times[0]}
    assert shared.http.get(path, headers=CODE, params=first).json()["history"] == history["history"][:1]
    later = shared.http.get(path, headers=CODE, params={"start_time": times[1]}).json()["history"]
    assert later[0] == history["history"][1]
    assert shared.http.get(path, headers=CODE, params={"limit": 1}).json()["count"] == 1

    shared.post(f"/plugin/{plugin_id}/stop")
    assert ask(shared, f"/plugin/metrics/{plugin_id}")["metrics"] is None
    assert ask(shared, path)["count"] >= 2


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=601", "limit=-1", "limit=1.5", "limit=x", "start_time=x", "end_time=2026-99-01", "start_time=1",
     "start_time=2026-01-02&end_time=2026-01-01", "start_time=0001-01-01&end_time=x", "limit=" + "9" * 5000,
     "start_time=2026-11-22T15:02:57+00:00", "end_time=%00", "limit=%D9%A1"],
)  # fmt: skip
def test_parameters_of_the_history(shared: PlugvisorStack, query: str) -> None:
    if not any(plugin["id"] == "history" for plugin in shared.http.get("/plugins").json()["plugins"]):
        shared.write_plugin("history", runtime="auto_start = false")
        shared.post("/plugins/refresh")
    response = shared.http.get(f"/plugin/metrics/history/history?{query}", headers=CODE)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
    for allowed in (
        "limit=600",
        "limit=",
        "start_time=0001-01-02&end_time=9999-12-30",
        "end_time=2026-11-22T15:02:57Z",
    ):
        response = shared.http.get(f"/plugin/metrics/history/history?{allowed}", headers=CODE)
        assert response.status_code in (200, 422), response.text
    assert shared.http.get("/plugin/metrics/history/history?limit=600", headers=CODE).status_code == 200


def test_a_removed_plugin_has_no_history(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add()
    shared.start_running(plugin_id)
    wait_for(lambda: ask(shared, f"/plugin/metrics/{plugin_id}/history")["count"])
    folder = shared.plugins_dir / plugin_id
    folder.rename(shared.root / plugin_id)
    assert plugin_id in shared.post("/plugins/refresh").json()["removed"]
    assert shared.http.get(f"/plugin/metrics/{plugin_id}/history", headers=CODE).status_code == 404
    (shared.root / plugin_id).rename(folder)
    assert plugin_id in shared.post("/plugins/refresh").json()["added"]
    assert ask(shared, f"/plugin/metrics/{plugin_id}/history")["count"] == 0


def test_plugins_whose_names_are_paths(plugvisor: PlugvisorStack) -> None:
    for name in ("metrics", "status", "health", "history"):
        plugvisor.write_plugin(name, runtime="auto_start = false")
    plugvisor.up()
    for name in ("metrics", "status", "health", "history"):
        assert plugvisor.post(f"/plugin/{name}/start?wait=50").status_code == 200
        assert plugvisor.http.get(f"/plugin/{name}/health").json()["alive"], name
        if name != "health":  # /plugin/metrics/health is about the plugin `metrics`
            assert ask(plugvisor, f"/plugin/metrics/{name}")["plugin_id"] == name
        assert ask(plugvisor, f"/plugin/metrics/{name}/history")["plugin_id"] == name
    assert plugvisor.post("/plugin/metrics/stop").status_code == 200
    (plugvisor.plugins_dir / "metrics").rename(plugvisor.root / "metrics")
    plugvisor.post("/plugins/refresh")
    assert plugvisor.http.get("/plugin/metrics/health").status_code == 401
    assert ask(plugvisor, "/plugin/metrics/health")["plugin_id"] == "health"


def test_metrics_for_prometheus(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    running, stopped = add(suffix="-up"), add(suffix="-down")
    pid = shared.start_running(running)
    assert shared.http.get("/metrics").status_code == 401
    for _ in range(3):
        shared.http.get("/plugin/status", params={"plugin_id": running})
        shared.http.get(f"/nothing/{pid}")
    for method in ("PUT", "PROPFIND", "LOCK"):
        shared.http.request(method, "/plugins")

    def read_with_usage() -> dict[tuple[str, ...], float] | None:
        """The metrics, once there is a sample of the process, and not one of the moment before its start."""
        told = read_metrics(shared.http.get("/metrics", headers=CODE))
        return told if told.get(("plugvisor_plugin_memory_bytes", running), 0) > 1_000_000 else None

    told = wait_for(read_with_usage, "a sample")
    assert told["plugvisor_info", VERSION] == 1
    assert told["plugvisor_supervisord_up",] == 1
    assert told["plugvisor_plugin_status", running, "running"] == 1
    assert told["plugvisor_plugin_status", running, "stopped"] == 0
    assert told["plugvisor_plugin_status", stopped, "stopped"] == 1
    assert told["plugvisor_plugin_uptime_seconds", running] >= 0
    assert told["plugvisor_plugin_threads", running] == 1
    assert told["plugvisor_plugin_cpu_seconds_total", running] >= 0
    assert ("plugvisor_plugin_memory_bytes", stopped) not in told
    assert told["plugvisor_plugin_restarts_total", running] == 0
    requests = {labels[1:]: value for labels, value in told.items() if labels[0] == "plugvisor_http_requests_total"}
    assert requests["GET", "/plugin/status", "200"] >= 3
    assert requests["GET", "none", "404"] >= 3
    assert requests["PUT", "/plugins", "405"] >= 1
    assert requests["other", "/plugins", "405"] >= 2
    assert requests["POST", "/plugin/{plugin_id}/start", "200"] >= 1
    assert not [labels for labels in requests if str(pid) in "".join(labels) or running in "".join(labels)]
    # the default registry's names for the same, so that a dashboard that exists fits
    assert told["process_resident_memory_bytes",] > 10_000_000
    starts = told["plugvisor_supervisord_call_duration_seconds_count", "plugins.start"]
    assert starts >= 1
    assert told["plugvisor_supervisord_call_duration_seconds_bucket", "+Inf", "plugins.start"] == starts
    assert told["plugvisor_http_request_duration_seconds_count", "GET", "/plugin/status"] >= 3


def test_everyone_may_read_the_metrics_where_that_is_set(plugvisor: PlugvisorStack) -> None:
    plugvisor.environ["PLUGVISOR_METRICS_AUTH"] = "none"
    plugvisor.write_plugin("one")
    plugvisor.up()
    assert ("plugvisor_plugin_status", "one", "running") in read_metrics(plugvisor.http.get("/metrics"))


def test_supervisord_is_frozen(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("one")
    plugvisor.up()
    pid = plugvisor.wait_for_status("one", "running")["pid"]
    os.kill(plugvisor.supervisord_pid, signal.SIGSTOP)
    try:
        # it is looked at every few milliseconds whether it is stopped
        frozen = wait_for(lambda: (seen := plugvisor.http.get("/available")).status_code == 503 and seen)
        told = frozen.json()
        assert (told["available"], told["plugins_count"], told["code"]) == (False, 1, "supervisor_unavailable")
        assert "Retry-After" in frozen.headers
        assert plugvisor.http.get("/health").status_code == 200
        assert plugvisor.command("health").returncode == 1
        for path in ("/server/info", "/plugin/one/health", "/plugin/metrics", "/plugin/metrics/one/history"):
            assert plugvisor.http.get(path, headers=CODE).status_code == 503, path
        assert plugvisor.post("/plugins/stop").status_code == 503
        metrics = read_metrics(plugvisor.http.get("/metrics", headers=CODE))
        assert metrics["plugvisor_supervisord_up",] == 0
        assert not [labels for labels in metrics if "one" in labels]
    finally:
        os.kill(plugvisor.supervisord_pid, signal.SIGCONT)
    wait_for(lambda: plugvisor.http.get("/available").status_code == 200)
    assert is_alive(pid)
    assert ask(plugvisor, "/plugin/metrics/one")["metrics"]["pid"] == pid
