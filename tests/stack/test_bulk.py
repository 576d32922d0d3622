"""start, stop and reload of many plugins in one request, and the client in docs/api.md."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.helpers.event_client import open_events
from tests.helpers.processes import is_alive
from tests.helpers.stack import ADMIN_CODE
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.stack import PlugvisorStack

API_DOCUMENT = Path(__file__).parents[2] / "docs" / "api.md"


def post(plugvisor: PlugvisorStack, verb: str, *names: str) -> dict[str, dict[str, Any]]:
    """Each plugin's result by its id."""
    response = plugvisor.post(f"/plugins/{verb}", **({"json": {"plugin_ids": names}} if names else {}))
    assert response.status_code == 200, response.text
    told = response.json()
    assert told.keys() == {"ok", "results"}
    assert told["ok"] == all(result["ok"] for result in told["results"])
    if names:
        assert [result["plugin_id"] for result in told["results"]] == list(dict.fromkeys(names))
    return {result["plugin_id"]: result for result in told["results"]}


def test_all_of_them(plugvisor: PlugvisorStack) -> None:
    names = [f"p{number:02}" for number in range(20)]  # more than are under way at once
    for name in names:
        plugvisor.write_plugin(name, runtime="auto_start = false")
    plugvisor.write_plugin("disabled", runtime="enabled = false")
    plugvisor.write_plugin("broken", runtime="enabled = maybe")
    plugvisor.up()
    assert post(plugvisor, "stop") == {}
    started = post(plugvisor, "start")
    assert list(started) == names
    assert {result["message"] for result in started.values()} == {"Plugin started successfully"}
    pids = {name: result["pid"] for name, result in started.items()}
    assert all(is_alive(pid) for pid in pids.values())
    again = post(plugvisor, "start")
    assert {name: result["pid"] for name, result in again.items()} == pids
    assert {result["message"] for result in again.values()} == {"Plugin is running already"}

    assert post(plugvisor, "stop", "p00")["p00"]["status"] == "stopped"
    reloaded = post(plugvisor, "reload")
    assert list(reloaded) == names
    assert {result["status"] for result in reloaded.values()} == {"running"}
    assert not set(pids.values()) & {result["pid"] for result in reloaded.values()}
    assert not any(is_alive(pid) for pid in pids.values())

    stopped = post(plugvisor, "stop")
    assert list(stopped) == names
    assert {result["status"] for result in stopped.values()} == {"stopped"}
    assert post(plugvisor, "stop") == {}


