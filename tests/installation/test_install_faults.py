"""Faults in the middle of an installation: full disks, an engine that is silent, folders that nobody can write to."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.helpers.disks import fill, mount_tmpfs, needs_mounts, remount
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
from tests.helpers.packages import make_plugin_package
from tests.helpers.stack import QUICK
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.helpers.stack import PlugvisorStack

LARGE = {"data.bin": os.urandom(3_000_000)}


@pytest.fixture
def small(plugvisor: PlugvisorStack) -> Iterator[PlugvisorStack]:
    """A Plugvisor whose plugins folder is a disk of 4 MB, on which version 1 of `echo` runs."""
    with mount_tmpfs(plugvisor.plugins_dir, 4096) as disk:
        disk.chmod(0o755)
        plugvisor.up()
        installed(plugvisor, make_plugin_package("echo", version="1", runtime=QUICK), start=True)
        plugvisor.wait_for_status("echo", "running")
        yield plugvisor
        plugvisor.down()


@needs_mounts
def test_a_disk_that_is_full_before_a_package_is_unpacked(small: PlugvisorStack) -> None:
    before, pid = read_record(small.plugins_dir, "echo"), small.status("echo")["pid"]
    filler = fill(small.plugins_dir)
    response = install(small, make_plugin_package("echo", version="2", files=LARGE), replace=True)
    assert (response.status_code, response.json()["code"]) == (507, "insufficient_storage"), response.text
    response = install(small, make_plugin_package("other"))
    assert response.json()["code"] == "insufficient_storage"
    filler.unlink()
    wait_for(lambda: not list_left_overs(small), "what was staged to be removed")
    assert read_record(small.plugins_dir, "echo") == before
    assert list_folders(small.plugins_dir, "echo") == [before["current"]]
    assert not (small.plugins_dir / "other").exists()
    assert small.status("echo")["pid"] == pid
    installed(small, make_plugin_package("echo", version="2", runtime=QUICK), replace=True)


@needs_mounts
def test_a_disk_that_fills_while_a_package_is_unpacked(small: PlugvisorStack) -> None:
    response = install(small, make_plugin_package("echo", version="2", files={**LARGE, "more": os.urandom(2_000_000)}))
    assert response.json()["code"] == "insufficient_storage"
    wait_for(lambda: not list_left_overs(small), "what was staged to be removed")
    installed(small, make_plugin_package("echo", version="2", runtime=QUICK), replace=True)


@needs_mounts
def test_a_disk_that_is_full_when_a_version_has_failed(small: PlugvisorStack) -> None:
    """It goes back to the version before as soon as there is room for a link."""
    before = read_record(small.plugins_dir, "echo")
    check = '\n[plugin_runtime.checks.up]\nlevel = "ready"\nexec = ["test", "-e", "../../data/ok"]\nthreshold = 1'
    runtime = f"{QUICK}{check}\nperiod = 1\nstartup = 2"
    operation_id = begin_install(small, make_plugin_package("echo", version="2", runtime=runtime), replace=True)
    wait_for(lambda: small.get(f"/operations/{operation_id}").json()["phase"] == "start", "the start")
    filler = fill(small.plugins_dir)
    line = "going back to the version before"
    wait_for(lambda: any(line in each for each in small.get(f"/operations/{operation_id}").json()["log"]), line)
    filler.unlink()
    problem = wait_for_end(small, operation_id)["problem"]
    assert (problem["code"], problem["rolled_back"]) == ("start_failed", True)
    assert read_record(small.plugins_dir, "echo") == before
    small.wait_for_status("echo", "running")


@needs_mounts
def test_a_disk_that_is_full_when_a_version_has_shown_that_it_works(small: PlugvisorStack) -> None:
    """It is confirmed all the same."""
    runtime = "auto_start = false\nsupervisor.startsecs = 2"
    operation_id = begin_install(small, make_plugin_package("echo", version="2", runtime=runtime), replace=True)
    wait_for(lambda: small.get(f"/operations/{operation_id}").json()["phase"] == "start", "the start")
    fill(small.plugins_dir)
    assert wait_for_end(small, operation_id)["state"] == "succeeded"
    record = read_record(small.plugins_dir, "echo")
    assert record["current"].startswith("2-")
    assert "pending" not in record
    assert small.status("echo")["status"] == "running"


@needs_mounts
def test_a_full_disk_for_uploads(plugvisor: PlugvisorStack) -> None:
    plugvisor.up()
    uploads = plugvisor.root / "state" / "uploads"
    with mount_tmpfs(uploads, 1024):
        response = install(plugvisor, make_plugin_package("echo", files=LARGE))
        assert (response.status_code, response.json()["code"]) == (507, "insufficient_storage")
        assert not list(uploads.iterdir())
        installed(plugvisor, make_plugin_package("echo", runtime=QUICK))


@needs_mounts
def test_a_folder_that_becomes_read_only_is_said_and_nothing_is_changed(small: PlugvisorStack) -> None:
    before = read_record(small.plugins_dir, "echo")
    remount(small.plugins_dir, "ro")
    response = install(small, make_plugin_package("echo", version="2"), replace=True)
    assert (response.status_code, response.json()["code"]) == (501, "not_supported")
    assert "read-only" in response.json()["detail"]
    remount(small.plugins_dir, "rw")
    assert read_record(small.plugins_dir, "echo") == before
    installed(small, make_plugin_package("echo", version="2", runtime=QUICK), replace=True)


def test_supervisord_is_silent_while_a_new_version_is_started(plugvisor: PlugvisorStack) -> None:
    """The operation goes on when it is back, and ends with one whole version."""
    plugvisor.up()
    installed(plugvisor, make_plugin_package("echo", version="1", runtime=QUICK), start=True)
    runtime = "auto_start = false\nsupervisor.startsecs = 3"
    operation_id = begin_install(plugvisor, make_plugin_package("echo", version="2", runtime=runtime), replace=True)
    wait_for(lambda: plugvisor.get(f"/operations/{operation_id}").json()["phase"] == "start", "the start")
    os.kill(plugvisor.supervisord_pid, signal.SIGSTOP)
    try:
        wait_for(lambda: plugvisor.get("/plugin/status").status_code == 503, "the silence")
        assert plugvisor.get(f"/operations/{operation_id}").json()["state"] == "running"
    finally:
        os.kill(plugvisor.supervisord_pid, signal.SIGCONT)
    operation = wait_for_end(plugvisor, operation_id)
    record = read_record(plugvisor.plugins_dir, "echo")
    assert "pending" not in record
    expected = "2-" if operation["state"] == "succeeded" else "1-"
    assert find_current(plugvisor.plugins_dir, "echo").startswith(expected)
    assert plugvisor.wait_for_status("echo", "running")["pid"]
