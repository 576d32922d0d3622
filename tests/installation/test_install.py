"""Installing, updating, rolling back and removing, with real packages and real processes."""

from __future__ import annotations

import hashlib
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.helpers.installation import (
    begin_install,
    find_current,
    install,
    installed,
    list_folders,
    list_left_overs,
    read_record,
    wait_for_end,
)
from tests.helpers.packages import make_endless_package, make_plugin_package
from tests.helpers.plugin_code import HESITANT, OBEDIENT, SAYS_GOODBYE
from tests.helpers.processes import find_processes, is_alive
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.helpers.stack import PlugvisorStack

QUICK = "auto_start = false\nsupervisor.startsecs = 0"
LASTING = "auto_start = false\nsupervisor.startsecs = 1\nsupervisor.startretries = 0"
DYING = LASTING.replace("startsecs = 1", "startsecs = 60")
"""Of one that ends at once, which a busy machine may begin late."""
DIES = 'print("I cannot work like this", flush=True)\nraise SystemExit(3)\n'


@pytest.fixture
def name(request: pytest.FixtureRequest, shared: PlugvisorStack) -> Iterator[str]:
    """The id of a plugin of this test's own; nothing that was staged or uploaded is left at the end."""
    text = re.sub(r"[^a-z0-9]", "-", request.node.name.removeprefix("test_"))
    yield f"{text[:40]}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
    wait_for(lambda: not list_left_overs(shared), "what is staged to be removed")


def start_version(shared: PlugvisorStack, name: str, *, runtime: str = QUICK) -> int:
    """Install version 1 of a plugin, and start it; returns its pid."""
    installed(shared, make_plugin_package(name, version="1", runtime=runtime), start=True)
    shared.wait_for_status(name, "running")
    pid: int = shared.status(name)["pid"]
    return pid


# -- install


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_new_plugin_is_installed_and_not_started(shared: PlugvisorStack, name: str, kind: str) -> None:
    package = make_plugin_package(name, version="1.2", kind=kind, top="folder", runtime=QUICK)  # type: ignore[arg-type]
    operation = installed(shared, package, source="echo.zip")
    digest = hashlib.sha256(package).hexdigest()
    assert (operation["verb"], operation["phase"], operation["percent"]) == ("install", "swap", 100)
    assert (operation["plugin_id"], operation["version"], operation["sha256"]) == (name, "1.2", digest)
    assert operation["by"] == "admin"
    assert shared.status(name)["status"] == "stopped"
    [version] = shared.get(f"/plugin/{name}/versions").json()["versions"]
    assert (version["version"], version["sha256"], version["current"]) == ("1.2", digest, True)
    assert (version["source"], version["installed_by"]) == ("echo.zip", "admin")
    assert find_current(shared.plugins_dir, name) == f"1.2-{digest[:12]}"
    assert "pending" not in read_record(shared.plugins_dir, name)
    assert shared.start_running(name)


def test_a_new_plugin_may_be_started(shared: PlugvisorStack, name: str) -> None:
    operation = installed(shared, make_plugin_package(name, runtime=QUICK), start=True)
    assert operation["phase"] == "start"
    assert shared.status(name)["status"] == "running"
    assert shared.status(name)["intent"]["by"] == "admin"


def test_a_new_plugin_that_does_not_start_stays_installed(shared: PlugvisorStack, name: str) -> None:
    response = install(shared, make_plugin_package(name, DIES, runtime=DYING), start=True)
    problem = response.json()
    assert (response.status_code, problem["code"]) == (500, "start_failed")
    assert "rolled_back" not in problem
    assert "I cannot work like this" in problem["log"]
    assert shared.status(name)["status"] == "error"
    [operation] = shared.get("/operations", params={"plugin_id": name}).json()["operations"]
    assert (operation["state"], operation["problem"]["code"]) == ("failed", "start_failed")


