"""Plugins that are installed, updated, taken back and removed, whichever engine runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.helpers.installation import install, installed
from tests.helpers.packages import make_plugin_package
from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.plugin_processes import find_plugin
from tests.helpers.stack import QUICK
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from tests.helpers.stack import PlugvisorStack

PATIENT = "auto_start = false\nsupervisor.startsecs = 60\nsupervisor.startretries = 0"
"""A busy machine takes its time to run a plugin, and only then can it fail."""
DIES = 'print("I cannot work like this", flush=True)\nraise SystemExit(3)\n'


def make(name: str, version: str, code: str = "", runtime: str = QUICK) -> bytes:
    """A package of a version that prints which one it is."""
    return make_plugin_package(
        name, code or f'print("version {version}", flush=True)\n{OBEDIENT}', version=version, runtime=runtime
    )


def wait_for_versions(stack: PlugvisorStack, name: str, *versions: str) -> None:
    """Wait until these versions of a plugin, and no others, have run, the last one until it was ready."""
    lines = [line for version in versions for line in (f"version {version}", "ready")]

    def look() -> bool:
        printed = stack.read_log(name).splitlines()
        return [line for line in printed if line.startswith("version ") or line == "ready"] == lines

    wait_for(look, f"{name} to have run as {versions}")


def test_install_update_rollback_and_removal(shared: PlugvisorStack) -> None:
    name = "whole-way"
    operation = installed(shared, make(name, "1"), start=True)
    assert (operation["verb"], operation["version"]) == ("install", "1")
    assert shared.wait_for_status(name, "running")["intent"]["by"] == "admin"
    wait_for_versions(shared, name, "1")
    assert find_plugin(shared, name)
    operation = installed(shared, make(name, "2"), replace=True)
    assert (operation["verb"], operation["version"], operation["previous_version"]) == ("update", "2", "1")
    wait_for_versions(shared, name, "1", "2")
    response = shared.post(f"/plugin/{name}/rollback")
    assert response.status_code == 200, response.text
    wait_for_versions(shared, name, "1", "2", "1")
    response = shared.delete(f"/plugin/{name}")
    assert response.status_code == 200, response.text
    assert not find_plugin(shared, name)
    assert shared.http.get(f"/plugin/status?plugin_id={name}").status_code == 404


def test_an_update_that_does_not_start_is_taken_back(shared: PlugvisorStack) -> None:
    name = "bad-update"
    installed(shared, make(name, "1"), start=True)
    wait_for_versions(shared, name, "1")
    response = install(shared, make(name, "2", DIES, PATIENT), replace=True)
    problem = response.json()
    assert (response.status_code, problem["code"], problem.get("rolled_back")) == (500, "start_failed", True), problem
    assert "I cannot work like this" in problem["log"]
    wait_for_versions(shared, name, "1", "1")
    shared.wait_for_status(name, "running")
    assert shared.delete(f"/plugin/{name}").status_code == 200
