"""Installation over HTTP: what requests are answered with, what streams and the journal say of it."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.event_client import open_events
from tests.helpers.packages import make_endless_package, make_plugin_package
from tests.helpers.processes import count_spooled
from tests.helpers.raw_http import connect, parse, post, receive
from tests.helpers.stack import ADMIN_CODE, QUICK, run_stack
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from tests.helpers.stack import PlugvisorStack

HEADERS = {"Authorization": f"Bearer {ADMIN_CODE}", "Content-Type": "application/zip"}
WAIT = {"wait": "60"}


@pytest.fixture(scope="module")
def plugvisor() -> Iterator[PlugvisorStack]:
    with run_stack() as made:
        made.write_plugin("by-hand", runtime=QUICK)
        made.up()
        yield made


def install(plugvisor: PlugvisorStack, package: bytes, **query: str) -> httpx.Response:
    return plugvisor.http.post("/plugins/install", params=query, content=package, headers=HEADERS)


def install_new(plugvisor: PlugvisorStack, plugin_id: str, **more: Any) -> dict[str, Any]:
    """Install a plugin that is not there; returns the operation."""
    response = install(plugvisor, make_plugin_package(plugin_id, runtime=QUICK, **more), **WAIT)
    assert response.status_code == 201, response.text
    operation: dict[str, Any] = response.json()
    return operation


def remove(plugvisor: PlugvisorStack, path: str, **query: str) -> httpx.Response:
    return plugvisor.http.delete(path, params=query, headers=HEADERS)


def get_operation(plugvisor: PlugvisorStack, operation_id: str) -> dict[str, Any]:
    response = plugvisor.get(f"/operations/{operation_id}")
    assert response.status_code == 200, response.text
    operation: dict[str, Any] = response.json()
    return operation


def wait_for_end(plugvisor: PlugvisorStack, operation_id: str) -> dict[str, Any]:
    ended: dict[str, Any] = wait_for(
        lambda: (each := get_operation(plugvisor, operation_id))["state"] != "running" and each, "the operation to end"
    )
    return ended


def test_it_is_answered_as_soon_as_it_has_arrived(plugvisor: PlugvisorStack) -> None:
    package = make_plugin_package("at-once", runtime=QUICK)
    digest = hashlib.sha256(package).hexdigest()
    response = install(plugvisor, package, sha256=digest.upper(), source="at-once.zip")
    assert response.status_code == 202, response.text
    begun = response.json()
    assert response.headers["Location"] == f"/operations/{begun['id']}"
    assert (begun["verb"], begun["by"], begun["sha256"]) == ("install", "admin", digest)
    assert "log" not in begun
    ended = wait_for_end(plugvisor, begun["id"])
    assert (ended["state"], ended["percent"], ended["plugin_id"]) == ("succeeded", 100, "at-once")
    assert ended["lines"] >= len(ended["log"]) > 0
    listed = plugvisor.get("/operations", params={"plugin_id": "at-once"}).json()["operations"]
    assert listed == [{name: value for name, value in ended.items() if name != "log"}]
    assert "at-once" in [plugin["id"] for plugin in plugvisor.http.get("/plugins").json()["plugins"]]
    [version] = plugvisor.get("/plugin/at-once/versions").json()["versions"]
    assert (version["sha256"], version["source"], version["installed_by"]) == (digest, "at-once.zip", "admin")
    assert version["current"] is True


def test_one_that_is_waited_for(plugvisor: PlugvisorStack) -> None:
    response = install(plugvisor, make_plugin_package("waited", runtime=QUICK, kind="tar.gz"), start="true", **WAIT)
    assert response.status_code == 201, response.text
    assert response.headers["Location"] == f"/operations/{response.json()['id']}"
    assert response.json()["state"] == "succeeded"
    assert plugvisor.status("waited")["status"] == "running"


def test_the_problem_of_one_that_is_waited_for(plugvisor: PlugvisorStack) -> None:
    response = install(plugvisor, b"no package at all", **WAIT)
    problem = response.json()
    assert (response.status_code, problem["code"]) == (422, "invalid_package")
    ended = get_operation(plugvisor, problem["operation_id"])
    assert ended["state"] == "failed"
    assert ended["problem"] == {name: value for name, value in problem.items() if name != "operation_id"}


def test_what_is_there_is_replaced_only_on_request(plugvisor: PlugvisorStack) -> None:
    install_new(plugvisor, "there")
    package = make_plugin_package("there", version="2.0.0", runtime=QUICK)
    refused = install(plugvisor, package, **WAIT)
    assert (refused.status_code, refused.json()["code"], refused.json()["plugin_id"]) == (
        409,
        "already_installed",
        "there",
    )
    other = install(plugvisor, package, plugin_id="another", replace="true", **WAIT)
    assert (other.status_code, other.json()["code"]) == (422, "invalid_package")
    updated = install(plugvisor, package, plugin_id="there", replace="true", **WAIT)
    assert (updated.status_code, updated.json()["verb"]) == (201, "update"), updated.text
    assert (updated.json()["version"], updated.json()["previous_version"]) == ("2.0.0", "1.0.0")
    again = install(plugvisor, package, replace="true", **WAIT)
    assert (again.status_code, again.json()["unchanged"]) == (201, True)

    back = plugvisor.post("/plugin/there/rollback")
    assert (back.status_code, back.json()["verb"], back.json()["version"]) == (200, "rollback", "1.0.0"), back.text
    assert back.headers["Location"] == f"/operations/{back.json()['id']}"
    versions = plugvisor.get("/plugin/there/versions").json()["versions"]
    assert {each["version"]: [name for name in ("current", "previous") if each.get(name)] for each in versions} == {
        "1.0.0": ["current"],
        "2.0.0": ["previous"],
    }


def test_it_is_uninstalled_with_its_data_on_request(plugvisor: PlugvisorStack) -> None:
    install_new(plugvisor, "leaving")
    assert plugvisor.post("/plugin/leaving/rollback").json()["code"] == "no_previous_version"
    left = remove(plugvisor, "/plugin/leaving")
    assert (left.status_code, left.json()["verb"], left.json()["state"]) == (200, "uninstall", "succeeded"), left.text
    assert left.headers["Location"] == f"/operations/{left.json()['id']}"
    assert plugvisor.get("/plugin/leaving/versions").status_code == 404
    assert remove(plugvisor, "/plugin/leaving").status_code == 404
    assert remove(plugvisor, "/plugin/leaving", purge="true").status_code == 200
    assert remove(plugvisor, "/plugin/leaving", purge="true").status_code == 404


@pytest.mark.parametrize("plugin_id", ["status", "metrics", "install"])
def test_a_plugin_may_be_named_as_a_path_is(plugvisor: PlugvisorStack, plugin_id: str) -> None:
    install_new(plugvisor, plugin_id)
    assert plugvisor.get(f"/plugin/{plugin_id}/versions").json()["plugin_id"] == plugin_id
    assert remove(plugvisor, f"/plugin/{plugin_id}").status_code == 200


@pytest.mark.parametrize("plugin_id", ["%2e%2e", "%00", ".staging", "%ff", "a%0a", "x" * 300])
def test_what_is_no_id_is_no_plugin(plugvisor: PlugvisorStack, plugin_id: str) -> None:
    for response in (
        remove(plugvisor, f"/plugin/{plugin_id}", purge="true"),
        plugvisor.post(f"/plugin/{plugin_id}/rollback"),
        plugvisor.get(f"/plugin/{plugin_id}/versions"),
    ):
        assert (response.status_code, response.json()["code"]) == (404, "plugin_not_found"), response.text
    assert (plugvisor.plugins_dir / "by-hand" / "main.py").exists()


def test_what_was_put_there_by_hand_stays(plugvisor: PlugvisorStack) -> None:
    assert plugvisor.get("/plugin/by-hand/versions").json() == {
        "plugin_id": "by-hand",
        "installed": False,
        "versions": [],
    }
    package = make_plugin_package("by-hand", runtime=QUICK)
    for response in (
        install(plugvisor, package, replace="true", **WAIT),
        plugvisor.post("/plugin/by-hand/rollback"),
        remove(plugvisor, "/plugin/by-hand", purge="true"),
    ):
        assert (response.status_code, response.json()["code"]) == (409, "not_installed"), response.text
        assert response.json()["plugin_id"] == "by-hand"
    assert (plugvisor.plugins_dir / "by-hand" / "main.py").exists()


def test_one_that_has_ended_cannot_be_cancelled(plugvisor: PlugvisorStack) -> None:
    operation = install_new(plugvisor, "ended")
    response = remove(plugvisor, f"/operations/{operation['id']}")
    assert (response.status_code, response.json()["code"]) == (409, "not_cancellable")
    for response in (remove(plugvisor, "/operations/gone"), plugvisor.get("/operations/gone")):
        assert (response.status_code, response.json()["code"]) == (404, "operation_not_found")


def test_one_that_is_cancelled(plugvisor: PlugvisorStack) -> None:
    with make_endless_package("cancelled") as package, ThreadPoolExecutor() as pool:
        waiting = pool.submit(install, plugvisor, package, **WAIT)

        def find() -> str | None:
            operations = plugvisor.get("/operations", params={"plugin_id": "cancelled"}).json()["operations"]
            return next((each["id"] for each in operations if each["phase"] == "environment"), None)

        operation_id = wait_for(find, "the environment to be built")
        response = remove(plugvisor, f"/operations/{operation_id}")
        assert (response.status_code, response.json()["state"]) == (200, "cancelled"), response.text
        answer = waiting.result()
    assert (answer.status_code, answer.json()["code"]) == (409, "cancelled")
    assert answer.json()["operation_id"] == operation_id
    assert plugvisor.get("/plugin/cancelled/versions").status_code == 404

    def list_verbs() -> list[str]:
        entries = plugvisor.get("/journal", params={"kind": "operation"}).json()["entries"]
        return [entry["verb"] for entry in entries]

    wait_for(lambda: "cancel" in list_verbs(), "the entry of the request")


def test_streams_say_how_it_gets_on_and_not_who_does_it(plugvisor: PlugvisorStack) -> None:
    with open_events(plugvisor.port) as everything, open_events(plugvisor.port, plugin_id="by-hand") as other:
        everything.wait("snapshot")
        other.wait("snapshot")
        operation = install_new(plugvisor, "followed")
        everything.wait("operation", id=operation["id"], state="succeeded", percent=100)
        everything.wait("plugins")
        told = [event.data for event in everything.events if event.kind == "operation"]
        assert told[-1] == {name: operation[name] for name in told[-1]}
        assert all(each.keys().isdisjoint({"by", "log", "problem", "sha256"}) for each in told)
        assert [each["percent"] for each in told] == sorted(each["percent"] for each in told)
        plugvisor.start_running("by-hand")
        other.wait("status", plugin_id="by-hand")
        assert "operation" not in other.kinds
    with open_events(plugvisor.port, plugin_id="followed") as own:
        own.wait("snapshot")
        gone = remove(plugvisor, "/plugin/followed").json()
        own.wait("operation", id=gone["id"], state="succeeded", plugin_id="followed")


def test_the_journal_has_the_request_and_what_came_of_it(plugvisor: PlugvisorStack) -> None:
    operation = install_new(plugvisor, "noted")

    def find(kind: str) -> dict[str, Any] | None:
        entries = plugvisor.get("/journal", params={"plugin_id": "noted", "kind": kind}).json()["entries"]
        return next(iter(entries), None)

    request = wait_for(lambda: find("operation"), "the request")
    assert (request["verb"], request["outcome"], request["identity"]) == ("install", "ok", "admin")
    assert request["detail"] == f"operation {operation['id']}"
    outcome = wait_for(lambda: find("installation"), "what came of it")
    assert (outcome["verb"], outcome["outcome"], outcome["subject"]) == ("install", "ok", "1.0.0")
    wait_for(lambda: f"operation {operation['id']}" in plugvisor.service_log, "the operation in the log")


def test_what_is_counted(plugvisor: PlugvisorStack) -> None:
    def count(name: str) -> float:
        lines = [line.rpartition(" ") for line in plugvisor.get("/metrics").text.splitlines()]
        return sum(float(value) for found, _, value in lines if found == name)

    succeeded, failed = (
        f'plugvisor_operations_total{{state="{state}",verb="install"}}' for state in ("succeeded", "failed")
    )
    before = count(succeeded), count(failed)
    install_new(plugvisor, "counted")
    assert install(plugvisor, b"no package", **WAIT).status_code == 422
    assert (count(succeeded), count(failed)) == (before[0] + 1, before[1] + 1)
    assert "plugvisor_operations_running 0.0" in plugvisor.get("/metrics").text


def test_clients_are_answered_when_the_service_ends() -> None:
    """One that is sending its package, and one that waits for its operation."""
    with run_stack() as own, make_endless_package("unfinished") as package, ThreadPoolExecutor() as pool:
        own.up()
        waiting = pool.submit(install, own, package, wait="300")
        wait_for(lambda: own.get("/operations").json()["operations"], "the operation to begin")
        with connect(own) as client:
            pid = own.service_pid
            before = count_spooled(pid)
            client.sendall(post(b"/plugins/install", b"Transfer-Encoding: chunked\r\n") + b"3\r\nabc\r\n")
            wait_for(lambda: count_spooled(pid) > before, "the package to arrive")
            own.ctl("restart", "plugvisor")
            [answer] = parse(receive(client)[0])
        assert (answer.status, answer.code) == (503, "interrupted")
        response = waiting.result()
        assert (response.status_code, response.json()["state"]) == (202, "running")
        wait_for(own.is_ready, "the service")
        assert wait_for_end(own, response.json()["id"])["state"] == "interrupted"
        assert "Traceback" not in own.service_log


def test_a_token_in_the_place_of_a_name_is_not_kept(plugvisor: PlugvisorStack) -> None:
    token = plugvisor.add_identity("careless", "viewer")
    package = make_plugin_package("careless", runtime=QUICK)
    assert install(plugvisor, package, source=f"{token}.zip", **WAIT).status_code == 201
    shown = plugvisor.get("/plugin/careless/versions").text
    assert '"source":"pv_***.zip"' in shown
    files = [path for path in plugvisor.root.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if token.encode() in path.read_bytes()]


def test_whether_plugins_can_be_installed(plugvisor: PlugvisorStack) -> None:
    assert plugvisor.get("/server/info").json()["installation"] == {"on": True, "package_mb": 200}
    with run_stack() as other:
        other.environ["PLUGVISOR_INSTALL_DIR"] = str(other.root / "missing")
        other.up()
        shown = other.get("/server/info").json()["installation"]
        assert shown["on"] is False
        response = install(other, make_plugin_package("x"), **WAIT)
        assert (response.status_code, response.json()["code"]) == (501, "not_supported")
        assert shown["reason"] in response.json()["detail"]
        assert str(other.root) not in response.text