def test_the_same_package_again_changes_nothing(shared: PlugvisorStack, name: str) -> None:
    package = make_plugin_package(name, runtime=QUICK)
    installed(shared, package)
    before = read_record(shared.plugins_dir, name)
    for query in ({}, {"replace": True}):
        assert installed(shared, package, **query)["unchanged"] is True
    assert read_record(shared.plugins_dir, name) == before
    assert shared.status(name)["status"] == "stopped"
    assert installed(shared, package, start=True)["unchanged"] is True
    assert shared.status(name)["status"] == "running"


def test_another_package_replaces_only_if_that_is_wanted(shared: PlugvisorStack, name: str) -> None:
    installed(shared, make_plugin_package(name, version="1", runtime=QUICK))
    response = install(shared, make_plugin_package(name, version="2", runtime=QUICK))
    assert (response.status_code, response.json()["code"]) == (409, "already_installed")
    assert find_current(shared.plugins_dir, name).startswith("1-")
    operation = installed(shared, make_plugin_package(name, version="2", runtime=QUICK), replace=True)
    assert (operation["verb"], operation["version"], operation["previous_version"]) == ("update", "2", "1")
    assert shared.status(name)["status"] == "stopped"
    assert [plugin["version"] for plugin in shared.get("/plugins").json()["plugins"] if plugin["id"] == name] == ["2"]


def test_a_package_of_another_plugin_than_was_meant(shared: PlugvisorStack, name: str) -> None:
    response = install(shared, make_plugin_package(name), plugin_id="another", replace=True)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_package")
    assert not (shared.plugins_dir / name).exists()


def test_an_update_is_one_from_its_beginning(shared: PlugvisorStack, name: str) -> None:
    package = make_plugin_package(name, runtime=QUICK)
    # if it is not installed yet, it is an installation all the same
    assert installed(shared, package, plugin_id=name, replace=True)["verb"] == "install"
    assert installed(shared, package, plugin_id=name, replace=True)["verb"] == "update"
    response = install(shared, make_plugin_package("another"), plugin_id=name, replace=True)
    assert response.json()["detail"].startswith(f"cannot update '{name}': the package is of the plugin 'another'")


def test_a_plugin_that_was_put_there_by_hand_is_left_alone(shared: PlugvisorStack, name: str) -> None:
    folder = shared.write_plugin(name, runtime=QUICK)
    shared.post("/plugins/refresh")
    before = sorted(path.name for path in folder.iterdir())
    for query in ({}, {"replace": True}):
        response = install(shared, make_plugin_package(name), **query)
        assert (response.status_code, response.json()["code"]) == (409, "not_installed")
    for response in (shared.post(f"/plugin/{name}/rollback"), shared.delete(f"/plugin/{name}")):
        assert (response.status_code, response.json()["code"]) == (409, "not_installed")
    assert sorted(path.name for path in folder.iterdir()) == before
    assert shared.get(f"/plugin/{name}/versions").json() == {"plugin_id": name, "installed": False, "versions": []}
    shutil.rmtree(folder)


def test_an_id_that_another_folder_has(shared: PlugvisorStack, name: str) -> None:
    folder = shared.write_plugin(name, runtime=QUICK, folder=f"{name}-by-hand")
    shared.post("/plugins/refresh")
    response = install(shared, make_plugin_package(name), replace=True)
    assert (response.status_code, response.json()["code"]) == (409, "not_installed")
    assert f"'{name}-by-hand'" in response.json()["detail"]
    response = install(shared, make_plugin_package(name.upper()))
    assert (response.status_code, response.json()["code"]) == (409, "already_installed")
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("manifest", "code"),
    [("[plugin", "invalid_manifest"), ('[plugin]\nid = "x"\ncommand = "there-is-no-such-program"', "invalid_manifest")],
)
def test_a_manifest_that_cannot_be_used(shared: PlugvisorStack, name: str, manifest: str, code: str) -> None:
    package = make_plugin_package(name, files={"plugin.toml": manifest.replace('"x"', f'"{name}"')})
    response = install(shared, package)
    assert (response.status_code, response.json()["code"]) == (422, code)
    assert not (shared.plugins_dir / name).exists()


