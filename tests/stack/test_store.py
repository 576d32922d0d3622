"""With the store in trouble everything can be seen, started and stopped, and `GET /available` says what is wrong."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.disks import fill, mount_tmpfs, needs_mounts, remount
from tests.helpers.stack import QUICK, PlugvisorStack, run_stack
from tests.helpers.waiting import wait_for
from tests.stack.test_emptied_run_folder import use_two_users

if TYPE_CHECKING:
    from pathlib import Path


def store_of(stack: PlugvisorStack) -> dict[str, Any]:
    """What `GET /available` says of the store."""
    response = stack.http.get("/available")
    assert response.status_code == 200, response.text
    assert str(stack.root) not in response.text
    store: dict[str, Any] = response.json()["store"]
    return store


def state_dir(stack: PlugvisorStack) -> Path:
    return stack.root / "state"


def wait_for_store(stack: PlugvisorStack, status: str) -> dict[str, Any]:
    store: dict[str, Any] = wait_for(lambda: (store := store_of(stack))["status"] == status and store, status)
    return store


def check_plugins_can_be_changed(stack: PlugvisorStack, *, is_remembered: bool) -> None:
    """Start, stop and look at a plugin."""
    for verb, status in (("start", "running"), ("stop", "stopped"), ("reload", "running"), ("stop", "stopped")):
        response = stack.post(f"/plugin/echo/{verb}")
        assert response.status_code == 200, response.text
        assert response.json().get("remembered", True) == is_remembered
        assert stack.status("echo")["status"] == status
    assert stack.http.get("/plugins").status_code == 200


def wait_until_remembered(stack: PlugvisorStack) -> None:
    """The store is available, and what happens is remembered: a moment later, if it could not be read before."""
    wait_for_store(stack, "ok")
    wait_for(lambda: "remembered" not in stack.post("/plugin/echo/reload").json(), "a reload that is remembered")
    assert stack.post("/plugin/echo/stop").status_code == 200


def restart(stack: PlugvisorStack) -> None:
    stack.down()
    stack.up()


def break_store(stack: PlugvisorStack, how: str) -> None:
    """Before Plugvisor is up."""
    folder = state_dir(stack)
    folder.mkdir(mode=0o700)
    path = folder / "plugvisor.db"
    if how == "a later version's":
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript("CREATE TABLE later (x); PRAGMA user_version = 99;")
    elif how == "a file for a folder":
        folder.rmdir()
        folder.write_text("")
    elif how == "open to all":
        folder.chmod(0o777)
    else:
        path.write_bytes(os.urandom(100_000))


@pytest.mark.parametrize(
    ("how", "detail"),
    [
        ("a later version's", "the database was written by a later version of Plugvisor"),
        ("a file for a folder", "the state folder cannot be used: File exists"),
        ("open to all", "others can write in the state folder"),
    ],
)
def test_it_cannot_be_used_from_the_beginning(plugvisor: PlugvisorStack, how: str, detail: str) -> None:
    plugvisor.write_plugin("echo", runtime=QUICK)
    break_store(plugvisor, how)
    plugvisor.up()
    assert store_of(plugvisor) == {"status": "unavailable", "detail": detail}
    check_plugins_can_be_changed(plugvisor, is_remembered=False)
    wait_for(lambda: f"nothing can be remembered: {detail}" in plugvisor.service_log, "the warning in the log")
    assert plugvisor.service_log.count(f"nothing can be remembered: {detail}") == 1


def test_a_broken_one_is_set_aside(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("echo", runtime=QUICK)
    break_store(plugvisor, "random bytes")
    plugvisor.up()
    store = store_of(plugvisor)
    assert store["status"] == "ok"
    assert (state_dir(plugvisor) / store["set_aside"]).stat().st_size == 100_000
    check_plugins_can_be_changed(plugvisor, is_remembered=True)
    wait_for(lambda: store["set_aside"] in plugvisor.service_log, "the warning in the log")
    assert plugvisor.service_log.count(store["set_aside"]) == 1


@pytest.mark.parametrize("how", ["the file is overwritten", "the files are deleted", "the folder is deleted"])
def test_what_goes_away_is_remembered_again(plugvisor: PlugvisorStack, how: str) -> None:
    for plugin_id in ("echo", "other"):
        plugvisor.write_plugin(plugin_id, runtime=QUICK)
    plugvisor.up()
    plugvisor.start_running("other")
    folder = state_dir(plugvisor)
    if how == "the file is overwritten":
        (folder / "plugvisor.db").write_bytes(os.urandom(200_000))
    elif how == "the folder is deleted":
        shutil.rmtree(folder)
    else:
        for path in folder.iterdir():
            if path.is_file():
                path.unlink()

    def is_there() -> bool:
        try:
            with closing(sqlite3.connect(f"file:{folder}/plugvisor.db?mode=ro", uri=True)) as connection:
                return connection.execute("SELECT wanted FROM intent").fetchall() == [("running",)]
        except sqlite3.Error:
            return False

    plugvisor.http.get("/journal", headers={"Authorization": "Bearer an-admin-code-for-tests"})
    wait_for(is_there, "the intent to be written again")
    check_plugins_can_be_changed(plugvisor, is_remembered=True)
    restart(plugvisor)
    plugvisor.wait_for_status("other", "running")
    assert plugvisor.status("echo")["status"] == "stopped"


def test_another_process_has_locked_it(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("echo", runtime=QUICK)
    plugvisor.up()
    with closing(sqlite3.connect(state_dir(plugvisor) / "plugvisor.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        check_plugins_can_be_changed(plugvisor, is_remembered=False)
        assert wait_for_store(plugvisor, "unavailable")["detail"] == "another process has locked the database"
        other.execute("ROLLBACK")
    wait_for_store(plugvisor, "ok")
    check_plugins_can_be_changed(plugvisor, is_remembered=True)


@needs_mounts
def test_a_full_disk(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("echo", runtime=QUICK)
    with mount_tmpfs(state_dir(plugvisor), 512) as folder:
        filler = fill(folder)
        plugvisor.up()
        assert wait_for_store(plugvisor, "unavailable")["detail"]
        check_plugins_can_be_changed(plugvisor, is_remembered=False)
        filler.unlink()
        wait_until_remembered(plugvisor)
        check_plugins_can_be_changed(plugvisor, is_remembered=True)
        plugvisor.down()


@needs_mounts
def test_a_read_only_disk(plugvisor: PlugvisorStack) -> None:
    """What is remembered is known nevertheless."""
    plugvisor.write_plugin("echo", runtime=QUICK)
    plugvisor.write_plugin("other", runtime="supervisor.startsecs = 0")
    with mount_tmpfs(state_dir(plugvisor), 1024) as folder:
        plugvisor.up()
        assert plugvisor.post("/plugin/other/stop").status_code == 200
        plugvisor.down()
        remount(folder, "ro")
        plugvisor.up()
        assert "Read-only file system" in store_of(plugvisor)["detail"]
        assert plugvisor.status("other")["status"] == "stopped"
        assert plugvisor.status("other")["intent"]["wanted"] == "stopped"
        check_plugins_can_be_changed(plugvisor, is_remembered=False)
        remount(folder, "rw")
        wait_for_store(plugvisor, "ok")
        plugvisor.down()


def test_two_on_one_folder(plugvisor: PlugvisorStack) -> None:
    with run_stack() as second:
        second.environ["PLUGVISOR_STATE_DIR"] = plugvisor.environ["PLUGVISOR_STATE_DIR"]
        second.write_plugin("echo", runtime=QUICK)
        plugvisor.up()
        second.up()
        assert store_of(second) == {"status": "unavailable", "detail": "another Plugvisor uses this state folder"}
        assert store_of(plugvisor) == {"status": "ok"}
        check_plugins_can_be_changed(second, is_remembered=False)
        plugvisor.down()
        wait_until_remembered(second)
        check_plugins_can_be_changed(second, is_remembered=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has two users")
def test_with_two_users_the_files_are_the_services_and_no_plugins(plugvisor: PlugvisorStack) -> None:
    use_two_users(plugvisor)
    plugvisor.write_plugin("echo", runtime=QUICK)
    plugvisor.up()
    assert store_of(plugvisor) == {"status": "ok"}
    check_plugins_can_be_changed(plugvisor, is_remembered=True)
    folder = state_dir(plugvisor)
    assert (folder.stat().st_uid, stat.S_IMODE(folder.stat().st_mode)) == (0, 0o2770)
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.glob("plugvisor.db*")} == {0o660}
    restart(plugvisor)
    assert store_of(plugvisor) == {"status": "ok"}
