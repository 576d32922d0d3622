"""What operators have asked for outlives every restart: through the API and supervisorctl, over a real supervisord."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.helpers.event_client import open_events
from tests.helpers.stack import ADMIN_CODE, QUICK, run_stack
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.stack import PlugvisorStack


def listed(stack: PlugvisorStack, plugin_id: str) -> dict[str, Any]:
    """A plugin as the list has it."""
    plugins = stack.http.get("/plugins").json()["plugins"]
    return next(plugin for plugin in plugins if plugin["id"] == plugin_id)


def ok(response: Any) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def delete(stack: PlugvisorStack, path: str) -> Any:
    return stack.http.delete(path, headers={"Authorization": f"Bearer {ADMIN_CODE}"})


def wait_for_intent(stack: PlugvisorStack, plugin_id: str, wanted: str, by: str) -> None:
    def look() -> bool:
        intent = stack.status(plugin_id).get("intent", {})
        return (intent.get("wanted"), intent.get("by")) == (wanted, by)

    wait_for(look, f"{plugin_id} to be wanted {wanted} by {by}")


# -- what is shown


def test_an_intent_is_shown_everywhere(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    tag = shared.http.get("/plugins").headers["ETag"]
    assert "intent" not in shared.status(plugin_id)
    assert "remembered" not in ok(shared.post(f"/plugin/{plugin_id}/start"))
    intent = shared.status(plugin_id)["intent"]
    assert (intent["wanted"], intent["by"]) == ("running", "admin")
    assert listed(shared, plugin_id)["intent"] == intent
    statuses = ok(shared.http.get("/plugin/status"))
    assert statuses["plugins"][plugin_id]["intent"] == intent
    assert shared.http.get("/plugins", headers={"If-None-Match": tag}).status_code == 200
    assert ok(shared.post("/plugins/stop", json={"plugin_ids": [plugin_id]}))["ok"]
    assert shared.status(plugin_id)["intent"]["wanted"] == "stopped"
    answer = ok(delete(shared, f"/plugin/{plugin_id}/intent"))
    assert answer == {"plugin_id": plugin_id, "enabled": True}
    assert "intent" not in listed(shared, plugin_id)


def test_a_request_that_is_rejected_is_no_intent(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    assert shared.post(f"/plugin/{plugin_id}/stop", code="wrong").status_code == 401
    assert shared.post(f"/plugin/{plugin_id}/start", code="wrong").status_code == 401
    assert "intent" not in shared.status(plugin_id)


def test_a_stop_of_what_does_not_run_is_remembered_once(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    assert shared.post(f"/plugin/{plugin_id}/stop").json()["code"] == "not_running"
    intent = shared.status(plugin_id)["intent"]
    assert intent["wanted"] == "stopped"
    assert shared.post(f"/plugin/{plugin_id}/stop").json()["code"] == "not_running"
    ok(shared.post("/plugins/stop", json={"plugin_ids": [plugin_id]}))
    assert shared.status(plugin_id)["intent"] == intent


def test_bulk_operations_remember_what_is_so_already(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    ok(shared.post("/plugins/stop", json={"plugin_ids": [plugin_id]}))
    assert shared.status(plugin_id)["intent"]["wanted"] == "stopped"
    ok(shared.post("/plugins/start", json={"plugin_ids": [plugin_id]}))
    assert shared.status(plugin_id)["intent"]["wanted"] == "running"


def test_disabling(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    shared.start_running(plugin_id)
    answer = ok(shared.post(f"/plugin/{plugin_id}/disable"))
    assert (answer["status"], answer["message"]) == ("stopped", "Plugin disabled successfully")
    shown = listed(shared, plugin_id)
    assert (shown["enabled"], shown["runtime_enabled"], shown["status"]) == (False, True, "stopped")
    assert shown["detail"] == "it was disabled by 'admin'"
    assert shown["disabled"]["by"] == "admin"
    for verb in ("start", "reload"):
        problem = shared.post(f"/plugin/{plugin_id}/{verb}")
        assert (problem.status_code, problem.json()["code"]) == (409, "plugin_disabled")
        assert f"POST /plugin/{plugin_id}/enable" in problem.json()["detail"]
    ok(shared.post(f"/plugin/{plugin_id}/disable"))
    shared.ctl("start", plugin_id)
    shared.wait_for_status(plugin_id, "running")
    assert ok(shared.post(f"/plugin/{plugin_id}/disable"))["status"] == "stopped"
    answer = ok(shared.post(f"/plugin/{plugin_id}/enable"))
    assert answer["enabled"]
    assert shared.status(plugin_id)["status"] == "stopped", "it is not started"
    assert ok(shared.post(f"/plugin/{plugin_id}/enable"))["enabled"]
    shown = listed(shared, plugin_id)
    assert (shown["enabled"], "disabled" in shown) == (True, False)
    shared.start_running(plugin_id)


def test_a_manifest_that_disables_is_not_overruled(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=f"{QUICK}\nenabled = false")
    assert not ok(shared.post(f"/plugin/{plugin_id}/enable"))["enabled"]


@pytest.mark.parametrize(("method", "path"), [("POST", "disable"), ("POST", "enable"), ("DELETE", "intent")])
def test_who_may_change_what_is_wanted(shared: PlugvisorStack, add: Callable[..., str], method: str, path: str) -> None:
    plugin_id = add(runtime=QUICK)
    assert shared.http.request(method, f"/plugin/{plugin_id}/{path}").status_code == 401
    answer = shared.http.request(method, f"/plugin/nobody/{path}", headers={"Authorization": f"Bearer {ADMIN_CODE}"})
    assert (answer.status_code, answer.json()["code"]) == (404, "plugin_not_found")


# -- supervisorctl


def test_supervisorctl_is_an_operator(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    ok(shared.post(f"/plugin/{plugin_id}/start"))
    shared.ctl("stop", plugin_id)
    wait_for_intent(shared, plugin_id, "stopped", "supervisorctl")
    shared.ctl("start", plugin_id)
    wait_for_intent(shared, plugin_id, "running", "supervisorctl")
    ok(shared.post(f"/plugin/{plugin_id}/stop"))
    wait_for_intent(shared, plugin_id, "stopped", "admin")
    with open_events(shared.port) as listener:
        listener.wait("snapshot")
        shared.ctl("start", plugin_id)
        event = listener.wait("status", plugin_id=plugin_id, state="RUNNING")
        assert event.data["intent"]["by"] == "supervisorctl"


def test_an_intent_that_nothing_else_changes_with_is_an_event(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    ok(shared.post(f"/plugin/{plugin_id}/start"))
    with open_events(shared.port) as listener:
        listener.wait("snapshot")
        delete(shared, f"/plugin/{plugin_id}/intent")
        assert "intent" not in listener.wait("status", plugin_id=plugin_id).data


# -- restarts of supervisord


def test_a_boot_follows_what_was_asked_for(plugvisor: PlugvisorStack) -> None:
    """And is no request itself; nor is a crash."""
    quick = "supervisor.startsecs = 0"
    plugvisor.write_plugin("stopped", runtime=quick)
    plugvisor.write_plugin("stopped-by-ctl", runtime=quick)
    plugvisor.write_plugin("untouched", runtime=quick)
    plugvisor.write_plugin("disabled", runtime=quick)
    plugvisor.write_plugin("lifted", runtime=quick)
    plugvisor.write_plugin("forgotten", runtime=quick)
    plugvisor.write_plugin("crashed", "raise SystemExit(3)", runtime=f"{quick}\nsupervisor.autorestart = false")
    for name in ("started", "started-by-ctl", "asleep", "dependency"):
        plugvisor.write_plugin(name, runtime=QUICK)
    plugvisor.write_plugin("dependent", runtime=f"{QUICK}\ndepends_on.dependency.required = true")

    def list_running() -> set[str]:
        statuses = ok(plugvisor.http.get("/plugin/status"))["plugins"]
        return {name for name, status in statuses.items() if status["status"] == "running"}

    plugvisor.up()
    plugvisor.wait_for_status("crashed", "error")
    for name in ("stopped", "forgotten"):
        plugvisor.wait_for_status(name, "running")
        ok(plugvisor.post(f"/plugin/{name}/stop"))
    ok(delete(plugvisor, "/plugin/forgotten/intent"))
    ok(plugvisor.post("/plugin/started/start"))
    plugvisor.post("/plugin/dependent/start?wait=50")
    for name in ("disabled", "lifted"):
        ok(plugvisor.post(f"/plugin/{name}/disable"))
    ok(plugvisor.post("/plugin/lifted/enable"))
    plugvisor.ctl("stop", "stopped-by-ctl")
    plugvisor.ctl("start", "started-by-ctl")
    wait_for_intent(plugvisor, "started-by-ctl", "running", "supervisorctl")
    wait_for_intent(plugvisor, "stopped-by-ctl", "stopped", "supervisorctl")
    intents = {plugin["id"]: plugin.get("intent") for plugin in ok(plugvisor.http.get("/plugins"))["plugins"]}
    assert {name for name, intent in intents.items() if intent} == {
        "stopped", "started", "started-by-ctl", "stopped-by-ctl", "dependent",
    }  # fmt: skip
    expected = {"untouched", "lifted", "forgotten", "started", "started-by-ctl", "dependent", "dependency"}
    for boot in ("reload", "down", "SIGKILL"):
        if boot == "reload":
            pid = plugvisor.status("untouched")["pid"]
            plugvisor.ctl("reload")
            wait_for(lambda pid=pid: find_pid(plugvisor, "untouched") not in (0, pid), "another process")
        else:
            if boot == "SIGKILL":
                assert plugvisor.process is not None
                plugvisor.process.kill()
                plugvisor.process.wait()
            plugvisor.down()
            plugvisor.up()
        plugvisor.wait_for_status("crashed", "error")
        wait_for(lambda: list_running() == expected, f"what was wanted, after {boot}; not {list_running()}")
        assert {
            plugin["id"]: plugin.get("intent") for plugin in ok(plugvisor.http.get("/plugins"))["plugins"]
        } == intents
        assert not listed(plugvisor, "disabled")["enabled"]


def find_pid(stack: PlugvisorStack, plugin_id: str) -> int:
    """A plugin's process; 0 while there is none, or the service is not there, as during a reload of supervisord."""
    with contextlib.suppress(httpx.TransportError):
        answer = stack.http.get("/plugin/status", params={"plugin_id": plugin_id})
        pid: int = answer.json().get("pid", 0)
        return pid
    return 0