def test_a_dependency_that_is_missing_is_said_and_no_obstacle(shared: PlugvisorStack, name: str) -> None:
    runtime = f'{QUICK}\ndepends_on.nobody.condition = "started"'
    operation = installed(shared, make_plugin_package(name, runtime=runtime))
    log = shared.get(f"/operations/{operation['id']}").json()["log"]
    assert any("depends on 'nobody', and there is no such plugin" in line for line in log)


def test_a_conflict_with_a_dependency_is_refused(shared: PlugvisorStack, name: str) -> None:
    installed(shared, make_plugin_package(f"{name}-lib", version="1.0", runtime=QUICK))
    manifest = (
        f'[plugin]\nid = "{name}"\ncommand = "true"\n[[plugin.dependency]]\nid = "{name}-lib"\nconflicts = [">=1"]\n'
    )
    response = install(shared, make_plugin_package(name, files={"plugin.toml": manifest}))
    assert (response.status_code, response.json()["code"]) == (422, "invalid_manifest")


def test_a_plugin_whose_case_alone_differs(shared: PlugvisorStack, name: str) -> None:
    installed(shared, make_plugin_package(name))
    response = install(shared, make_plugin_package(name.capitalize()), replace=True)
    assert (response.status_code, response.json()["code"]) == (409, "already_installed")


def test_two_clients_install_the_same_id_at_once(shared: PlugvisorStack, name: str) -> None:
    packages = [make_plugin_package(name, version=str(number), runtime=QUICK) for number in (1, 2)]
    with ThreadPoolExecutor(2) as pool:
        responses = list(pool.map(lambda package: install(shared, package), packages))
    assert sorted(response.status_code for response in responses) == [201, 409]
    winner = next(response.json()["version"] for response in responses if response.status_code == 201)
    assert find_current(shared.plugins_dir, name).startswith(f"{winner}-")
    assert len(list_folders(shared.plugins_dir, name)) == 1
    with ThreadPoolExecutor(2) as pool:
        responses = list(pool.map(lambda package: install(shared, package, replace=True), packages))
    assert [response.status_code for response in responses] == [201, 201]


@pytest.mark.parametrize("replace", [False, True])
def test_several_clients_install_the_same_package_at_once(shared: PlugvisorStack, name: str, replace: bool) -> None:
    package = make_plugin_package(name, runtime=QUICK)
    with ThreadPoolExecutor(4) as pool:
        operations = list(pool.map(lambda _: installed(shared, package, replace=replace), range(4)))
    assert sorted(operation.get("unchanged", False) for operation in operations) == [False, True, True, True]
    assert len(list_folders(shared.plugins_dir, name)) == 1


# -- update


def test_an_update_of_a_plugin_that_runs_restarts_it(shared: PlugvisorStack, name: str) -> None:
    pid = start_version(shared, name)
    operation = installed(shared, make_plugin_package(name, version="2", runtime=QUICK), replace=True)
    assert operation["phase"] == "start"
    status = shared.status(name)
    assert status["status"] == "running"
    assert status["pid"] != pid
    record = read_record(shared.plugins_dir, name)
    assert record["current"].startswith("2-")
    assert record["previous"].startswith("1-")
    assert "pending" not in record


def test_only_the_current_and_the_previous_version_are_kept(shared: PlugvisorStack, name: str) -> None:
    start_version(shared, name)
    for version in "234":
        installed(shared, make_plugin_package(name, version=version, runtime=QUICK), replace=True)
    assert [folder[0] for folder in list_folders(shared.plugins_dir, name)] == ["3", "4"]
    versions = shared.get(f"/plugin/{name}/versions").json()["versions"]
    assert [(each["version"], each.get("current"), each.get("previous")) for each in versions] == [
        ("4", True, None),
        ("3", None, True),
    ]


