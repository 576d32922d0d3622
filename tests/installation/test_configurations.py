"""Manifests over HTTP: read, replaced as a whole, and earlier ones kept."""

from __future__ import annotations

import json
import os
import stat
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.installed import install
from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.stack import ADMIN_CODE, QUICK
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import httpx

    from tests.helpers.stack import PlugvisorStack

SECRET = "hunter2"
LARGEST_BYTES = 256 * 1024


@pytest.fixture
def plugin(add: Callable[..., str]) -> str:
    """A plugin of this test alone, which is put there by hand and does not run."""
    return add(runtime=QUICK)


def path_of(shared: PlugvisorStack, plugin_id: str) -> Path:
    return shared.plugins_dir / plugin_id / "plugin.toml"


def get_config(shared: PlugvisorStack, plugin_id: str) -> dict[str, Any]:
    response = shared.get(f"/plugin/{plugin_id}/config")
    assert response.status_code == 200, response.text
    config: dict[str, Any] = response.json()
    return config


def put(shared: PlugvisorStack, plugin_id: str, text: str | bytes, **headers: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {ADMIN_CODE}", "Content-Type": "application/toml", **headers}
    return shared.http.put(f"/plugin/{plugin_id}/config/toml", content=text, headers=headers)


def list_kept(shared: PlugvisorStack, plugin_id: str) -> list[Path]:
    return sorted((shared.root / "state" / "manifests" / plugin_id).glob("*"))


# -- reading


def test_a_manifest_is_read_parsed_and_as_text(shared: PlugvisorStack, plugin: str) -> None:
    more = "[own]\nday = 2026-11-29\nat = 2026-11-29T10:00:00Z\nno = nan\nbig = 99999999999999999999\n"
    more += "list = [[1, {a = 1.5}]]\n"
    text = path_of(shared, plugin).read_text() + more
    path_of(shared, plugin).write_text(text)
    config = get_config(shared, plugin)
    assert config["plugin_id"] == plugin
    assert config["config"]["plugin"] == {"id": plugin, "command": ["python", "main.py"]}
    assert config["config"]["own"] == {
        "day": "2026-11-29",
        "at": "2026-11-29T10:00:00+00:00",
        "no": "nan",
        "big": "99999999999999999999",
        "list": [[1, {"a": 1.5}]],
    }
    assert (config["writable"], config["reload_needed"], config["earlier"]) == (True, False, [])
    assert "problem" not in config
    response = shared.get(f"/plugin/{plugin}/config/toml")
    assert (response.text, response.headers["content-type"]) == (text, "application/toml; charset=utf-8")
    assert response.headers["etag"] == config["etag"]
    assert response.headers["cache-control"] == "no-store"


def test_a_text_that_is_known_is_not_sent_again(shared: PlugvisorStack, plugin: str) -> None:
    path, headers = f"/plugin/{plugin}/config/toml", {"Authorization": f"Bearer {ADMIN_CODE}"}
    etag = get_config(shared, plugin)["etag"]
    for known in (etag, f'"x", W/{etag}', "*"):
        response = shared.http.get(path, headers={**headers, "If-None-Match": known})
        assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", etag)
    assert shared.http.get(path, headers={**headers, "If-None-Match": '"x"'}).status_code == 200


def test_a_broken_manifest_is_read_too(shared: PlugvisorStack, plugin: str) -> None:
    path_of(shared, plugin).write_text(
        f"[plugin]\nid = '{plugin}'\ncommand = ['true']\n[plugin_runtime]\nenabled = 1\n"
    )
    config = get_config(shared, plugin)
    assert config["problem"] == "its manifest is invalid: plugin.toml line 5: `enabled` must be true or false"
    assert (config["line"], config["column"], config["config"]["plugin_runtime"]) == (5, 1, {"enabled": 1})
    path_of(shared, plugin).write_bytes(b"[plugin]\n\xff")
    config = get_config(shared, plugin)
    assert (config["line"], config["column"], config["writable"]) == (2, 1, True)
    assert "config" not in config
    assert shared.get(f"/plugin/{plugin}/config/toml").content == b"[plugin]\n\xff"


def test_what_cannot_be_read_is_said(shared: PlugvisorStack, plugin: str) -> None:
    path_of(shared, plugin).unlink()
    config = get_config(shared, plugin)
    assert (config["etag"], config["writable"]) == ("", False)
    assert "No such file" in config["problem"]
    response = shared.get(f"/plugin/{plugin}/config/toml")
    assert (response.status_code, response.json()["code"]) == (422, "invalid_manifest")
    os.mkfifo(path_of(shared, plugin))
    assert "no regular file" in get_config(shared, plugin)["problem"]
    assert put(shared, plugin, "x = 1").json()["code"] == "read_only"


def test_there_is_no_such_plugin(shared: PlugvisorStack) -> None:
    responses = [
        shared.get("/plugin/none/config"),
        shared.get("/plugin/none/config/toml"),
        put(shared, "none", "x = 1"),
    ]
    assert [(response.status_code, response.json()["code"]) for response in responses] == [
        (404, "plugin_not_found")
    ] * 3


# -- replacing


def test_a_manifest_is_replaced(shared: PlugvisorStack, plugin: str) -> None:
    path = path_of(shared, plugin)
    path.chmod(0o640)
    before = path.read_text()
    after = before.replace("[plugin]", '# 新\n[plugin]\nname = "Renamed"')
    response = put(shared, plugin, after)
    assert response.status_code == 200, response.text
    etag = response.headers["etag"]
    assert response.json() == {
        "plugin_id": plugin,
        "etag": etag,
        "changed": True,
        "reload_needed": False,
        "message": "the manifest was replaced; it applies from the next start on",
        "warnings": [],
    }
    assert path.read_text() == after
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["main.py", "plugin.toml"]
    [listed] = [item for item in shared.get("/plugins").json()["plugins"] if item["id"] == plugin]
    assert listed["name"] == "Renamed", "the catalog was read again"
    config = get_config(shared, plugin)
    [earlier] = config["earlier"]
    assert (config["etag"], earlier["number"], earlier["replaced_by"]) == (etag, 1, "admin")
    response = shared.get(f"/plugin/{plugin}/config/toml?earlier=1")
    assert (response.text, response.headers["etag"]) == (before, earlier["etag"])
    response = shared.get(f"/plugin/{plugin}/config/toml?earlier=2")
    assert response.json()["detail"] == "there is no earlier manifest 2: 1 is kept"


def test_the_same_text_changes_nothing(shared: PlugvisorStack, plugin: str) -> None:
    before = path_of(shared, plugin).stat()
    response = put(shared, plugin, path_of(shared, plugin).read_bytes())
    assert (response.status_code, response.json()["changed"]) == (200, False)
    assert path_of(shared, plugin).stat().st_ino == before.st_ino
    assert get_config(shared, plugin)["earlier"] == []


@pytest.mark.parametrize("media_type", ["application/toml", "text/plain; charset=UTF-8", "application/json", ""])
def test_the_forms_of_a_body(shared: PlugvisorStack, plugin: str, media_type: str) -> None:
    text = path_of(shared, plugin).read_text() + "# é\n"
    body = json.dumps({"toml": text}) if "json" in media_type else text
    headers = {"Authorization": f"Bearer {ADMIN_CODE}"} | ({"Content-Type": media_type} if media_type else {})
    response = shared.http.put(f"/plugin/{plugin}/config/toml", content=body.encode(), headers=headers)
    assert response.status_code == 200, response.text
    assert path_of(shared, plugin).read_text() == text


@pytest.mark.parametrize(
    ("media_type", "body", "problem"),
    [
        ("application/x-www-form-urlencoded", "a=b", (415, "unsupported_media_type")),
        ("text/plain; charset=latin-1", "a = 1", (415, "unsupported_media_type")),
        ("application/json", "{}", (422, "invalid_request")),
        ("application/json", '{"toml": 1}', (422, "invalid_request")),
        ("application/json", "[", (422, "invalid_request")),
        ("application/toml", "", (422, "invalid_manifest")),
        ("application/toml", "#" * (LARGEST_BYTES + 1), (422, "invalid_manifest")),
    ],
)
def test_a_body_that_is_no_manifest(
    shared: PlugvisorStack, plugin: str, media_type: str, body: str, problem: tuple[int, str]
) -> None:
    before = path_of(shared, plugin).read_bytes()
    response = put(shared, plugin, body, **{"Content-Type": media_type})
    assert (response.status_code, response.json()["code"]) == problem, response.text
    assert path_of(shared, plugin).read_bytes() == before


@pytest.mark.parametrize(
    ("more", "position", "words"),
    [
        ("[x\n", (7, 3), "plugin.toml line 7: Expected ']' at the end of a table declaration"),
        ("critical = 'hunter2'\n", (7, 1), "`critical` must be true or false"),
        ("  environment = { A = 'hunter2', B = 2 }\n", (7, 34), "a variable must be a string"),
        ("[plugin_runtime.python]\nversion = '>=99'\n", (8, 1), "it needs Python >=99"),
        ("[plugin_runtime.depends_on.SELF]\n", (7, 1), "a plugin cannot depend on itself"),
    ],
)
def test_an_invalid_manifest_changes_nothing(
    shared: PlugvisorStack, plugin: str, more: str, position: tuple[int, int], words: str
) -> None:
    before = path_of(shared, plugin).read_text()
    response = put(shared, plugin, before + more.replace("SELF", plugin))
    problem = response.json()
    assert (response.status_code, problem["code"], problem["plugin_id"]) == (422, "invalid_manifest", plugin)
    assert (problem["line"], problem["column"]) == position, problem
    assert words in problem["detail"]
    assert SECRET not in response.text
    assert path_of(shared, plugin).read_text() == before
    assert list_kept(shared, plugin) == []


def test_a_command_that_is_not_there_is_invalid(shared: PlugvisorStack, plugin: str) -> None:
    before = path_of(shared, plugin).read_text()
    problem = put(shared, plugin, before.replace("python", "hunter2-is-no-program")).json()
    assert (problem["code"], problem["line"], problem["column"]) == ("invalid_manifest", 3, 1)
    assert "the program that `command` names is not found on PATH" in problem["detail"]
    assert SECRET not in problem["detail"]


def test_the_id_cannot_be_changed(shared: PlugvisorStack, plugin: str) -> None:
    before = path_of(shared, plugin).read_text()
    problem = put(shared, plugin, before.replace(f'id = "{plugin}"', 'id = "another"')).json()
    assert (problem["code"], problem["line"], problem["column"]) == ("invalid_manifest", 2, 1)
    assert f"`id` must be '{plugin}'" in problem["detail"]
    assert path_of(shared, plugin).read_text() == before


def test_dependencies_are_checked(shared: PlugvisorStack, plugin: str) -> None:
    shared.write_plugin(f"{plugin}-b", runtime=f"{QUICK}\n[plugin_runtime.depends_on.{plugin}]")
    shared.post("/plugins/refresh")
    before = path_of(shared, plugin).read_text()
    response = put(shared, plugin, f"{before}[plugin_runtime.depends_on.{plugin}-b]\n")
    assert (response.status_code, response.json()["code"]) == (422, "invalid_manifest")
    assert "it depends on itself" in response.json()["detail"]
    response = put(shared, plugin, f"{before}[plugin_runtime.depends_on.missing]\n[plugin_runtime.enviroment]\n")
    assert response.status_code == 200, response.text
    assert len(response.json()["warnings"]) == 2


def test_a_broken_manifest_can_be_repaired(shared: PlugvisorStack, plugin: str) -> None:
    good = path_of(shared, plugin).read_text()
    path_of(shared, plugin).write_bytes(b"\xff")
    shared.post("/plugins/refresh")
    assert shared.status(plugin)["status"] == "error"
    assert put(shared, plugin, good).status_code == 200
    assert shared.status(plugin)["status"] == "stopped"
    assert shared.get(f"/plugin/{plugin}/config/toml?earlier=1").content == b"\xff"


# -- who replaces what


def test_a_precondition(shared: PlugvisorStack, plugin: str) -> None:
    before = path_of(shared, plugin).read_text()
    etag = get_config(shared, plugin)["etag"]
    for tags in ('"x"', f"W/{etag}", "", "x", '"x", "y"'):
        response = put(shared, plugin, before + "#1\n", **{"If-Match": tags})
        assert (response.status_code, response.json()["code"]) == (412, "precondition_failed"), tags
    assert path_of(shared, plugin).read_text() == before
    for number, tags in enumerate((etag, "*")):
        response = put(shared, plugin, before + f"#{number}\n", **{"If-Match": tags})
        assert response.status_code == 200, response.text
    etag = response.json()["etag"]
    assert put(shared, plugin, before, **{"If-Match": f'"x", {etag}'}).status_code == 200


def test_of_two_clients_with_the_same_etag_one_succeeds(shared: PlugvisorStack, plugin: str) -> None:
    before = path_of(shared, plugin).read_text()
    etag = get_config(shared, plugin)["etag"]
    responses: list[httpx.Response] = []

    def replace(number: int) -> None:
        responses.append(put(shared, plugin, before + f"# {number}\n", **{"If-Match": etag}))

    threads = [threading.Thread(target=replace, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(response.status_code for response in responses) == [200, *[412] * 5]
    [written] = [response.json() for response in responses if response.status_code == 200]
    assert written["etag"] == get_config(shared, plugin)["etag"]


def test_ten_earlier_ones_are_kept(shared: PlugvisorStack, plugin: str) -> None:
    before = path_of(shared, plugin).read_text()
    for number in range(12):
        assert put(shared, plugin, before + f"# {number}\n").status_code == 200
    earlier = get_config(shared, plugin)["earlier"]
    assert [item["number"] for item in earlier] == list(range(1, 11))
    texts = [shared.get(f"/plugin/{plugin}/config/toml?earlier={number}").text for number in range(1, 11)]
    assert texts == [before + f"# {number}\n" for number in range(10, 0, -1)]
    kept = list_kept(shared, plugin)
    assert len(kept) == 10
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}
    response = shared.get(f"/plugin/{plugin}/config/toml?earlier=11")
    assert (response.status_code, response.json()["parameter"]) == (422, "earlier")
    kept[0].write_bytes(b"damaged")
    assert len(get_config(shared, plugin)["earlier"]) == 9


def test_who_may(shared: PlugvisorStack, plugin: str) -> None:
    operator = shared.add_identity(f"op-{plugin}"[:60], "operator")
    for code, status in ((None, 401), (operator, 403)):
        for path in (f"/plugin/{plugin}/config", f"/plugin/{plugin}/config/toml"):
            assert shared.get(path, code=code).status_code == status
        headers = {"Authorization": f"Bearer {code}"} if code else {}
        response = shared.http.put(f"/plugin/{plugin}/config/toml", content="x = 1", headers=headers)
        assert response.status_code == status


def test_a_replacement_is_in_the_journal_without_its_text(shared: PlugvisorStack, plugin: str) -> None:
    text = path_of(shared, plugin).read_text() + f'[own]\npassword = "{SECRET}"\n'
    assert put(shared, plugin, text).status_code == 200
    assert put(shared, plugin, text + "x").status_code == 422

    def find() -> list[dict[str, Any]]:
        entries = shared.get(f"/journal?plugin_id={plugin}&kind=installation,operation").json()["entries"]
        return entries if len(entries) >= 3 else []

    entries = wait_for(find, "the entries")
    found = {(entry["kind"], entry["verb"], entry["identity"], entry["outcome"]) for entry in entries}
    assert found == {
        ("installation", "configure", "admin", "ok"),
        ("operation", "configure", "admin", "ok"),
        ("operation", "configure", "admin", "invalid_manifest"),
    }
    assert SECRET not in json.dumps(entries)
    assert SECRET not in shared.service_log


def test_a_link_is_not_replaced(shared: PlugvisorStack, plugin: str) -> None:
    path = path_of(shared, plugin)
    real = path.rename(path.with_name("real.toml"))
    path.symlink_to("real.toml")
    assert not get_config(shared, plugin)["writable"]
    response = put(shared, plugin, real.read_text() + "# new\n")
    assert (response.status_code, response.json()["code"]) == (409, "read_only"), response.text
    assert path.is_symlink()
    assert list_kept(shared, plugin) == []


# -- what runs


def test_a_process_goes_on_until_it_is_reloaded(shared: PlugvisorStack, plugin: str) -> None:
    pid = shared.start_running(plugin)
    before = path_of(shared, plugin).read_text()
    response = put(shared, plugin, before + '[plugin_runtime.environment]\nA = "1"\n')
    assert (response.status_code, response.json()["reload_needed"]) == (200, True), response.text
    assert "reload it" in response.json()["message"]
    assert get_config(shared, plugin)["reload_needed"]
    assert shared.status(plugin)["pid"] == pid
    assert put(shared, plugin, before).json()["reload_needed"] is False, "it is what the process was started with"
    assert put(shared, plugin, before + "supervisor.stopwaitsecs = 3\n").json()["reload_needed"]
    assert shared.post(f"/plugin/{plugin}/reload").status_code == 200
    assert not get_config(shared, plugin)["reload_needed"]


def test_the_manifest_of_an_installed_plugin(shared: PlugvisorStack) -> None:
    plugin_id = f"installed-{os.urandom(3).hex()}"
    code = f"import os\nopen(os.environ['PLUGVISOR_DATA_DIR'] + '/x', 'w')\nprint(os.getcwd())\n{OBEDIENT}"
    manifest = f'[plugin]\nid = "{plugin_id}"\ncommand = ["python", "main.py"]\n[plugin_runtime]\n{QUICK}\n'
    version = install(shared.plugins_dir, plugin_id, "1", manifest)
    (version / "main.py").write_text(code)
    (version / "plugin.toml").chmod(0o444)
    version.chmod(0o555)
    shared.post("/plugins/refresh")
    shared.start_running(plugin_id)
    assert str(version) in shared.read_log(plugin_id)
    assert (version.parent.parent / "data" / "x").exists()
    assert get_config(shared, plugin_id)["writable"]
    response = put(shared, plugin_id, manifest + '[plugin_runtime.environment]\nA = "1"\n')
    assert (response.status_code, response.json()["reload_needed"]) == (200, True), response.text
    assert stat.S_IMODE(version.stat().st_mode) == 0o555
    assert stat.S_IMODE((version / "plugin.toml").stat().st_mode) == 0o444
    assert shared.post(f"/plugin/{plugin_id}/reload").json()["status"] == "running"
    assert not get_config(shared, plugin_id)["reload_needed"]
    shared.post(f"/plugin/{plugin_id}/stop")
    version.chmod(0o755)


def test_the_earlier_ones_go_with_the_data(shared: PlugvisorStack) -> None:
    plugin_id = f"purged-{os.urandom(3).hex()}"
    manifest = f'[plugin]\nid = "{plugin_id}"\ncommand = ["python", "main.py"]\n[plugin_runtime]\n{QUICK}\n'
    install(shared.plugins_dir, plugin_id, "1", manifest)
    shared.post("/plugins/refresh")
    assert put(shared, plugin_id, manifest + "# 1\n").status_code == 200
    assert len(list_kept(shared, plugin_id)) == 1
    response = shared.http.delete(f"/plugin/{plugin_id}?purge=true", headers={"Authorization": f"Bearer {ADMIN_CODE}"})
    assert response.status_code == 200, response.text
    assert not (shared.root / "state" / "manifests" / plugin_id).exists()
    assert shared.get(f"/plugin/{plugin_id}/config").status_code == 404
