"""Identities over HTTP: adding, removing and rotating them, what their patterns permit, and that no token is kept."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.api.auth.gate import BURST

from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.stack import ADMIN_CODE, PlugvisorStack
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

OFF = "auto_start = false\nsupervisor.startsecs = 0"


def outcome(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def soon(**after: float) -> str:
    return (datetime.now(UTC) + timedelta(**after)).isoformat()


def test_the_life_of_an_identity(shared: PlugvisorStack) -> None:
    expires_at = soon(days=90)
    body = {"name": "life", "role": "operator", "plugins": ["web-*"], "expires_at": expires_at}
    added = shared.post("/identities", json=body)
    assert added.headers["Cache-Control"] == "no-store"
    issued = added.json()
    token = issued.pop("token")
    assert issued.keys() == body.keys()
    assert datetime.fromisoformat(issued["expires_at"]) == datetime.fromisoformat(expires_at)
    assert issued | {"expires_at": expires_at} == body

    whoami = shared.get("/whoami", token)
    assert (whoami.json(), whoami.headers["Cache-Control"]) == (issued, "no-store")
    assert shared.get("/whoami").json() == {"name": "admin", "role": "admin", "plugins": ["*"]}
    assert outcome(shared.get("/whoami", None)) == (401, "unauthorized")

    listed = shared.get("/identities").json()["identities"]
    assert listed[0] == {"name": "admin", "role": "admin", "plugins": ["*"]}
    [one] = [each for each in listed if each["name"] == "life"]
    assert {**issued, "created_by": "admin", "created_at": one["created_at"]} == one
    assert token not in shared.get("/identities").text

    rotated = shared.post("/identities/life/rotate").json()
    assert {**issued, "token": rotated["token"]} == rotated
    assert outcome(shared.get("/whoami", token)) == (401, "unauthorized")
    assert shared.get("/whoami", rotated["token"]).json() == issued

    removed = shared.http.delete("/identities/life", headers={"Authorization": f"Bearer {ADMIN_CODE}"})
    assert removed.json() == one
    assert outcome(shared.get("/whoami", rotated["token"])) == (401, "unauthorized")
    assert outcome(shared.post("/identities/life/rotate")) == (404, "identity_not_found")
    again = shared.http.delete("/identities/life", headers={"Authorization": f"Bearer {ADMIN_CODE}"})
    assert outcome(again) == (404, "identity_not_found")


def test_the_journal_says_who_has_changed_an_identity_and_who_was_not_allowed_to(shared: PlugvisorStack) -> None:
    boss = shared.add_identity("noted-boss", "admin")
    viewer = shared.post("/identities", boss, json={"name": "noted", "role": "viewer"}).json()["token"]
    shared.post("/identities/noted/rotate", viewer)
    shared.post("/plugin/none/start", viewer)
    shared.post("/identities", boss, json={"name": "noted", "role": "viewer"})
    shared.http.delete("/identities/noted", headers={"Authorization": f"Bearer {boss}"})

    def list_entries() -> list[tuple[str | None, ...]]:
        entries = shared.get("/journal?limit=1000").json()["entries"]
        keys = ("kind", "identity", "verb", "subject", "outcome")
        noted = [entry for entry in entries if entry.get("identity") in ("noted", "noted-boss")]
        return [tuple(entry.get(key) for key in keys) for entry in noted]

    wait_for(lambda: len(list_entries()) == 5, "the entries")
    assert [*reversed(list_entries())] == [
        ("identity", "noted-boss", "add", "noted", "ok"),
        ("identity", "noted", "rotate", None, "forbidden"),  # the name may be made up
        ("operation", "noted", "start", None, "forbidden"),
        ("identity", "noted-boss", "add", "noted", "identity_exists"),
        ("identity", "noted-boss", "remove", "noted", "ok"),
    ]


def test_the_journal_says_what_an_identity_was_given(shared: PlugvisorStack) -> None:
    until = datetime(2100, 1, 1, tzinfo=UTC).astimezone().isoformat(timespec="microseconds")
    shared.add_identity("given", "operator", plugins=["web-*", "db"], expires_at=until)

    def list_details() -> list[str]:
        entries = shared.get("/journal?kind=identity").json()["entries"]
        return [entry["detail"] for entry in entries if entry.get("subject") == "given"]

    wait_for(list_details, "the entry")
    assert list_details() == [f"given: operator of web-* db, until {until}"]


def test_the_name_of_who_adds_one_is_kept(shared: PlugvisorStack) -> None:
    boss = shared.add_identity("boss", "admin")
    assert shared.post("/identities", boss, json={"name": "by-boss", "role": "viewer"}).status_code == 200
    [one] = [each for each in shared.get("/identities", boss).json()["identities"] if each["name"] == "by-boss"]
    assert one["created_by"] == "boss"
    assert "expires_at" not in one


VALID = {"name": "invalid", "role": "operator"}


@pytest.mark.parametrize(
    ("body", "status", "parameter"),
    [
        ({}, 422, "name"),
        ({"name": "invalid"}, 422, "role"),
        ({"role": "viewer"}, 422, "name"),
        *(({**VALID, "name": name}, 422, "name") for name in ("", "A", "-a", "a b", "a/b", "ä", "a" * 65, 1, None)),
        *(({**VALID, "name": name}, 422, "name") for name in ("a\n", "supervisorctl", "plugvisor")),
        *(({**VALID, "role": role}, 422, "role") for role in ("", "Admin", "root", None, ["admin"])),
        *(({**VALID, "plugins": value}, 422, "plugins") for value in ([], [""], ["a" * 65], ["a"] * 65)),
        *(({**VALID, "plugins": [value]}, 422, "plugins") for value in ("web-*,db", "web-* db", "db\n", "[a]", "ä*")),
        *(({**VALID, "plugins": value}, 422, "plugins") for value in ("web-*", [1], None)),
        ({**VALID, "role": "viewer", "plugins": ["web-*"]}, 422, "plugins"),
        ({**VALID, "role": "admin", "plugins": ["web-*"]}, 422, "plugins"),
        *(
            ({**VALID, "expires_at": value}, 422, "expires_at")
            for value in ("", "x", "2020-01-01", "2020-01-01T00:00:00Z", "99999-01-01", "90d", 1, None)
        ),
        ({**VALID, "token": "pv_chosen"}, 422, None),
        ([], 422, None),
        ({**VALID, "name": "admin"}, 409, None),
    ],
)
def test_an_invalid_body_is_named_and_changes_nothing(
    shared: PlugvisorStack, body: Any, status: int, parameter: str | None
) -> None:
    before = shared.get("/identities").json()
    response = shared.post("/identities", json=body)
    assert response.status_code == status
    assert response.json().get("parameter") == parameter
    assert shared.get("/identities").json() == before


@pytest.mark.parametrize(
    ("member", "rule"),
    [
        ({"name": "Ops"}, "`name` must be 1 to 64 lower-case letters, digits, "),
        ({"plugins": ["db", "web-* mail"]}, "`plugins` must be ids or patterns like web-*, "),
    ],
)
def test_a_rejected_text_is_worded(shared: PlugvisorStack, member: dict[str, Any], rule: str) -> None:
    """As a rule for people, not as a regular expression."""
    detail = shared.post("/identities", json={**VALID, **member}).json()["detail"]
    assert detail.startswith(rule)
    assert "regex" not in detail


def test_a_name_is_taken_once_and_admin_stays(shared: PlugvisorStack) -> None:
    token = shared.add_identity("taken", "viewer")
    response = shared.post("/identities", json={"name": "taken", "role": "admin"})
    assert outcome(response) == (409, "identity_exists")
    assert shared.get("/whoami", token).json()["role"] == "viewer"
    response = shared.http.delete("/identities/admin", headers={"Authorization": f"Bearer {ADMIN_CODE}"})
    assert (*outcome(response), response.json()["parameter"]) == (422, "invalid_request", "name")
    assert shared.get("/whoami").status_code == 200


def test_a_body_that_comes_after_its_sender_was_removed_changes_nothing(
    shared: PlugvisorStack, add: Callable[..., str]
) -> None:
    plugin_id = add(runtime=OFF)
    token = shared.add_identity("slow", "operator")
    body = json.dumps({"plugin_ids": [plugin_id]}).encode()
    head = f"Authorization: Bearer {token}\r\nContent-Length: {len(body)}\r\nConnection: close"
    with socket.create_connection(("127.0.0.1", shared.port), DEADLINE_SECONDS) as raw:
        raw.sendall(f"POST /plugins/start HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n".encode() + body[:1])
        shared.post("/plugins/none")  # so that the service has seen the head
        removed = shared.http.delete("/identities/slow", headers={"Authorization": f"Bearer {ADMIN_CODE}"})
        assert removed.status_code == 200
        raw.sendall(body[1:])
        assert raw.recv(4096).startswith(b"HTTP/1.1 401 ")
    assert shared.status(plugin_id)["status"] == "stopped"


# -- the plugins that an operator may change


def test_a_bulk_operation_takes_what_its_sender_may_change(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    mine, others = [add(runtime=OFF, suffix=f"-{number}") for number in (1, 2)], [add(runtime=OFF, suffix="-x")]
    token = shared.add_identity("bulk", "operator", plugins=["*-1", mine[1]])

    def ask(verb: str, **body: Any) -> dict[str, str]:
        response = shared.post(f"/plugins/{verb}", token, json=body)
        assert response.status_code == 200, response.text
        results = response.json()["results"]
        assert response.json()["ok"] is all(each["ok"] for each in results)
        return {each["plugin_id"]: each["problem"]["code"] if "problem" in each else each["status"] for each in results}

    assert ask("start", plugin_ids=[*others, *mine]) == dict.fromkeys(mine, "running") | {others[0]: "forbidden"}
    assert shared.status(others[0])["status"] == "stopped"
    shared.start_running(others[0])
    assert ask("reload", plugin_ids=[others[0], "gone"]) == {others[0]: "forbidden", "gone": "forbidden"}
    assert ask("stop") == dict.fromkeys(mine, "stopped"), "of all that run"
    assert shared.status(others[0])["status"] == "running"
    started = ask("start")
    assert {*mine} <= started.keys()
    assert others[0] not in started
    shared.post("/plugins/stop", json={})


def test_dependents_that_one_may_not_change_are_not_stopped(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    needed = add(runtime=OFF, suffix="-needed")
    runtime = f"auto_start = false\nsupervisor.startsecs = 0\ndepends_on.{needed}.required = true"
    dependent = add(runtime=runtime, suffix="-dependent")
    for plugin_id in (needed, dependent):
        shared.start_running(plugin_id)
    token = shared.add_identity("narrow", "operator", plugins=["*-needed"])
    for response in (
        shared.post(f"/plugin/{needed}/stop?dependents=true", token),
        shared.post("/plugins/stop?dependents=true", token, json={"plugin_ids": [needed]}),
        shared.post("/plugins/stop?dependents=true", token),
    ):
        assert (*outcome(response), response.json()["plugin_id"]) == (403, "forbidden", dependent)
    assert [shared.status(each)["status"] for each in (needed, dependent)] == ["running", "running"]
    wide = shared.add_identity("wide", "operator", plugins=["*-needed", "*-dependent"])
    assert shared.post(f"/plugin/{needed}/stop?dependents=true", wide).status_code == 200
    assert [shared.status(each)["status"] for each in (needed, dependent)] == ["stopped", "stopped"]


def test_a_refresh_concerns_what_its_sender_may_change(plugvisor: PlugvisorStack) -> None:
    names = ("mine-old", "other-old", "mine-bad", "other-bad")
    paths = {name: plugvisor.write_plugin(name, runtime=OFF) for name in names}
    plugvisor.up()
    token = plugvisor.add_identity("ops", "operator", plugins=["mine-*"])
    for name in ("mine-new", "other-new"):
        plugvisor.write_plugin(name, runtime=OFF)
    for name in ("mine-bad", "other-bad"):
        (paths[name] / "plugin.toml").write_text("nonsense")
    for name in ("mine-old", "other-old"):
        paths[name].rename(plugvisor.root / name)

    def list_plugins() -> dict[str, bool]:
        return {each["id"]: each["enabled"] for each in plugvisor.http.get("/plugins").json()["plugins"]}

    refreshed = plugvisor.post("/plugins/refresh", token).json()
    assert refreshed == {"added": ["mine-new"], "changed": [], "removed": ["mine-old"], "invalid": ["mine-bad"]}
    assert list_plugins() == {"mine-bad": False, "mine-new": True, "other-bad": True, "other-old": True}
    nothing = {"added": [], "changed": [], "removed": [], "invalid": ["mine-bad"]}
    assert plugvisor.post("/plugins/refresh", token).json() == nothing
    refreshed = plugvisor.post("/plugins/refresh").json()
    assert (refreshed["added"], refreshed["removed"]) == (["other-new"], ["other-old"])
    assert list_plugins() == {"mine-bad": False, "mine-new": True, "other-bad": False, "other-new": True}


# -- the admin code, restarts, trouble


def test_the_admin_code_is_rotated_without_a_restart(plugvisor: PlugvisorStack) -> None:
    plugvisor.up()
    rotated = plugvisor.post("/identities/admin/rotate")
    assert rotated.headers["Cache-Control"] == "no-store"
    code = rotated.json()["token"]
    assert rotated.json() == {"name": "admin", "role": "admin", "plugins": ["*"], "token": code}
    token = plugvisor.post("/identities", code, json={"name": "ops", "role": "viewer"}).json()["token"]
    for _ in range(2):
        assert outcome(plugvisor.get("/whoami", ADMIN_CODE)) == (401, "unauthorized")
        assert plugvisor.get("/whoami", code).json()["name"] == "admin"
        assert plugvisor.get("/whoami", token).json()["name"] == "ops"
        plugvisor.restart_service()  # what was answered is remembered
    (plugvisor.run_dir / "admin_code").write_text("configured-in-the-file")  # where `up` keeps a code of a variable
    wait_for(lambda: plugvisor.get("/whoami", "configured-in-the-file").status_code == 200, "the file to be read")
    assert outcome(plugvisor.get("/whoami", code)) == (401, "unauthorized")
    plugvisor.down()
    plugvisor.up()
    assert plugvisor.get("/whoami", ADMIN_CODE).status_code == 200, "the configured one is another again"
    assert plugvisor.get("/whoami", token).json()["name"] == "ops"


def test_without_a_store_there_is_the_admin_code(plugvisor: PlugvisorStack) -> None:
    (plugvisor.root / "state").write_text("this is no folder")
    plugvisor.write_plugin("one", runtime=OFF)
    plugvisor.up()
    assert plugvisor.get("/whoami").json()["name"] == "admin"
    for response in (
        plugvisor.post("/identities", json={"name": "ops", "role": "viewer"}),
        plugvisor.post("/identities/ops/rotate"),
        plugvisor.post("/identities/admin/rotate"),
    ):
        assert outcome(response) == (503, "store_unavailable")
        assert response.headers["Retry-After"]
        assert str(plugvisor.root) not in response.text
    assert [each["name"] for each in plugvisor.get("/identities").json()["identities"]] == ["admin"]
    plugvisor.start_running("one")


def test_tokens_outlive_their_database(plugvisor: PlugvisorStack) -> None:
    """What is held in memory is written into the one that takes its place."""
    plugvisor.up()
    token = plugvisor.add_identity("ops", "viewer")
    code = plugvisor.post("/identities/admin/rotate").json()["token"]
    database = plugvisor.root / "state" / "plugvisor.db"
    database.write_bytes(os.urandom(100_000))

    def is_there() -> bool:
        plugvisor.get("/journal", code)  # finds the damage
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(database)) as connection:
            rows = connection.execute("SELECT name FROM identity, admin_code").fetchall()
            return rows == [("ops",)]
        return False

    wait_for(is_there, "the identities to be written again")
    plugvisor.restart_service()
    assert plugvisor.get("/whoami", token).json()["name"] == "ops"
    assert plugvisor.get("/whoami", code).json()["name"] == "admin"
    assert plugvisor.get("/whoami").status_code == 401


def test_a_token_passes_while_its_sender_is_throttled_and_the_code_is_weak(plugvisor: PlugvisorStack) -> None:
    plugvisor.environ["PLUGVISOR_ADMIN_CODE"] = "WEAK"
    plugvisor.up()
    token = plugvisor.post("/identities", "WEAK", json={"name": "ops", "role": "operator"}).json()["token"]
    for number in range(BURST):
        assert plugvisor.post("/plugins/refresh", f"wrong-{number}").status_code == 401
    assert outcome(plugvisor.post("/plugins/refresh", "WEAK")) == (429, "too_many_attempts")
    assert plugvisor.post("/plugins/refresh", token).status_code == 200
    code = {"Authorization": f"Bearer {token[:-1]}"}
    assert plugvisor.http.post("/plugins/refresh", headers=code).status_code == 429


def test_an_expired_token_is_a_wrong_one(shared: PlugvisorStack) -> None:
    token = shared.add_identity("brief", "viewer", expires_at=soon(seconds=1))
    wait_for(lambda: shared.get("/whoami", token).status_code == 401, "it to expire")
    assert outcome(shared.post("/identities/brief/rotate")) == (422, "invalid_request")
    assert outcome(shared.post("/identities", json={"name": "brief", "role": "viewer"})) == (409, "identity_exists")


def test_no_token_is_ever_seen(plugvisor: PlugvisorStack) -> None:
    """Not in a file of this Plugvisor, database and journal included, nor in an answer but the one that issues it."""
    plugvisor.write_plugin("one", "import os\nprint(os.environ)\n" + OBEDIENT)
    plugvisor.up()
    old = plugvisor.add_identity("ops", "operator")
    token = plugvisor.post("/identities/ops/rotate").json()["token"]
    code = plugvisor.post("/identities/admin/rotate").json()["token"]
    secrets = (ADMIN_CODE, old, token, code, "pv_wrongwrongwrongwrongw")
    paths = ("/plugins/refresh", "/plugin/one/start", "/plugin/none/stop", "/identities", "/none")
    reads = (
        "/whoami",
        "/identities",
        "/journal",
        "/plugins",
        "/server/info",
        "/metrics",
        "/available",
        "/",
        "/openapi.json",
    )
    seen: list[bytes] = []
    for secret in secrets:
        answers = [plugvisor.post(path, secret, json={}) for path in paths]
        answers += [plugvisor.get(path, secret) for path in reads]
        seen += [f"{answer.headers}{answer.text}".encode() for answer in answers]
    wait_for(lambda: plugvisor.service_log.count("POST /plugin/none/stop: 404") == 2, "the log of the service")
    kept = plugvisor.run_dir / "admin_code"
    files = [path for path in plugvisor.root.rglob("*") if path.is_file() and path != kept]
    assert any(path.suffix == ".db" for path in files)
    contents = {str(path): path.read_bytes() for path in files}
    for process in (plugvisor.service_pid, plugvisor.supervisord_pid):
        for what in ("environ", "cmdline"):
            with open(f"/proc/{process}/{what}", "rb") as file:
                contents[f"{process} {what}"] = file.read()
    for secret in secrets:
        assert not [answer for answer in seen if secret.encode() in answer]
        assert not [name for name, content in contents.items() if secret.encode() in content]


def test_a_path_names_every_method_that_it_takes(shared: PlugvisorStack) -> None:
    response = shared.http.put("/identities")
    assert outcome(response) == (405, "method_not_allowed")
    assert {*response.headers["Allow"].split(", ")} == {"GET", "HEAD", "POST"}
    assert shared.http.get("/identities/x").headers["Allow"] == "DELETE"
