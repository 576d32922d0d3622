"""The service, or everything, is killed in the middle of an operation: one whole version is left, and goes on."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.helpers.installation import (
    begin_install,
    find_current,
    installed,
    list_folders,
    list_left_overs,
    read_record,
    wait_for_end,
)
from tests.helpers.packages import make_endless_package, make_plugin_package
from tests.helpers.processes import find_processes, is_alive, kill_all
from tests.helpers.stack import QUICK
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from tests.helpers.stack import PlugvisorStack

NEVER_READY = f'{QUICK}\n[plugin_runtime.checks.up]\nlevel = "ready"\nexec = ["false"]\nperiod = 1\nstartup = 600'
KILLS = 8


@pytest.fixture
def started(plugvisor: PlugvisorStack) -> PlugvisorStack:
    """A Plugvisor in which version 1 of the plugin `echo` runs."""
    plugvisor.up()
    installed(plugvisor, make_plugin_package("echo", version="1", runtime=QUICK), start=True)
    plugvisor.wait_for_status("echo", "running")
    return plugvisor


def wait_until_whole(stack: PlugvisorStack) -> dict[str, Any]:
    """Wait for the recovery, which nothing may precede; returns the record of `echo`."""
    # an operation is accepted when the recovery is done
    response = stack.post("/plugins/install", params={"wait": "50"}, content=b"no package")
    assert response.json()["code"] == "invalid_package", response.text
    record = read_record(stack.plugins_dir, "echo")
    assert "pending" not in record
    assert find_current(stack.plugins_dir, "echo") == record["current"]
    assert set(list_folders(stack.plugins_dir, "echo")) == set(record["versions"])
    wait_for(lambda: not list_left_overs(stack), "what is staged to be removed")
    return record


def read_cwd(pid: int) -> str:
    """The name of the folder that a process works in; empty if it has ended."""
    try:
        return Path(os.readlink(f"/proc/{pid}/cwd")).name
    except OSError:
        return ""


def wait_until_runs_from(stack: PlugvisorStack, version: str) -> None:
    """Wait until `echo` runs, from a version's folder."""
    wait_for(lambda: read_cwd(stack.wait_for_status("echo", "running")["pid"]) == version, f"a process of {version}")


def test_the_service_is_killed_during_a_build(started: PlugvisorStack) -> None:
    pid, before = started.status("echo")["pid"], read_record(started.plugins_dir, "echo")
    with make_endless_package("echo") as package:
        operation_id = begin_install(started, package, replace=True)
        wait_for(lambda: started.get(f"/operations/{operation_id}").json()["phase"] == "environment", "the build")
        started.restart_service()
        operation = wait_for_end(started, operation_id)
    assert (operation["state"], operation["problem"]["code"]) == ("interrupted", "interrupted")
    assert wait_until_whole(started) == before
    assert started.status("echo")["pid"] == pid
    assert not find_processes(started.plugins_dir / ".cache")
    query = {"kind": "installation", "plugin_id": "echo"}
    wait_for(
        lambda: started.get("/journal", params=query).json()["entries"][0]["outcome"] == "interrupted", "the entry"
    )


def test_the_service_is_killed_before_a_version_has_shown_that_it_works(started: PlugvisorStack) -> None:
    before = read_record(started.plugins_dir, "echo")
    operation_id = begin_install(started, make_plugin_package("echo", version="2", runtime=NEVER_READY), replace=True)
    wait_for(lambda: started.get(f"/operations/{operation_id}").json()["phase"] == "start", "the start")
    wait_for(lambda: read_cwd(started.status("echo").get("pid", 0)).startswith("2-"), "version 2")
    assert "pending" in read_record(started.plugins_dir, "echo")
    started.restart_service()
    assert wait_until_whole(started) == before
    wait_until_runs_from(started, before["current"])
    assert started.get(f"/operations/{operation_id}").json()["state"] == "interrupted"
    entries = started.get("/journal", params={"kind": "installation", "plugin_id": "echo"}).json()["entries"]
    assert "recover" in [entry["verb"] for entry in entries]


def test_the_service_is_stopped_before_a_version_has_shown_that_it_works(started: PlugvisorStack) -> None:
    before = read_record(started.plugins_dir, "echo")
    operation_id = begin_install(started, make_plugin_package("echo", version="2", runtime=NEVER_READY), replace=True)
    wait_for(lambda: started.get(f"/operations/{operation_id}").json()["phase"] == "start", "the start")
    started.ctl("restart", "plugvisor")
    wait_for(started.is_ready, "the service")
    assert wait_until_whole(started) == before
    assert started.get(f"/operations/{operation_id}").json()["state"] == "interrupted"
    wait_until_runs_from(started, before["current"])


def test_everything_is_killed_before_a_version_has_shown_that_it_works(started: PlugvisorStack) -> None:
    before = read_record(started.plugins_dir, "echo")
    operation_id = begin_install(started, make_plugin_package("echo", version="2", runtime=NEVER_READY), replace=True)
    wait_for(lambda: started.get(f"/operations/{operation_id}").json()["phase"] == "start", "the start")
    kill_all(find_processes(started.root))
    assert started.process
    started.process.wait()
    started.up()
    assert wait_until_whole(started) == before
    wait_until_runs_from(started, before["current"])


def test_a_removal_that_was_interrupted_leaves_no_plugin(started: PlugvisorStack) -> None:
    """As if the service had been killed after the removal, and before the plugin was forgotten."""
    pid = started.status("echo")["pid"]
    started.ctl("stop", "plugvisor")
    folder = started.plugins_dir / "echo"
    (folder / "current").unlink()
    (folder / "installed.json").write_text('{"id": "echo"}')
    started.ctl("start", "plugvisor")
    wait_for(started.is_ready, "the service")
    wait_for(lambda: not [each for each in started.get("/plugins").json()["plugins"] if each["id"] == "echo"], "that")
    wait_for(lambda: not is_alive(pid), "the end of its process")


def test_the_service_is_killed_at_random_moments_of_updates(started: PlugvisorStack) -> None:
    generator = random.Random(14)
    for number in range(2, 2 + KILLS):
        before = read_record(started.plugins_dir, "echo")["current"]
        package = make_plugin_package("echo", version=str(number), runtime=QUICK)
        moment = generator.choice(["received", "verified", "environment", "swap", "start"])
        operation_id = begin_install(started, package, replace=True)

        def has_come(operation_id: str = operation_id, moment: str = moment) -> bool:
            operation = started.get(f"/operations/{operation_id}").json()
            return operation["phase"] == moment or operation["state"] != "running"

        wait_for(has_come, f"the phase {moment}")
        try:
            started.restart_service()
        except httpx.TransportError:
            wait_for(started.is_ready, "the service")
        record = wait_until_whole(started)
        assert record["current"] in (before, f"{number}-{record['current'].partition('-')[2]}")
        wait_until_runs_from(started, record["current"])
        state = started.get(f"/operations/{operation_id}").json()["state"]
        assert state in ("interrupted", "succeeded")
        if state == "succeeded":
            assert record["current"].startswith(f"{number}-")