def test_a_version_that_dies_at_once_gives_way_to_the_one_before(shared: PlugvisorStack, name: str) -> None:
    installed(shared, make_plugin_package(name, SAYS_GOODBYE, version="1", runtime=LASTING), start=True)
    before = read_record(shared.plugins_dir, name)
    response = install(shared, make_plugin_package(name, DIES, version="2", runtime=DYING), replace=True)
    problem = response.json()
    assert (response.status_code, problem["code"], problem["rolled_back"]) == (500, "start_failed", True)
    assert problem["log"] == ["I cannot work like this"], "and nothing of the version before"
    assert problem["detail"].endswith("its log may say why; the version before is current again")
    assert read_record(shared.plugins_dir, name) == before
    assert list_folders(shared.plugins_dir, name) == [before["current"]]
    assert shared.status(name)["status"] == "running"
    assert is_alive(shared.status(name)["pid"])


def test_a_version_before_that_does_not_start_either_is_said(shared: PlugvisorStack, name: str) -> None:
    code = f'import os\nif os.path.exists("../../data/broken"):\n    raise SystemExit(4)\n{OBEDIENT}'
    runtime = LASTING.replace("startsecs = 1", "startsecs = 5")  # so much time to end with exit code 4
    installed(shared, make_plugin_package(name, code, version="1", runtime=runtime), start=True)
    shared.wait_for_status(name, "running")
    (shared.plugins_dir / name / "data" / "broken").touch()
    problem = install(shared, make_plugin_package(name, DIES, version="2", runtime=DYING), replace=True).json()
    assert (problem["code"], problem["rolled_back"]) == ("start_failed", True)
    assert "exit code 3" in problem["detail"]
    assert "the version before is current again; then " in problem["detail"]
    assert "exit code 4" in problem["detail"]
    assert find_current(shared.plugins_dir, name).startswith("1-")


def test_a_version_that_is_not_ready_gives_way_to_the_one_before(shared: PlugvisorStack, name: str) -> None:
    start_version(shared, name)
    check = '\n[plugin_runtime.checks.up]\nlevel = "ready"\nexec = ["false"]\nthreshold = 1\nstartup = 0'
    response = install(shared, make_plugin_package(name, version="2", runtime=QUICK + check), replace=True)
    problem = response.json()
    assert (response.status_code, problem["code"], problem["rolled_back"]) == (500, "start_failed", True)
    assert find_current(shared.plugins_dir, name).startswith("1-")
    assert shared.status(name)["status"] == "running"


def test_a_version_that_cannot_be_started_at_all_stops_nothing(shared: PlugvisorStack, name: str) -> None:
    pid = start_version(shared, name)
    package = make_plugin_package(name, version="2", files={"plugin.toml": "[plugin]\nid = 5"})
    response = install(shared, package, replace=True)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_manifest")
    assert shared.status(name)["pid"] == pid


def test_a_version_that_must_not_be_started_stops_nothing(shared: PlugvisorStack, name: str) -> None:
    """What it depends on is missing, which is known before the version before is stopped."""
    pid, before = start_version(shared, name), read_record(shared.plugins_dir, name)
    runtime = f'{QUICK}\ndepends_on.nobody.condition = "started"'
    response = install(shared, make_plugin_package(name, version="2", runtime=runtime), replace=True)
    assert (response.status_code, response.json()["code"]) == (409, "dependency_failed")
    assert shared.status(name)["pid"] == pid
    assert read_record(shared.plugins_dir, name) == before
    assert list_folders(shared.plugins_dir, name) == [before["current"]]
    assert shared.post(f"/plugin/{name}/reload").status_code == 200


