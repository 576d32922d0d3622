"""A service that begins on a machine which lacks the folders of what runs, or has those of before."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from tests.helpers.installation import find_current, installed, read_record
from tests.helpers.packages import make_plugin_package
from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.plugin_processes import find_plugin
from tests.helpers.stack import QUICK
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from tests.helpers.swarm.stack import SwarmStack

NOWHERE = f"configs:{'0' * 64}"
"""The label of a folder that is in the swarm no more, or not yet again."""


def make(name: str, version: str) -> bytes:
    return make_plugin_package(name, OBEDIENT, version=version, runtime=QUICK)


def change_carrier(stack: SwarmStack, plugin_id: str, carrier: str) -> None:
    stack.docker(
        "service", "update", "--detach", "--label-add", f"plugvisor.carrier={carrier}", f"plugvisor-{plugin_id}"
    )


def test_what_cannot_be_brought_here_runs_on_until_it_can(swarm_stack: SwarmStack) -> None:
    """Neither the start of the service nor a refresh takes a plugin for removed because its folder is not here yet."""
    stack = swarm_stack
    stack.write_plugin("by-hand", runtime=QUICK)
    stack.up()
    installed(stack, make("bought", "1"), start=True)
    names = ("by-hand", "bought")
    carriers = {}
    for name in names:
        if name == "by-hand":
            stack.start_running(name)
        carriers[name] = stack.inspect_service(name)["Spec"]["Labels"]["plugvisor.carrier"]
    pids = {name: stack.wait_for_status(name, "running")["pid"] for name in names}
    stack.down()
    for name in names:
        change_carrier(stack, name, NOWHERE)
        shutil.rmtree(stack.plugins_dir / name)
    stack.up()
    refreshed = stack.post("/plugins/refresh")
    assert refreshed.status_code == 200, refreshed.text
    assert refreshed.json()["removed"] == []
    for name in names:
        told = stack.status(name)
        assert (told["status"], told["pid"]) == ("running", pids[name]), told
        assert stack.post(f"/plugin/{name}/reload").json()["code"] == "invalid_manifest"
    for name in names:
        change_carrier(stack, name, carriers[name])
    for name in names:

        def is_brought(name: str = name) -> bool:
            stack.post("/plugins/refresh")
            return (stack.plugins_dir / name / ("current" if name == "bought" else "plugin.toml")).exists()

        wait_for(is_brought, f"the folder of {name}")
        told = stack.status(name)
        assert (told["status"], told["pid"]) == ("running", pids[name]), told
        stack.change(name, "reload")
    # what is removed by hand is not brought again
    shutil.rmtree(stack.plugins_dir / "by-hand")
    assert stack.post("/plugins/refresh").json()["removed"] == ["by-hand"]
    assert not find_plugin(stack, "by-hand")


def test_a_machine_that_has_an_older_version(swarm_stack: SwarmStack) -> None:
    """What runs counts: it was installed by the service on another machine."""
    stack = swarm_stack
    stack.up()
    installed(stack, make("moves", "1"), start=True)
    older = stack.root / "older"
    stack.wait_for_status("moves", "running")
    shutil.copytree(stack.plugins_dir / "moves", older, symlinks=True)
    installed(stack, make("moves", "2"), replace=True)
    newer = find_current(stack.plugins_dir, "moves")
    pid = stack.wait_for_status("moves", "running")["pid"]
    stack.down()
    shutil.rmtree(stack.plugins_dir / "moves")
    shutil.copytree(older, stack.plugins_dir / "moves", symlinks=True)
    stack.up()
    wait_for(lambda: find_current(stack.plugins_dir, "moves") == newer, "the newer version to be current")
    record = read_record(stack.plugins_dir, "moves")
    assert (record["current"], record["previous"]) == (newer, find_current(stack.root, older.name))
    assert stack.status("moves")["pid"] == pid
    assert stack.post("/plugin/moves/rollback").status_code == 200
    assert find_current(stack.plugins_dir, "moves") == record["previous"]
