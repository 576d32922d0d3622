"""Every error of the contract that a client can provoke: its status, its code, and what it must not tell."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest

from tests.helpers.processes import find_processes, is_alive
from tests.helpers.stack import ADMIN_CODE, QUICK
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx

    from tests.helpers.stack import PlugvisorStack

MUTATIONS = ("/plugin/some/start", "/plugin/some/stop", "/plugin/some/reload", "/plugins/refresh")
ABOUT_A_PLUGIN = {
    "plugin_not_found", "plugin_disabled", "invalid_manifest", "already_running", "not_running", "start_failed",
}  # fmt: skip
EXITS = "raise SystemExit(7)"
LONG_START = "auto_start = false\nsupervisor.startsecs = 60"
"""Whatever exits has exited too quickly, on a busy machine too."""


@pytest.fixture(autouse=True)
def _no_secrets(shared: PlugvisorStack) -> Iterator[None]:
    """No answer in this file may tell a path, the admin code or a stack trace."""

    def look(response: httpx.Response) -> None:
        told = f"{response.read().decode()}\n{response.headers}"
        for secret in (str(shared.root), ADMIN_CODE, "Traceback", "PLUGVISOR_ADMIN"):
            assert secret not in told, told

    shared.http.event_hooks = {"response": [look]}
    yield
    shared.http.event_hooks = {}


def check(response: httpx.Response, status: int, code: str, *words: str) -> None:
    """Check an RFC 9457 problem; `words` are in its `detail`, and what a program needs of it is in fields."""
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    fields = {"plugin_id"} if code in ABOUT_A_PLUGIN else {"parameter"} if code == "invalid_request" else set()
    positions = {"line", "column"} if code == "invalid_manifest" and " line " in problem["detail"] else set()
    printed = {"log"} & problem.keys() if code == "start_failed" else set()
    assert problem.keys() == {"type", "title", "status", "detail", "code"} | fields | positions | printed
    assert (response.status_code, problem["status"], problem["code"]) == (status, status, code), problem
    assert problem["title"] == HTTPStatus(status).phrase
    assert problem["type"] == "about:blank"
    for word in words:
        assert word in problem["detail"]


def test_plugin_not_found(shared: PlugvisorStack) -> None:
    check(shared.http.get("/plugin/status?plugin_id=nobody"), 404, "plugin_not_found", "'nobody'")
    for verb in ("start", "stop", "reload"):
        # `plugvisor` is a program, but no plugin
        for plugin_id in ("nobody", "plugvisor", "%E4%BD%A0%E5%A5%BD", "a;b", "nobody%00", "%0A", "a:*", "%FF"):
            check(shared.post(f"/plugin/{plugin_id}/{verb}"), 404, "plugin_not_found")
    assert shared.http.get("/plugins").status_code == 200  # and `plugvisor` was not stopped


def test_already_running(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    starting = add(runtime="auto_start = false\nsupervisor.startsecs = 600", suffix="-starting")
    running = add(runtime=QUICK, suffix="-running")
    pids = {starting: shared.post(f"/plugin/{starting}/start").json()["pid"], running: shared.start_running(running)}
    check(shared.post(f"/plugin/{starting}/start"), 409, "already_running", starting, "starting")
    check(shared.post(f"/plugin/{running}/start?wait=5"), 409, "already_running", running, "running")
    assert {plugin_id: shared.status(plugin_id)["pid"] for plugin_id in pids} == pids


def test_not_running(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    never_started = add(suffix="-never")
    check(shared.post(f"/plugin/{never_started}/stop"), 409, "not_running", never_started)
    stopped = add(suffix="-stopped")
    shared.start_running(stopped)
    assert shared.post(f"/plugin/{stopped}/stop").status_code == 200
    check(shared.post(f"/plugin/{stopped}/stop?wait=0"), 409, "not_running", stopped)
    options = {"EXITED": "autorestart = false\nstartsecs = 0", "FATAL": "startretries = 0"}
    for state, text in options.items():
        ended = add(EXITS, suffix=f"-{state}", runtime=f"auto_start = false\n[plugin_runtime.supervisor]\n{text}")
        shared.post(f"/plugin/{ended}/start")
        wait_for(lambda ended=ended, state=state: shared.status(ended)["state"] == state)
        check(shared.post(f"/plugin/{ended}/stop"), 409, "not_running", ended)


def test_plugin_disabled(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime="enabled = false")
    for verb in ("start", "reload"):
        check(shared.post(f"/plugin/{plugin_id}/{verb}"), 409, "plugin_disabled", plugin_id, "enabled = false")
    assert shared.status(plugin_id)["status"] == "stopped"
    assert not find_processes(shared.plugins_dir / plugin_id)
    shared.write_plugin(plugin_id)  # enabled: a start reads the manifest as it is now
    assert shared.start_running(plugin_id)


def test_a_running_plugin_that_was_disabled_goes_on_and_can_be_stopped(
    shared: PlugvisorStack, add: Callable[..., str]
) -> None:
    plugin_id = add()
    pid = shared.start_running(plugin_id)
    shared.write_plugin(plugin_id, runtime="enabled = false")
    check(shared.post(f"/plugin/{plugin_id}/reload"), 409, "plugin_disabled")
    assert shared.status(plugin_id)["pid"] == pid
    assert is_alive(pid)
    [listed] = [plugin for plugin in shared.http.get("/plugins").json()["plugins"] if plugin["id"] == plugin_id]
    assert (listed["enabled"], listed["status"]) == (False, "running")
    assert shared.post(f"/plugin/{plugin_id}/stop").status_code == 200
    check(shared.post(f"/plugin/{plugin_id}/start"), 409, "plugin_disabled")


MANIFESTS = {
    "no-toml": ('[plugin]\nid = "ID"\ncommand = ', "plugin.toml line 3"),
    "no-command": ('[plugin]\nid = "ID"\n', "plugin.toml line 1"),
    "command-not-found": ('[plugin]\nid = "ID"\ncommand = ["no-such-command-here"]\n', "not found on PATH"),
    "command-not-executable": ('[plugin]\nid = "ID"\ncommand = ["./main.py"]\n', "no executable file"),
    "wrong-type": ('[plugin]\nid = "ID"\ncommand = ["true"]\n[plugin_runtime]\nenabled = "yes"\n', "line 5"),
    "no-option": (
        '[plugin]\nid = "ID"\ncommand = ["true"]\n[plugin_runtime.supervisor]\nuser = "root"\n',
        "no such option",
    ),
    "another-id": ('[plugin]\nid = "ID-2"\ncommand = ["true"]\n', "its id is now 'ID-2'"),
    "no-manifest": (None, "plugin.toml"),
}


@pytest.mark.parametrize("what", MANIFESTS)
def test_invalid_manifest(shared: PlugvisorStack, add: Callable[..., str], what: str) -> None:
    plugin_id = add(runtime=QUICK)
    manifest, words = MANIFESTS[what]
    path = shared.plugins_dir / plugin_id / "plugin.toml"
    good = path.read_text()
    if manifest is None:
        path.unlink()
    else:
        path.write_text(manifest.replace("ID", plugin_id))
    words = words.replace("ID", plugin_id)
    for verb in ("start", "reload"):  # of a stopped one
        check(shared.post(f"/plugin/{plugin_id}/{verb}"), 422, "invalid_manifest", words)
    assert not find_processes(shared.plugins_dir / plugin_id)
    told = shared.status(plugin_id)
    assert told["status"] == "error"
    assert words in told["detail"]

    path.write_text(good)
    pid = shared.start_running(plugin_id)
    if manifest is None:
        path.unlink()
    else:
        path.write_text(manifest.replace("ID", plugin_id))
    check(shared.post(f"/plugin/{plugin_id}/reload"), 422, "invalid_manifest", words)
    told = shared.status(plugin_id)
    assert (told["status"], told["pid"]) == ("running", pid)
    assert words in told["detail"]
    assert is_alive(pid)
    assert shared.post(f"/plugin/{plugin_id}/stop").status_code == 200
    assert not is_alive(pid)
    path.write_text(good)
    shared.post("/plugins/refresh")
    assert "detail" not in shared.status(plugin_id)


def test_invalid_request(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add()
    for wait in ("-1", "300.5", "1e9", "nan", "inf", "-inf", "soon", "1,5", "0x1", "%00", "1;2", "%C2%B2"):
        for verb in ("start", "stop", "reload"):
            check(shared.post(f"/plugin/{plugin_id}/{verb}?wait={wait}"), 422, "invalid_request", "`wait`", "300")
    assert shared.status(plugin_id)["state"] == "STOPPED"
    assert "ready" not in shared.read_log(plugin_id)


def test_start_failed_because_it_exits(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(EXITS, runtime=f"{LONG_START}\nsupervisor.startretries = 0")
    for request in ("start?wait=50", "reload", "reload?wait=20"):
        check(shared.post(f"/plugin/{plugin_id}/{request}"), 500, "start_failed", plugin_id, "exited too quickly")
    assert shared.status(plugin_id)["status"] == "error"


def test_start_failed_because_it_cannot_be_spawned(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add()
    log = shared.log_dir / f"{plugin_id}.log"
    log.unlink(missing_ok=True)
    log.mkdir()
    for verb in ("start", "reload"):
        check(shared.post(f"/plugin/{plugin_id}/{verb}"), 500, "start_failed", plugin_id)
    told = shared.status(plugin_id)
    assert told["status"] == "error"
    assert told["detail"]
    shared.post(f"/plugin/{plugin_id}/stop")  # else supervisord may be the first to start it
    log.rmdir()
    assert shared.start_running(plugin_id)


def test_a_process_that_died_while_reload_waited(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add()
    old = shared.start_running(plugin_id)
    shared.write_plugin(plugin_id, EXITS, runtime=LONG_START)
    check(shared.post(f"/plugin/{plugin_id}/reload"), 500, "start_failed", plugin_id)
    assert not is_alive(old)
    assert shared.status(plugin_id)["status"] == "error"
    assert shared.post(f"/plugin/{plugin_id}/stop").status_code == 200  # supervisord would go on trying
    assert shared.status(plugin_id)["status"] == "stopped"


def test_unauthorized(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add()
    shared.write_plugin("never_found", folder="never_found")
    for path in (path.replace("some", plugin_id) for path in MUTATIONS):
        wrong = [shared.post(path, code=code) for code in (None, ADMIN_CODE[:-1])]
        headers = (ADMIN_CODE, f"Basic {ADMIN_CODE}", "Bearer", f"Bearer{ADMIN_CODE}")
        wrong += [shared.http.post(path, headers={"Authorization": header}) for header in headers]
        for response in wrong:
            check(response, 401, "unauthorized", "admin code")
            assert response.headers["www-authenticate"] == "Bearer"
    # who is not let in learns nothing of what there is
    check(shared.post("/plugin/nobody/start?wait=soon", code=None), 401, "unauthorized")
    assert shared.status(plugin_id)["state"] == "STOPPED"
    assert "never_found" not in shared.http.get("/plugin/status").json()["plugins"]
    (shared.plugins_dir / "never_found" / "plugin.toml").unlink()
    assert shared.http.get("/plugins", headers={"Authorization": "Bearer wrong"}).status_code == 200


@pytest.mark.parametrize("path", ["/none", "/plugin", "/plugin/x/", "/plugin/x/kill", "/plugin//start", "/%00"])
def test_unknown_path(shared: PlugvisorStack, path: str) -> None:
    for response in (shared.http.get(path), shared.post(path), shared.post(path, code=None)):
        check(response, 404, "not_found")


def test_unknown_method(shared: PlugvisorStack) -> None:
    paths = [(path, {"POST"}) for path in MUTATIONS]
    for path, allowed in (*paths, ("/plugins", {"GET", "HEAD"}), ("/plugin/status", {"GET", "HEAD"})):
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - allowed:
            if (method, path) == ("DELETE", "/plugin/status"):
                continue  # uninstalls a plugin of that name
            response = shared.http.request(method, path)
            check(response, 405, "method_not_allowed")
            assert set(response.headers["allow"].split(", ")) == allowed