def test_each_has_its_own_result(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    good, other = add(suffix="-good"), add(suffix="-other")
    name = add(runtime="enabled = false", suffix="-disabled")
    failing = add("raise SystemExit(3)", suffix="-failing", runtime="auto_start = false\nsupervisor.startsecs = 60")
    pid = shared.start_running(other)
    results = post(shared, "reload", good, "gone", good, name, failing, other)
    assert results[good]["ok"]
    assert is_alive(results[good]["pid"])
    assert results[other]["pid"] != pid
    problems = {plugin_id: result["problem"] for plugin_id, result in results.items() if not result["ok"]}
    assert {plugin_id: (told["status"], told["code"]) for plugin_id, told in problems.items()} == {
        "gone": (404, "plugin_not_found"),
        name: (409, "plugin_disabled"),
        failing: (500, "start_failed"),
    }
    assert problems[failing]["detail"].startswith(f"cannot reload {failing!r}: ")
    results = post(shared, "stop", good, "gone", name)
    assert (results[good]["status"], results[name]["message"]) == ("stopped", "Plugin is not running")
    assert results[name]["ok"]
    post(shared, "stop", failing)


def test_wait_holds_for_each(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    one, other = add(suffix="-one"), add(suffix="-other")
    body = {"plugin_ids": [one, other]}
    started = shared.post("/plugins/start?wait=50", json=body).json()["results"]
    assert [result["status"] for result in started] == ["running", "running"]
    assert shared.post("/plugins/stop?wait=x", json=body).json()["code"] == "invalid_request"
    assert shared.status(one)["status"] == "running"


def test_a_bad_body_does_nothing(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add()
    pid = shared.start_running(plugin_id)
    for verb in ("start", "stop", "reload"):
        assert shared.post(f"/plugins/{verb}", json={"plugin_ids": [plugin_id]}, code="wrong").status_code in (401, 429)
        for body in (b"x", b"[" * 100_000, b'{"plugin_ids": "a"}'):
            response = shared.post(f"/plugins/{verb}", content=body)
            assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
    assert post(shared, "start", plugin_id)[plugin_id]["pid"] == pid
    assert shared.post("/plugins/stop", json={"plugin_ids": []}).json() == {"ok": True, "results": []}


def test_the_client_of_the_documentation(plugvisor: PlugvisorStack) -> None:
    [client] = re.findall(r"^```python\n(import json\n.*?)^```$", API_DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    assert len([line for line in client.splitlines() if line]) <= 20
    plugvisor.write_plugin("one", runtime="auto_start = false")
    plugvisor.up()

    def run(token: str) -> subprocess.CompletedProcess[str]:
        environ = {"ADDRESS": plugvisor.url, "TOKEN": token, "PATH": os.environ["PATH"], "no_proxy": "*"}
        command = [sys.executable, "-c", client]
        return subprocess.run(
            command, env=environ, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False
        )

    done = run(ADMIN_CODE)
    assert done.returncode == 0, done.stderr
    started, used = done.stdout.splitlines()
    assert started == "one Plugin started successfully"
    assert re.fullmatch(r"one [\d.]+ % CPU [\d.]+ MB", used)
    refused = run("wrong")
    assert refused.returncode == 1
    assert re.fullmatch(r"the token or admin code is wrong.*\n", refused.stderr)


def test_a_lower_priority_starts_earlier(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    """As supervisord does; the next is started when those before are spawned, and not when they run."""
    priorities = {"-a": 30, "-b": 20, "-c": 20, "-d": 10}
    runtime = "auto_start = false\n[plugin_runtime.supervisor]\nstartsecs = 3\npriority = {}"
    ids = [add(runtime=runtime.format(priority), suffix=suffix) for suffix, priority in priorities.items()]
    last, *middle, first = ids
    for verb in ("start", "reload"):
        with open_events(shared.port) as listener:
            listener.wait("snapshot")
            results = post(shared, verb, *ids)
            assert all(result["ok"] for result in results.values())
            for plugin_id in ids:
                listener.wait("status", plugin_id=plugin_id, state="STARTING")
            states = [(event.data.get("state"), event.data.get("plugin_id")) for event in listener.events]
        started = [plugin_id for state, plugin_id in states if state == "STARTING"]
        assert (started[0], sorted(started[1:3]), started[3]) == (first, middle, last)
        assert ("RUNNING", first) not in states[: states.index(("STARTING", last))]
    post(shared, "stop", *ids)


def test_the_log_names_what_failed_and_why(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    good, disabled = add(), add(runtime="enabled = false", suffix="-off")
    before = len(shared.service_log)
    post(shared, "start", good, disabled, "no\nsuch")
    line = wait_for(
        lambda: next((one for one in shared.service_log[before:].splitlines() if "POST /plugins/start" in one), None)
    )
    assert "200, 1 of 3 succeeded; failed: " in line
    assert f"{disabled} (plugin_disabled: cannot start" in line
    assert "no%0Asuch (plugin_not_found: " in line
    post(shared, "start", *(f"missing-{number}" for number in range(1000)))
    line = wait_for(
        lambda: next((one for one in shared.service_log.splitlines() if "0 of 1000 succeeded" in one), None)
    )
    assert "missing-9 (" in line
    assert "; and 990 more" in line
    assert len(line) < 4000
    post(shared, "stop", good)
    wait_for(lambda: "POST /plugins/stop: 200, 1 of 1 succeeded, " in shared.service_log)
