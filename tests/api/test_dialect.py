"""`PLUGVISOR_DIALECT=neko` over a real Plugvisor: what an existing front end asks for, and what others still get."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator
from plugvisor.api.dialects.neko.plugins import find_word
from plugvisor.api.dialects.neko.routes import ROUTES
from plugvisor.api.openapi import make_document
from plugvisor.api.routes import ROUTES as API_ROUTES
from plugvisor.models.process import Status

from tests.helpers.stack import ADMIN_CODE, QUICK, PlugvisorStack, run_stack
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

PLAIN = {"X-Plugvisor-Dialect": "none"}
FRONT_END = "http://localhost:5173"
DOCUMENT = make_document((*API_ROUTES, *ROUTES))
COMMENTED = """\
# A comment that stays.
[plugin]
id = "configured" # and this one
command = ["python", "main.py"]
[plugin_runtime]
auto_start = false
[settings]
count = 3
day = 2026-01-01
"""


@pytest.fixture(scope="module")
def neko() -> Iterator[PlugvisorStack]:
    """A Plugvisor that speaks the dialect."""
    with run_stack() as made:
        made.environ |= {"PLUGVISOR_DIALECT": "neko", "PLUGVISOR_CORS_ORIGINS": FRONT_END}
        made.write_plugin("runs")
        made.write_plugin("slow", runtime="auto_start = false\nsupervisor.startsecs = 2")
        made.write_plugin(
            "crashed", "raise SystemExit(3)", runtime="supervisor.startretries = 0\nsupervisor.startsecs = 60"
        )
        made.write_plugin("rests", runtime="auto_start = false")
        made.write_plugin("off", runtime="enabled = false")
        made.write_plugin("broken", runtime="enabled = maybe")
        for name in ("messages", "metrics", "status", "written"):
            made.write_plugin(name, runtime=QUICK)
        for name in ("configured", "rewritten", "contended", "form"):
            (made.write_plugin(name) / "plugin.toml").write_text(COMMENTED.replace("configured", name))
        made.up()
        wait_for(lambda: plain(made, "crashed")["state"] == "FATAL", "a plugin to have crashed")
        wait_for(lambda: plain(made, "runs")["status"] == "running", "a plugin to run")
        yield made


def plain(stack: PlugvisorStack, plugin_id: str) -> dict[str, Any]:
    answer: dict[str, Any] = stack.http.get(f"/plugin/status?plugin_id={plugin_id}", headers=PLAIN).json()
    return answer


def put(stack: PlugvisorStack, path: str, body: Any, **headers: str) -> httpx.Response:
    return stack.http.put(path, json=body, headers={"Authorization": f"Bearer {ADMIN_CODE}", **headers})


def check(response: httpx.Response, path: str) -> Any:
    """The body of a response, held against the OpenAPI document of a service with the dialect."""
    described = DOCUMENT["paths"][path][response.request.method.lower()]["responses"][str(response.status_code)]
    [content] = described["content"].values()
    Draft202012Validator({**content["schema"], "components": DOCUMENT["components"]}).validate(response.json())
    return response.json()


# -- who gets it


def test_nothing_of_it_is_imported_without_the_setting() -> None:
    script = (
        "import sys; from plugvisor.settings import Settings; from plugvisor.admin_code import AdminCode;"
        "from plugvisor.api.app import create_app; create_app(Settings.from_env({}), AdminCode('x' * 16));"
        "print([name for name in sys.modules if 'dialect' in name or name.startswith('tomlkit')])"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]", ended.stderr


def test_a_client_can_ask_for_the_api_itself(neko: PlugvisorStack) -> None:
    assert plain(neko, "crashed")["status"] == "error"
    assert "source" not in plain(neko, "crashed")
    listed = neko.http.get("/plugins", headers=PLAIN)
    assert {item["id"]: item["status"] for item in listed.json()["plugins"]}["crashed"] == "error"
    config = neko.http.get("/plugin/configured/config", headers=PLAIN | {"Authorization": f"Bearer {ADMIN_CODE}"})
    assert "etag" in config.json()
    for method, path in (("GET", "/plugin/configured/config/base"), ("PUT", "/plugin/configured/config")):
        response = neko.http.request(method, path, headers=PLAIN | {"Authorization": f"Bearer {ADMIN_CODE}"})
        assert response.status_code in (404, 405)
    other = neko.http.get("/plugin/status?plugin_id=crashed", headers={"X-Plugvisor-Dialect": "other"})
    assert other.json()["status"] == "crashed"


def test_the_command_speaks_the_api(neko: PlugvisorStack) -> None:
    listed = neko.command("ls", "--json").stdout
    assert '"error"' in listed
    assert "crashed" in listed, "its id"
    got = neko.command("config", "get", "configured")
    assert got.stdout == COMMENTED, got.stderr


def test_settings() -> None:
    with run_stack() as stack:
        ended = stack.command("check", PLUGVISOR_DIALECT="klingon")
    assert ended.returncode == 2
    assert "PLUGVISOR_DIALECT" in ended.stderr


# -- words


@pytest.mark.parametrize("status", Status)
def test_every_status_has_a_word(status: Status) -> None:
    words = {"stopped": "stopped", "starting": "loading", "running": "running", "stopping": "loading"}
    assert find_word(status, is_enabled=True) == words.get(status, "crashed")
    alive = status in (Status.STARTING, Status.RUNNING, Status.STOPPING)
    assert find_word(status, is_enabled=False) == (words[status] if alive else "disabled")


def test_the_list_and_the_statuses(neko: PlugvisorStack) -> None:
    expected = {"runs": "running", "crashed": "crashed", "off": "disabled", "broken": "disabled", "rests": "stopped"}
    listed = check(neko.get("/plugins"), "/plugins")
    found = {item["id"]: item for item in listed["plugins"]}
    statuses = check(neko.get("/plugin/status"), "/plugin/status")
    for plugin_id, word in expected.items():
        assert (found[plugin_id]["status"], found[plugin_id]["input_schema"]) == (word, {})
        one = check(neko.get(f"/plugin/status?plugin_id={plugin_id}"), "/plugin/status")
        for status in (one, statuses["plugins"][plugin_id]):
            assert (status["status"], status["source"]) == (word, "plugvisor")
            assert datetime.fromisoformat(status["updated_at"])
    assert not [item for item in listed["plugins"] if "type" in item], "it asks more of those of type `extension`"
    assert neko.http.head("/plugins").status_code == 200


def test_the_list_has_a_tag_of_its_own(neko: PlugvisorStack) -> None:
    """A browser's cache may hold the API's list at the same address."""
    tag, other = neko.get("/plugins").headers["ETag"], neko.http.get("/plugins", headers=PLAIN).headers["ETag"]
    assert tag != other
    for value, status in ((tag, 304), (f'"x", W/{tag}', 304), (other, 200)):
        response = neko.http.get("/plugins", headers={"If-None-Match": value})
        assert response.status_code == status
        assert response.headers["ETag"] == tag
    assert neko.http.get("/plugins", headers=PLAIN | {"If-None-Match": tag}).status_code == 200


def test_a_start_waits_and_the_status_right_after_it_is_final(neko: PlugvisorStack) -> None:
    started = neko.post("/plugin/slow/start")
    assert started.status_code == 200
    body = check(started, "/plugin/{plugin_id}/start")
    assert (body["status"], body["success"]) == ("running", True)
    assert neko.get("/plugin/status?plugin_id=slow").json()["status"] == "running"
    assert neko.post("/plugin/slow/start").json()["code"] == "already_running"
    stopped = check(neko.post("/plugin/slow/stop"), "/plugin/{plugin_id}/stop")
    assert (stopped["status"], stopped["success"]) == ("stopped", True)
    at_once = neko.post("/plugin/slow/start?wait=0")
    assert at_once.json()["status"] == "loading"
    assert neko.get("/plugin/status?plugin_id=slow").json()["status"] in ("loading", "running")
    reloaded = check(neko.post("/plugin/slow/reload"), "/plugin/{plugin_id}/reload")
    assert (reloaded["status"], reloaded["success"]) == ("running", True)
    disabled = check(neko.post("/plugin/slow/disable"), "/plugin/{plugin_id}/disable")
    assert disabled["status"] == "disabled"
    assert neko.get("/plugin/status?plugin_id=slow").json()["status"] == "disabled"
    assert neko.post("/plugin/slow/start").json()["code"] == "plugin_disabled"
    assert neko.post("/plugin/slow/enable").status_code == 200


def test_a_start_that_fails_says_so(neko: PlugvisorStack) -> None:
    for query in ("", "?wait="):
        failed = neko.post(f"/plugin/crashed/start{query}")
        assert (failed.status_code, failed.json()["code"]) == (500, "start_failed")


def test_a_reload_of_all(plugvisor: PlugvisorStack) -> None:
    plugvisor.environ["PLUGVISOR_DIALECT"] = "neko"
    plugvisor.write_plugin("good")
    runtime = "supervisor.startretries = 0\nsupervisor.startsecs = 60"
    plugvisor.write_plugin("bad", "raise SystemExit(3)", runtime=runtime)
    plugvisor.write_plugin("off", runtime="enabled = false")
    plugvisor.up()
    body = check(plugvisor.post("/plugins/reload"), "/plugins/reload")
    assert (body["success"], body["reloaded"], body["skipped"]) == (False, ["good"], ["off"])
    assert [failure["plugin_id"] for failure in body["failed"]] == ["bad"]
    assert "exit code 3" in body["failed"][0]["error"]
    assert "1 of 2" in body["message"]
    for verb in ("stop", "start"):
        body = check(plugvisor.post(f"/plugins/{verb}", json={"plugin_ids": ["good"]}), f"/plugins/{verb}")
        assert body["ok"]
        assert body["results"][0]["status"] in ("stopped", "running", "loading")
        assert "reloaded" not in body


# -- small things


def test_messages_history_and_log_files(neko: PlugvisorStack) -> None:
    path = "/plugin/messages"
    assert check(neko.get(f"{path}?plugin_id=runs&max_count=5"), path)["plugin_id"] == "runs"
    nobodys = check(neko.get(path), path)
    assert (nobodys["plugin_id"], nobodys["messages"], nobodys["count"]) == (None, [], 0)
    assert neko.get(f"{path}?plugin_id=nobody").status_code == 404
    assert neko.get(path, None).status_code == 401
    history = "/plugin/metrics/{plugin_id}/history"
    assert check(neko.get("/plugin/metrics/runs/history?limit=1000"), history)["plugin_id"] == "runs"
    refused = neko.get("/plugin/metrics/runs/history?limit=1001")
    assert (refused.status_code, refused.json()["parameter"]) == (422, "limit")
    files = check(neko.get("/plugin/runs/logs/files"), "/plugin/{plugin_id}/logs/files")
    [file] = files["log_files"]
    assert file["modified"] == pytest.approx(os.stat(neko.log_dir / "runs.log").st_mtime, abs=1e-3)


def test_plugins_that_are_named_like_a_path(neko: PlugvisorStack) -> None:
    for name in ("messages", "metrics", "status"):
        assert neko.post(f"/plugin/{name}/start").json()["status"] == "running"
        assert neko.get(f"/plugin/{name}/config").json()["config"]["plugin"]["id"] == name
        assert neko.get(f"/plugin/{name}/config/profiles").json()["profiles_exists"] is False
        assert neko.get(f"/plugin/{name}/logs/files").json()["plugin_id"] == name
        assert neko.get(f"/plugin/metrics/{name}").json()["plugin_id"] == name
    assert neko.get("/plugin/messages").json()["messages"] == []
    assert "metrics" in neko.get("/plugin/metrics").json()


def test_a_method_that_a_path_does_not_take(neko: PlugvisorStack) -> None:
    for method, path, allowed in (
        ("DELETE", "/plugin/configured/config/base", {"GET", "HEAD"}),
        ("DELETE", "/plugin/configured/config", {"GET", "HEAD", "PUT"}),
        ("PATCH", "/plugin/configured/config/profiles/x", {"GET", "HEAD", "PUT", "DELETE"}),
    ):
        response = neko.http.request(method, path)
        assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed")
        assert {*response.headers["Allow"].split(", ")} == allowed


def test_a_front_end_on_another_origin(neko: PlugvisorStack) -> None:
    for method, path in (("PUT", "/plugin/configured/config"), ("DELETE", "/plugin/configured/config/profiles/x")):
        asked = {
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": "authorization,content-type",
        }
        response = neko.http.options(path, headers=asked | {"Origin": FRONT_END})
        assert (response.status_code, response.headers["Access-Control-Allow-Origin"]) == (200, FRONT_END)
        response = neko.http.options(path, headers=asked | {"Origin": "http://evil.example"})
        assert "Access-Control-Allow-Origin" not in response.headers
    asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "x-plugvisor-dialect"}
    assert neko.http.options("/plugins", headers=asked | {"Origin": FRONT_END}).status_code == 200
    for response in (neko.get("/plugins"), neko.get("/plugin/nobody/config/base")):
        assert "Access-Control-Allow-Origin" not in response.headers
    for path, status in (("/plugins", 200), ("/plugin/nobody/config/base", 401)):
        response = neko.http.get(path, headers={"Origin": FRONT_END})
        assert (response.status_code, response.headers["Access-Control-Allow-Origin"]) == (status, FRONT_END)


# -- the admin code


def test_the_admin_code_in_small_letters(plugvisor: PlugvisorStack) -> None:
    plugvisor.environ |= {"PLUGVISOR_DIALECT": "neko", "PLUGVISOR_ADMIN_CODE": "aBcD"}
    plugvisor.up()
    for code in ("aBcD", "ABCD", "abcd"):
        assert plugvisor.get("/server/info", code).status_code == 200
    for code in ("ABCE", "ABC", "ABCDE", "ÀBCD"):
        assert (
            plugvisor.http.get("/server/info", headers={"Authorization": f"Bearer {code}".encode()}).status_code == 401
        )
    token = plugvisor.post("/identities", "ABCD", json={"name": "viewer", "role": "viewer"}).json()["token"]
    assert plugvisor.get("/server/info", token).status_code == 200
    assert plugvisor.get("/server/info", token.upper()).status_code == 401, "a token is what it is"
    rotated = plugvisor.post("/identities/admin/rotate", "abcd").json()["token"]
    assert plugvisor.get("/server/info", rotated).status_code == 200
    assert plugvisor.get("/server/info", rotated.swapcase()).status_code == 401
    assert plugvisor.get("/server/info", "ABCD").status_code == 401, "it is no longer in force"


def test_letters_differ_without_the_dialect(shared: PlugvisorStack) -> None:
    assert shared.get("/server/info").status_code == 200
    assert shared.get("/server/info", ADMIN_CODE.upper()).status_code == 401


# -- configurations


def test_reading_a_configuration(neko: PlugvisorStack) -> None:
    for path in ("/plugin/{plugin_id}/config", "/plugin/{plugin_id}/config/base"):
        body = check(neko.get(path.format(plugin_id="configured")), path)
        assert body["config"]["settings"] == {"count": 3, "day": "2026-01-01"}
        assert body["config_path"] == "configured/plugin.toml"
        modified = (neko.plugins_dir / "configured" / "plugin.toml").stat().st_mtime
        assert datetime.fromisoformat(body["last_modified"]).timestamp() == pytest.approx(modified, abs=1e-3)
    response = neko.get("/plugin/configured/config/toml")
    assert check(response, "/plugin/{plugin_id}/config/toml")["toml"] == COMMENTED
    assert response.headers["ETag"]
    assert response.headers["Cache-Control"] == "no-store"
    assert neko.get("/plugin/broken/config").json()["code"] == "invalid_manifest"
    assert "maybe" in neko.get("/plugin/broken/config/toml").json()["toml"]


def test_writing_values_keeps_the_comments(neko: PlugvisorStack) -> None:
    path = "/plugin/rewritten/config"
    file = neko.plugins_dir / "rewritten" / "plugin.toml"
    before = file.read_text()
    config = neko.get(path).json()["config"]
    etag = neko.get(f"{path}/toml").headers["ETag"]
    config["settings"]["count"] = 4
    response = put(neko, path, {"config": config}, **{"If-Match": etag})
    body = check(response, "/plugin/{plugin_id}/config")
    assert (body["success"], body["plugin_id"], body["config"]) == (True, "rewritten", config)
    assert body["requires_reload"] is False
    assert file.read_text() == before.replace("count = 3", "count = 4")
    assert response.headers["ETag"] == neko.get(f"{path}/toml").headers["ETag"] != etag
    stale = put(neko, path, {"config": config}, **{"If-Match": etag})
    assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")
    noted = "/journal?plugin_id=rewritten&kind=installation"
    [entry] = wait_for(lambda: neko.get(noted).json()["entries"], "the change to be in the journal")
    assert (entry["verb"], entry["identity"]) == ("configure", "admin")
    earlier = neko.get(f"{path}/toml?earlier=1").json()["toml"]
    assert earlier == before, "the text before is kept"


def test_writers_at_once_wait_for_each_other(neko: PlugvisorStack) -> None:
    """Who names no text that is to be replaced is not told that it was another one."""
    path = "/plugin/contended/config"
    config = neko.get(path).json()["config"]
    with ThreadPoolExecutor() as pool:
        sent = [{**config, "settings": config["settings"] | {"count": count}} for count in range(100, 112)]
        responses = list(pool.map(lambda tree: put(neko, path, {"config": tree}), sent))
    assert [response.status_code for response in responses] == [200] * len(sent)
    assert [response.json()["config"] for response in responses] == sent
    assert neko.get(path).json()["config"] in sent


def test_a_form_leaves_out_what_nobody_may_change(neko: PlugvisorStack) -> None:
    config = neko.get("/plugin/form/config").json()["config"]
    sent = {**config, "plugin": {key: value for key, value in config["plugin"].items() if key != "id"}}
    assert put(neko, "/plugin/form/config", {"config": sent}).json()["config"] == config
    another = {**config, "plugin": {**config["plugin"], "id": "other"}}
    assert put(neko, "/plugin/form/config", {"config": another}).status_code == 422
    without = {key: value for key, value in config.items() if key != "plugin"}
    assert put(neko, "/plugin/form/config", {"config": without}).json()["code"] == "invalid_manifest"


def test_writing_a_text(neko: PlugvisorStack) -> None:
    neko.post("/plugin/written/start")
    path = "/plugin/written/config/toml"
    text = neko.get(path).json()["toml"] + "environment.A = 'b'\n"
    body = check(put(neko, path, {"toml": text}), "/plugin/{plugin_id}/config/toml")
    assert (body["success"], body["requires_reload"]) == (True, True)
    assert body["config"]["plugin_runtime"]["environment"] == {"A": "b"}
    assert neko.get(path).json()["toml"] == text
    headers = {"Authorization": f"Bearer {ADMIN_CODE}", "Content-Type": "application/toml"}
    assert neko.http.put(path, content=text.encode(), headers=headers).json()["success"] is True


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 422, "invalid_request"),
        (b"[]", 422, "invalid_request"),
        (b'{"config": []}', 422, "invalid_request"),
        (b'{"config": {}, "more": 1}', 422, "invalid_request"),
        (b'{"config": {"a": null}}', 422, "invalid_request"),
        (b'{"config": ' + b'{"a":' * 900 + b"1" + b"}" * 901, 422, "invalid_request"),
        (b"[" * 100_000, 422, "invalid_request"),
        (b"\xff\xfe", 422, "invalid_request"),
        (b'{"config": {}}', 422, "invalid_manifest"),
        (b'{"config": {"plugin": {"id": "other", "command": ["x"]}}}', 422, "invalid_manifest"),
        (b'{"config": {"plugin": {"id": "configured", "command": [1]}}}', 422, "invalid_manifest"),
        (b'{"config": {"plugin": {"id": "configured", "command": ["x"]}, "x": "' + b"x" * 300_000 + b'"}}', 422, ""),
        (b'{"config": {"x": "' + b"x" * 2_000_000 + b'"}}', 413, "too_large"),
    ],
    ids=range(13),
)
def test_values_that_cannot_be_written(neko: PlugvisorStack, body: bytes, status: int, code: str) -> None:
    file = neko.plugins_dir / "configured" / "plugin.toml"
    headers = {"Authorization": f"Bearer {ADMIN_CODE}", "Content-Type": "application/json"}
    response = neko.http.put("/plugin/configured/config", content=body, headers=headers)
    assert (response.status_code, response.json()["code"]) == (status, code or "invalid_manifest"), response.text
    assert file.read_text() == COMMENTED


def test_parsing_and_rendering_store_nothing(neko: PlugvisorStack) -> None:
    path = "/plugin/configured/config"
    parsed = check(
        neko.post(f"{path}/parse_toml", json={"toml": "a = 1\nb = 2026-01-01"}), "/plugin/{plugin_id}/config/parse_toml"
    )
    assert parsed == {"plugin_id": "configured", "config": {"a": 1, "b": "2026-01-01"}}
    broken = neko.post(f"{path}/parse_toml", json={"toml": "a = = 1"})
    assert (broken.status_code, broken.json()["code"], broken.json()["line"]) == (422, "invalid_manifest", 1)
    config = neko.get(path).json()["config"]
    config["settings"]["count"] = 5
    rendered = check(
        neko.post(f"{path}/render_toml", json={"config": config}), "/plugin/{plugin_id}/config/render_toml"
    )
    assert rendered["toml"] == COMMENTED.replace("count = 3", "count = 5")
    assert (neko.plugins_dir / "configured" / "plugin.toml").read_text() == COMMENTED
    assert neko.post("/plugin/configured/stop").json()["code"] == "not_running"

    def list_verbs() -> set[str]:
        return {entry["verb"] for entry in neko.get("/journal?plugin_id=configured").json()["entries"]}

    wait_for(lambda: "stop" in list_verbs(), "the entry about the request after them")  # they come in their order
    assert not {"parse_toml", "render_toml"} & list_verbs()
    assert neko.post("/plugin/broken/config/render_toml", json={"config": {"a": 1}}).json()["toml"] == "a = 1\n"


def test_there_are_no_profiles(neko: PlugvisorStack) -> None:
    path = "/plugin/configured/config/profiles"
    body = check(neko.get(path), "/plugin/{plugin_id}/config/profiles")
    assert (body["profiles_exists"], body["config_profiles"]) == (False, None)
    answers = [
        neko.get(f"{path}/one"),
        put(neko, f"{path}/one", {"config": {}, "make_active": False}),
        neko.delete(f"{path}/one"),
        neko.post(f"{path}/one/activate", json={}),
    ]
    for response in answers:
        assert (response.status_code, response.json()["code"]) == (501, "not_supported")
        assert "no configuration profiles" in response.json()["detail"]
    assert neko.get("/plugin/nobody/config/profiles/one").status_code == 404


# -- everything


def test_the_role_of_each_route(neko: PlugvisorStack) -> None:
    """Nothing of what the dialect serves otherwise can be had for less than in the API."""
    tokens = {role: neko.add_identity(role, role) for role in ("viewer", "operator")}
    try:
        for route in ROUTES:
            path = route.path.format(plugin_id="nobody", profile="x")
            if route.role_setting:
                continue
            assert neko.http.request(route.method, path).status_code == 401, route.path
            for role, token in tokens.items():
                response = neko.http.request(
                    route.method, path, headers={"Authorization": f"Bearer {token}"}, content=b'{"plugin_ids": []}'
                )
                allowed = (role, route.role) in (("viewer", "viewer"), ("operator", "viewer"), ("operator", "operator"))
                assert (response.status_code != 403) == allowed, (route.path, role)
    finally:
        for name in tokens:
            neko.remove_identity(name)


def test_reads_may_need_a_token(plugvisor: PlugvisorStack) -> None:
    plugvisor.environ |= {"PLUGVISOR_DIALECT": "neko", "PLUGVISOR_READ_AUTH": "viewer"}
    plugvisor.up()
    for path in ("/plugins", "/plugin/status"):
        assert plugvisor.http.get(path).status_code == 401
        assert plugvisor.get(path).status_code == 200


def test_the_document_has_the_dialect(neko: PlugvisorStack) -> None:
    assert neko.http.get("/openapi.json").json() == json.loads(json.dumps(DOCUMENT))
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    names = [told["operationId"] for methods in DOCUMENT["paths"].values() for told in methods.values()]
    assert len(names) == len({*names})


def test_what_is_not_the_dialects_is_as_it_was(neko: PlugvisorStack) -> None:
    headers = {"Authorization": f"Bearer {ADMIN_CODE}"}
    for path in ("/server/info", "/plugin/runs/manifest", "/whoami", "/identities", "/plugin/runs/logs"):
        with_it, without = (neko.http.get(path, headers=headers | more).json() for more in ({}, PLAIN))
        assert with_it | {"time": ""} == without | {"time": ""}
    for path in ("/nothing", "/ws/admin", "/plugin/runs/extension/disable"):
        assert neko.get(path).status_code == 404