def test_an_update_of_a_plugin_that_an_operator_is_stopping_does_not_start_it(
    shared: PlugvisorStack, name: str
) -> None:
    data = shared.plugins_dir / name / "data"
    code = HESITANT.replace('"go"', '"../../data/go"').replace("print(", 'open("../../data/ready", "w"); print(')
    runtime = f"{QUICK}\nsupervisor.stopwaitsecs = 60"
    installed(shared, make_plugin_package(name, code, version="1", runtime=runtime), start=True)
    wait_for((data / "ready").exists, "its handler of SIGTERM")
    shared.rpc("stopProcess", name, False)
    shared.wait_for_status(name, "stopping")
    operation = installed(shared, make_plugin_package(name, version="2", runtime=QUICK), replace=True)
    assert operation["phase"] == "swap"
    (data / "go").touch()
    shared.wait_for_status(name, "stopped")
    assert find_current(shared.plugins_dir, name).startswith("2-")
    assert shared.status(name)["status"] == "stopped"


def test_a_plugin_that_an_operator_has_started_although_it_is_disabled(shared: PlugvisorStack, name: str) -> None:
    """It cannot be restarted, and its version is not replaced while it runs."""
    start_version(shared, name)
    before = read_record(shared.plugins_dir, name)
    shared.post(f"/plugin/{name}/disable")
    shared.ctl("start", name)
    shared.wait_for_status(name, "running")
    package = make_plugin_package(name, version="2", runtime=QUICK)
    response = install(shared, package, replace=True)
    assert (response.status_code, response.json()["code"]) == (409, "plugin_disabled")
    assert read_record(shared.plugins_dir, name) == before
    assert list_folders(shared.plugins_dir, name) == [before["current"]]
    shared.ctl("stop", name)
    assert installed(shared, package, replace=True)["phase"] == "swap"


def test_an_update_with_start_goes_back_to_a_stopped_plugin(shared: PlugvisorStack, name: str) -> None:
    installed(shared, make_plugin_package(name, version="1", runtime=LASTING))
    package = make_plugin_package(name, DIES, version="2", runtime=DYING)
    response = install(shared, package, replace=True, start=True)
    assert (response.status_code, response.json()["rolled_back"]) == (500, True)
    assert find_current(shared.plugins_dir, name).startswith("1-")
    assert not shared.status(name).get("pid")


def test_a_stop_while_the_new_version_gets_ready_is_no_failure(shared: PlugvisorStack, name: str) -> None:
    start_version(shared, name)
    check = '\n[plugin_runtime.checks.up]\nlevel = "ready"\nexec = ["false"]\nperiod = 1\nstartup = 600'
    package = make_plugin_package(name, version="2", runtime=QUICK + check)
    operation_id = begin_install(shared, package, replace=True)
    wait_for(lambda: shared.get(f"/operations/{operation_id}").json()["phase"] == "start", "the start")
    wait_for(lambda: shared.status(name)["status"] == "running", "the new version")
    assert shared.post(f"/plugin/{name}/stop").status_code == 200
    assert wait_for_end(shared, operation_id)["state"] == "succeeded"
    assert find_current(shared.plugins_dir, name).startswith("2-")
    assert shared.status(name)["status"] == "stopped"


def test_a_disabled_plugin_is_updated_and_not_started(shared: PlugvisorStack, name: str) -> None:
    start_version(shared, name)
    assert shared.post(f"/plugin/{name}/disable").status_code == 200
    installed(shared, make_plugin_package(name, version="2", runtime=QUICK), replace=True, start=True)
    assert find_current(shared.plugins_dir, name).startswith("2-")
    assert shared.status(name)["status"] == "stopped"


