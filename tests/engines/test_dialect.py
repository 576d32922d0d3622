"""The dialect of an existing front end, whichever engine runs the plugins; tests/api has the rest of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.engines.conftest import ENGINES
from tests.helpers.admin_sockets import call, open_signed_in
from tests.helpers.stack import ADMIN_CODE, QUICK, run_stack
from tests.helpers.swarm.stack import run_swarm_stack
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from tests.helpers.stack import PlugvisorStack

FAILS = "supervisor.startretries = 0\nsupervisor.startsecs = 60\nauto_start = false"
"""On a busy machine it takes longer than a second to fail."""
COMMENTED = """\
# A comment that stays.
[plugin]
id = "configured"
command = ["python", "-c", "import time; print('count', 3, flush=True); time.sleep(1e6)"]
[plugin_runtime]
auto_start = false
supervisor.startsecs = 0
[settings]
count = 3
"""


@pytest.fixture(scope="module", params=ENGINES)
def neko(request: pytest.FixtureRequest) -> Iterator[PlugvisorStack]:
    """A Plugvisor that speaks the dialect, over each engine."""
    run: AbstractContextManager[PlugvisorStack] = run_stack()
    if request.param == "swarm":
        run = run_swarm_stack(request.getfixturevalue("swarm_lab"), request.getfixturevalue("image"))
    with run as made:
        made.environ["PLUGVISOR_DIALECT"] = "neko"
        made.write_plugin("slow", runtime="auto_start = false\nsupervisor.startsecs = 2")
        made.write_plugin("fails", "raise SystemExit(3)", runtime=FAILS)
        made.write_plugin("rests", runtime=QUICK)
        made.write_plugin("off", runtime="enabled = false")
        made.write_plugin("broken", runtime="enabled = maybe")
        (made.write_plugin("configured") / "plugin.toml").write_text(COMMENTED)
        made.up()
        yield made


def find_words(stack: PlugvisorStack, plugin_id: str) -> set[str]:
    """A plugin's status by each of the reads that have it."""
    [listed] = [item for item in stack.get("/plugins").json()["plugins"] if item["id"] == plugin_id]
    assert listed["input_schema"] == {}
    statuses = [stack.status(plugin_id), stack.get("/plugin/status").json()["plugins"][plugin_id]]
    for status in statuses:
        assert status["source"] == "plugvisor"
        assert status["updated_at"]
    return {listed["status"], *(status["status"] for status in statuses)}


def test_a_start_waits_and_the_status_right_after_it_is_final(neko: PlugvisorStack) -> None:
    started = neko.post("/plugin/slow/start")
    assert started.status_code == 200, started.text
    assert (started.json()["status"], started.json()["success"]) == ("running", True)
    assert find_words(neko, "slow") == {"running"}
    assert neko.post("/plugin/slow/start").json()["code"] == "already_running"
    reloaded = neko.post("/plugin/slow/reload").json()
    assert (reloaded["status"], reloaded["success"]) == ("running", True)
    stopped = neko.post("/plugin/slow/stop").json()
    assert (stopped["status"], stopped["success"]) == ("stopped", True)
    assert find_words(neko, "slow") == {"stopped"}
    at_once = neko.post("/plugin/slow/start?wait=0").json()
    assert at_once["status"] == "loading"
    neko.wait_for_status("slow", "running")
    disabled = neko.post("/plugin/slow/disable").json()
    assert (disabled["status"], disabled["success"]) == ("disabled", True)
    assert find_words(neko, "slow") == {"disabled"}
    assert neko.post("/plugin/slow/start").json()["code"] == "plugin_disabled"
    assert neko.post("/plugin/slow/enable").status_code == 200


def test_a_word_for_each(neko: PlugvisorStack) -> None:
    failed = neko.post("/plugin/fails/start?wait=60")
    assert (failed.status_code, failed.json()["code"]) == (500, "start_failed"), failed.text
    for plugin_id, word in {"fails": "crashed", "off": "disabled", "broken": "disabled", "rests": "stopped"}.items():
        assert find_words(neko, plugin_id) == {word}, plugin_id


def test_a_reload_of_some(neko: PlugvisorStack) -> None:
    body = neko.post("/plugins/reload?wait=60", json={"plugin_ids": ["rests", "off"]}).json()
    assert (body["success"], body["reloaded"]) == (False, ["rests"]), body
    assert [failure["plugin_id"] for failure in body["failed"]] == ["off"]
    assert neko.post("/plugin/rests/stop").json()["status"] == "stopped"


def test_a_configuration_is_read_and_written(neko: PlugvisorStack) -> None:
    path = "/plugin/configured/config"
    file = neko.plugins_dir / "configured" / "plugin.toml"
    assert neko.post("/plugin/configured/start").json()["status"] == "running"
    wait_for(lambda: "count 3" in neko.read_log("configured"), "its line")

    def put(address: str, body: dict[str, Any]) -> dict[str, Any]:
        response = neko.http.put(address, json=body, headers={"Authorization": f"Bearer {ADMIN_CODE}"})
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    body = neko.get(path).json()
    assert (body["config"]["settings"], body["config_path"]) == ({"count": 3}, "configured/plugin.toml")
    body["config"]["settings"]["count"] = 4
    body["config"]["plugin"]["command"][2] = body["config"]["plugin"]["command"][2].replace("3", "4")
    written = put(path, {"config": body["config"]})
    assert (written["success"], written["config"], written["requires_reload"]) == (True, body["config"], True)
    assert file.read_text().startswith("# A comment that stays.\n")
    assert neko.post("/plugin/configured/reload").json()["status"] == "running"
    wait_for(lambda: "count 4" in neko.read_log("configured"), "the line of the configuration that was written")
    assert put(f"{path}/toml", {"toml": COMMENTED})["requires_reload"] is True
    assert file.read_text() == COMMENTED == neko.get(f"{path}/toml").json()["toml"]
    assert neko.get(f"{path}/profiles").json()["profiles_exists"] is False
    assert neko.post("/plugin/configured/stop").json()["status"] == "stopped"


def test_the_menu_of_runs(neko: PlugvisorStack) -> None:
    with open_signed_in(neko) as websocket:
        for method in ("runs.list", "export.list"):
            answer = call(websocket, method)
            assert (answer["ok"], answer["result"]) == (True, [])
    assert neko.get("/plugin/messages").json()["messages"] == []


def test_usage(neko: PlugvisorStack) -> None:
    """A swarm measures none, and the front end shows that error."""
    response = neko.get("/plugin/metrics")
    if neko.engine == "swarm":
        assert (response.status_code, response.json()["code"]) == (501, "not_supported")
    else:
        assert response.status_code == 200
    assert neko.get("/server/info").json()["sdk_version"]