FAILS = "raise SystemExit(3)"
ENDED: dict[str, tuple[str, str, str]] = {
    "failed": (FAILS, "supervisor.startsecs = 60\nsupervisor.startretries = 0", "FATAL"),
    "waits": (FAILS, "supervisor.startsecs = 60\nrestart.delay = 1000\nrestart.max_delay = 1000", "BACKOFF"),
    "crashed": (FAILS, "supervisor.startsecs = 0\nsupervisor.autorestart = false", "EXITED"),
    "done": ("print('done')", "supervisor.startsecs = 0\nsupervisor.autorestart = false", "EXITED"),
}


@pytest.mark.parametrize("way", ["api", "all by api", "command", "all by command", "ctl", "all by ctl", "group by ctl"])
def test_a_stop_of_a_plugin_without_a_process_outlives_a_boot(plugvisor: PlugvisorStack, way: str) -> None:
    for name, (code, runtime, _) in ENDED.items():
        plugvisor.write_plugin(name, code, runtime=runtime)
    plugvisor.up()
    for name, (_, _, state) in ENDED.items():
        plugvisor.wait_for_state(name, state)
    plugvisor.write_plugin("new")  # wanted at the next boot, and never started
    ok(plugvisor.post("/plugins/refresh"))
    names = [*ENDED, "new"]
    match way:
        case "api":
            for name in names:
                assert plugvisor.post(f"/plugin/{name}/stop").status_code == (200 if name == "waits" else 409)
        case "all by api":
            assert {one["plugin_id"] for one in ok(plugvisor.post("/plugins/stop"))["results"]} == set(names)
        case "command":
            for name in names:
                plugvisor.command("stop", name)
        case "all by command":
            plugvisor.command("stop", "--all")
        case "ctl":
            plugvisor.ctl("stop", *names)
        case "all by ctl":
            plugvisor.rpc("stopAllProcesses")  # of the service too, which finds it when it starts
            plugvisor.rpc("startProcess", "plugvisor", False)
            wait_for(plugvisor.is_ready, "the service")
        case "group by ctl":
            plugvisor.ctl("stop", *(f"{name}:*" for name in names))
    by = "supervisorctl" if way.endswith("ctl") else "admin"
    for name in names:
        wait_for_intent(plugvisor, name, "stopped", by)
    plugvisor.down()
    plugvisor.up()
    assert {name: plugvisor.status(name)["state"] for name in names} == dict.fromkeys(names, "STOPPED")