def test_updates_and_stops_and_starts_at_once_end_whole(shared: PlugvisorStack, name: str) -> None:
    start_version(shared, name)

    def update(version: int) -> int:
        package = make_plugin_package(name, version=str(version), runtime=QUICK)
        return install(shared, package, replace=True).status_code

    def change(verb: str) -> int:
        return shared.post(f"/plugin/{name}/{verb}").status_code

    with ThreadPoolExecutor(6) as pool:
        updates = [pool.submit(update, version) for version in range(2, 6)]
        changes = [pool.submit(change, verb) for verb in ("stop", "start", "reload", "stop", "start") * 3]
        assert {each.result() for each in changes} <= {200, 409, 500}
        assert [each.result() for each in updates] == [201] * 4
    record = read_record(shared.plugins_dir, name)
    assert "pending" not in record
    assert sorted(list_folders(shared.plugins_dir, name)) == sorted([record["current"], record["previous"]])
    assert shared.post(f"/plugin/{name}/reload").status_code == 200
    pid = shared.status(name)["pid"]
    with open(f"/proc/{pid}/cwd/plugin.toml") as manifest:
        assert f'version = "{record["current"].split("-")[0]}"' in manifest.read()


# -- back and away


def test_a_rollback_leads_to_the_previous_version_and_forth_again(shared: PlugvisorStack, name: str) -> None:
    pid = start_version(shared, name)
    assert shared.post(f"/plugin/{name}/rollback").json()["code"] == "no_previous_version"
    installed(shared, make_plugin_package(name, version="2", runtime=QUICK), replace=True)
    for version in ("1", "2"):
        response = shared.post(f"/plugin/{name}/rollback")
        assert (response.status_code, response.json()["version"]) == (200, version)
        assert find_current(shared.plugins_dir, name).startswith(f"{version}-")
        assert shared.status(name)["status"] == "running"
        assert shared.status(name)["pid"] != pid
        pid = shared.status(name)["pid"]


def test_a_rollback_to_a_version_that_fails_leads_back_to_the_newer_one(shared: PlugvisorStack, name: str) -> None:
    code = f'import os\nif os.path.exists("../../data/newer"):\n    raise SystemExit(4)\n{OBEDIENT}'
    installed(shared, make_plugin_package(name, code, version="1", runtime=LASTING), start=True)
    installed(shared, make_plugin_package(name, version="2", runtime=LASTING), replace=True)
    before = read_record(shared.plugins_dir, name)
    (shared.plugins_dir / name / "data" / "newer").touch()
    response = shared.post(f"/plugin/{name}/rollback")
    problem = response.json()
    assert (response.status_code, problem["code"], problem["rolled_back"]) == (500, "start_failed", True)
    assert problem["detail"].startswith(f"cannot roll back '{name}': ")
    assert read_record(shared.plugins_dir, name) == before
    assert len(list_folders(shared.plugins_dir, name)) == 2
    shared.wait_for_status(name, "running")


def test_a_plugin_that_does_not_run_is_rolled_back_and_not_started(shared: PlugvisorStack, name: str) -> None:
    for version in "12":
        installed(shared, make_plugin_package(name, version=version, runtime=QUICK), replace=True)
    assert shared.post(f"/plugin/{name}/rollback").json()["version"] == "1"
    assert shared.status(name)["status"] == "stopped"
    assert find_current(shared.plugins_dir, name).startswith("1-")


def test_a_plugin_that_has_failed_is_updated_and_started_if_that_is_wanted(shared: PlugvisorStack, name: str) -> None:
    install(shared, make_plugin_package(name, DIES, version="1", runtime=DYING), start=True)
    shared.wait_for_state(name, "FATAL")
    installed(shared, make_plugin_package(name, DIES, version="2", runtime=DYING), replace=True)
    assert shared.status(name)["state"] == "FATAL"
    installed(shared, make_plugin_package(name, version="3", runtime=LASTING), replace=True, start=True)
    assert shared.status(name)["status"] == "running"


def test_a_package_that_is_kept_is_used_again(shared: PlugvisorStack, name: str) -> None:
    first = make_plugin_package(name, version="1", runtime=QUICK)
    installed(shared, first)
    installed(shared, make_plugin_package(name, version="2", runtime=QUICK), replace=True)
    assert install(shared, first).json()["code"] == "already_installed"
    operation = installed(shared, first, replace=True)
    assert (operation["version"], operation["previous_version"]) == ("1", "2")
    assert find_current(shared.plugins_dir, name).startswith("1-")


