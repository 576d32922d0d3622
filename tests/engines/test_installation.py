"""Plugins that are installed, updated, taken back and removed, whichever engine runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.helpers.installation import install, installed
from tests.helpers.packages import make_plugin_package
from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.plugin_processes import find_plugin
from tests.helpers.stack import QUICK

if TYPE_CHECKING:
    from tests.helpers.stack import PlugvisorStack

LASTING = "auto_start = false\nsupervisor.startsecs = 1\nsupervisor.startretries = 0"
DIES = 'print("I cannot work like this", flush=True)\nraise SystemExit(3)\n'


def make(name: str, version: str, code: str = "", runtime: str = QUICK) -> bytes:
    """A package of a version that prints which one it is."""
    return make_plugin_package(
        name, code or f'print("version {version}", flush=True)\n{OBEDIENT}', version=version, runtime=runtime
    )


def test_install_update_rollback_and_removal(shared: PlugvisorStack) -> None:
    name = "whole-way"
    operation = installed(shared, make(name, "1"), start=True)
    assert (operation["verb"], operation["version"]) == ("install", "1")
    assert shared.wait_for_status(name, "running")["intent"]["by"] == "admin"
    assert find_plugin(shared, name)
    operation = installed(shared, make(name, "2"), replace=True)
    assert (operation["verb"], operation["version"], operation["previous_version"]) == ("update", "2", "1")
    shared.wait_for_status(name, "running")
    response = shared.post(f"/plugin/{name}/rollback")
    assert response.status_code == 200, response.text
    shared.wait_for_status(name, "running")
    versions = [line for line in shared.read_log(name).splitlines() if line.startswith("version")]
    assert versions == ["version 1", "version 2", "version 1"]
    response = shared.delete(f"/plugin/{name}")
    assert response.status_code == 200, response.text
    assert not find_plugin(shared, name)
    assert shared.http.get(f"/plugin/status?plugin_id={name}").status_code == 404


def test_an_update_that_does_not_start_is_taken_back(shared: PlugvisorStack) -> None:
    name = "bad-update"
    installed(shared, make(name, "1", runtime=LASTING), start=True)
    response = install(shared, make(name, "2", DIES, LASTING), replace=True)
    problem = response.json()
    assert (response.status_code, problem["code"], problem.get("rolled_back")) == (500, "start_failed", True), problem
    assert "I cannot work like this" in problem["log"]
    shared.wait_for_status(name, "running")
    assert shared.read_log(name).splitlines()[-2:] == ["version 1", "ready"]
    assert shared.delete(f"/plugin/{name}").status_code == 200