# -- restarts of the service


def test_a_service_that_is_killed_right_after_an_answer_has_forgotten_nothing(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("echo", runtime=QUICK)
    plugvisor.up()
    for number in range(4):
        verb, wanted = (("start", "running"), ("stop", "stopped"))[number % 2]
        ok(plugvisor.post(f"/plugin/echo/{verb}"))
        plugvisor.restart_service()
        assert plugvisor.status("echo")["intent"]["wanted"] == wanted


# -- a store that is broken


def test_a_store_that_cannot_be_used_keeps_nobody_from_anything(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("echo", runtime=QUICK)
    (plugvisor.root / "state").write_text("a file where the folder should be")
    plugvisor.up()
    assert ok(plugvisor.post("/plugin/echo/start"))["remembered"] is False
    assert ok(plugvisor.post("/plugins/stop"))["results"][0]["remembered"] is False
    assert plugvisor.status("echo")["intent"]["wanted"] == "stopped"
    assert ok(plugvisor.post("/plugin/echo/disable"))["remembered"] is False
    assert plugvisor.post("/plugin/echo/start").json()["code"] == "plugin_disabled"
    for answer in (plugvisor.post("/plugin/echo/enable"), delete(plugvisor, "/plugin/echo/intent")):
        assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
        assert answer.headers["Retry-After"]


def test_nothing_is_remembered_if_it_is_switched_off() -> None:
    with run_stack() as stack:
        stack.environ["PLUGVISOR_REMEMBER"] = "false"
        stack.write_plugin("echo", runtime=QUICK)
        stack.up()
        ok(stack.post("/plugin/echo/start"))
        assert "intent" not in stack.status("echo")
        assert not ok(stack.post("/plugin/echo/disable")).keys() & {"remembered", "intent"}
        assert not listed(stack, "echo")["enabled"]