def test_a_removed_plugin_leaves_its_data_alone(shared: PlugvisorStack, name: str) -> None:
    pid = start_version(shared, name)
    folder = shared.plugins_dir / name
    (folder / "data" / "kept").write_text("kept")
    assert shared.delete(f"/plugin/{name}").status_code == 200
    assert not is_alive(pid)
    assert sorted(path.name for path in folder.iterdir()) == ["data", "installed.json"]
    assert name not in [plugin["id"] for plugin in shared.get("/plugins").json()["plugins"]]
    assert shared.delete(f"/plugin/{name}").json()["code"] == "plugin_not_found"
    shared.post("/plugins/refresh")
    assert name not in [plugin["id"] for plugin in shared.get("/plugins").json()["plugins"]]

    installed(shared, make_plugin_package(name, version="1", runtime=QUICK))
    assert (folder / "data" / "kept").read_text() == "kept"
    assert "intent" not in shared.status(name)
    assert shared.delete(f"/plugin/{name}").status_code == 200
    assert shared.delete(f"/plugin/{name}", params={"purge": "true"}).status_code == 200
    assert not folder.exists()


def test_a_plugin_is_removed_with_its_data(shared: PlugvisorStack, name: str) -> None:
    start_version(shared, name)
    response = shared.delete(f"/plugin/{name}", params={"purge": "true"})
    assert (response.status_code, response.json()["verb"]) == (200, "uninstall")
    assert not (shared.plugins_dir / name).exists()
    assert shared.delete(f"/plugin/{name}", params={"purge": "true"}).json()["code"] == "plugin_not_found"


def test_dependents_are_stopped_first_if_that_is_wanted(shared: PlugvisorStack, name: str) -> None:
    start_version(shared, name)
    runtime = f'{QUICK}\ndepends_on.{name}.condition = "started"'
    installed(shared, make_plugin_package(f"{name}-user", runtime=runtime), start=True)
    shared.wait_for_status(f"{name}-user", "running")
    assert shared.delete(f"/plugin/{name}", params={"dependents": "true"}).status_code == 200
    assert shared.status(f"{name}-user")["status"] == "stopped"


def test_a_removal_during_an_update_has_its_turn_after_it(shared: PlugvisorStack, name: str) -> None:
    start_version(shared, name)
    check = '\n[plugin_runtime.checks.up]\nlevel = "ready"\nexec = ["test", "-e", "../../data/go"]\nstartup = 600'
    package = make_plugin_package(name, version="2", runtime=QUICK + check)
    operation_id = begin_install(shared, package, replace=True)
    wait_for(lambda: shared.get(f"/operations/{operation_id}").json()["phase"] == "start", "the start")
    response = shared.delete(f"/plugin/{name}", params={"wait": "0"})
    assert response.status_code == 202
    shared.wait_for_status(name, "running")
    assert shared.get(f"/operations/{response.json()['id']}").json()["percent"] == 0
    (shared.plugins_dir / name / "data" / "go").touch()
    assert wait_for_end(shared, operation_id)["state"] == "succeeded"
    assert wait_for_end(shared, response.json()["id"])["state"] == "succeeded"
    assert find_current(shared.plugins_dir, name) == ""


# -- cancelled


def test_a_build_is_cancelled(shared: PlugvisorStack, name: str) -> None:
    with make_endless_package(name) as package:
        operation_id = begin_install(shared, package)
        wait_for(lambda: shared.get(f"/operations/{operation_id}").json()["phase"] == "environment", "the build")
        response = shared.delete(f"/operations/{operation_id}")
    assert (response.status_code, response.json()["state"]) == (200, "cancelled")
    assert shared.delete(f"/operations/{operation_id}").json()["code"] == "not_cancellable"
    wait_for(lambda: not (shared.plugins_dir / name / "versions").exists(), "the version to be removed")
    assert not find_processes(shared.plugins_dir / ".cache")
    installed(shared, make_plugin_package(name, runtime=QUICK))


def test_a_cancelled_update_leaves_what_runs_alone(shared: PlugvisorStack, name: str) -> None:
    pid = start_version(shared, name)
    before = read_record(shared.plugins_dir, name)
    with make_endless_package(name) as package:
        operation_id = begin_install(shared, package, replace=True)
        wait_for(lambda: shared.get(f"/operations/{operation_id}").json()["phase"] == "environment", "the build")
        assert shared.delete(f"/operations/{operation_id}").json()["state"] == "cancelled"
    assert read_record(shared.plugins_dir, name) == before
    assert shared.status(name)["pid"] == pid


def test_what_waits_for_its_turn_is_cancelled_too(shared: PlugvisorStack, name: str) -> None:
    with make_endless_package(name) as package:
        first = begin_install(shared, package)
        wait_for(lambda: shared.get(f"/operations/{first}").json()["phase"] == "environment", "the build")
        second = begin_install(shared, make_plugin_package(name))
        wait_for(lambda: shared.get(f"/operations/{second}").json()["phase"] == "verified", "the other one")
        assert shared.delete(f"/operations/{second}").json()["state"] == "cancelled"
        assert shared.get(f"/operations/{first}").json()["state"] == "running"
        assert shared.delete(f"/operations/{first}").json()["state"] == "cancelled"


def test_what_waits_for_its_turn_keeps_nobody_else_from_building(shared: PlugvisorStack, name: str) -> None:
    with make_endless_package(name) as package:
        first = begin_install(shared, package)
        wait_for(lambda: shared.get(f"/operations/{first}").json()["phase"] == "environment", "the build")
        others = [begin_install(shared, make_plugin_package(name, version=version)) for version in "23"]
        for other in others:
            wait_for(
                lambda other=other: "another operation" in str(shared.get(f"/operations/{other}").json()["log"]), other
            )
        installed(shared, make_plugin_package(f"{name}-else", runtime=QUICK))
        assert shared.delete(f"/operations/{first}").json()["state"] == "cancelled"
    assert sorted(wait_for_end(shared, other)["state"] for other in others) == ["failed", "succeeded"]


# -- what is remembered


def test_the_journal_has_each_outcome(shared: PlugvisorStack, name: str) -> None:
    start_version(shared, name, runtime=LASTING)
    install(shared, make_plugin_package(name, DIES, version="2", runtime=DYING), replace=True)
    shared.delete(f"/plugin/{name}")

    def look() -> list[tuple[str, str, str | None]]:
        query = {"kind": "installation", "plugin_id": name}
        entries = shared.get("/journal", params=query).json()["entries"]
        return [(entry["verb"], entry["outcome"], entry.get("subject")) for entry in reversed(entries)]

    expected = [("install", "ok", "1"), ("update", "start_failed", "2"), ("uninstall", "ok", None)]
    wait_for(lambda: look() == expected, f"the entries, not {look()}")


def test_a_removal_that_is_refused_stops_nothing(shared: PlugvisorStack, name: str) -> None:
    installed(shared, make_plugin_package(name, runtime=QUICK), start=True)
    shared.wait_for_status(name, "running")
    pid = shared.status(name)["pid"]
    foreign = shared.plugins_dir / name / "notes.txt"
    foreign.write_text("mine")
    response = shared.delete(f"/plugin/{name}", params={"purge": "true"})
    assert (response.status_code, response.json()["code"]) == (409, "not_installed"), response.text
    assert "'notes.txt'" in response.json()["detail"]
    assert shared.status(name)["pid"] == pid
    assert foreign.read_text() == "mine"
    foreign.unlink()
    assert shared.delete(f"/plugin/{name}", params={"purge": "true"}).status_code == 200
