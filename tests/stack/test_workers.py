"""The worker of the install folder in the whole product, with one user and with two."""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
import stat
import xmlrpc.client
from typing import TYPE_CHECKING

import pytest

from tests.helpers.packages import make_plugin_package
from tests.helpers.stack import ADMIN_CODE, QUICK
from tests.helpers.waiting import wait_for
from tests.stack.test_emptied_run_folder import use_two_users

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from tests.helpers.stack import PlugvisorStack

CODE = """\
import os
try:
    open("written", "w")
except OSError:
    pass
open(os.path.join(os.environ["PLUGVISOR_DATA_DIR"], "kept"), "a").write("x")
print("ready", os.getuid(), flush=True)
import signal
signal.pause()
"""


def install(plugvisor: PlugvisorStack, version: str, query: str = "start=true&replace=true") -> httpx.Response:
    headers = {"Authorization": f"Bearer {ADMIN_CODE}", "Content-Type": "application/zip"}
    package = make_plugin_package("echo", CODE, version=version, runtime=QUICK)
    return plugvisor.http.post(f"/plugins/install?{query}&wait=60", content=package, headers=headers)


def list_owners(folder: Path) -> set[int]:
    return {path.lstat().st_uid for path in folder.rglob("*")}


def open_worker(plugvisor: PlugvisorStack) -> str | None:
    """The name of a worker's socket; None if there are too many."""
    with contextlib.suppress(xmlrpc.client.Fault):
        name: str = plugvisor.rpc("open_worker", 60.0, namespace="plugins")
        return name
    return None


@pytest.mark.parametrize("users", ["one user", "two users"])
def test_everything_in_the_install_folder_is_the_plugins_users(plugvisor: PlugvisorStack, users: str) -> None:
    folder = plugvisor.root / "installed"
    folder.mkdir()
    uid = os.getuid()
    if users == "two users":
        use_two_users(plugvisor)
        user = pwd.getpwnam("nobody")
        uid = user.pw_uid
        os.chown(folder, uid, user.pw_gid)
    plugvisor.environ["PLUGVISOR_INSTALL_DIR"] = str(folder)
    plugvisor.up()
    for version in ("1.0.0", "2.0.0"):
        assert install(plugvisor, version).status_code == 201
    wait_for(lambda: plugvisor.read_log("echo").count(f"ready {uid}") == 2, "both versions to run")
    assert list_owners(folder) == {uid}
    assert (folder / "echo" / "data" / "kept").read_text() == "xx"
    versions = list((folder / "echo" / "versions").iterdir())
    if users == "two users":
        assert not list(folder.rglob("written"))  # root may write to what is read-only
    assert {stat.S_IMODE(path.stat().st_mode) for path in versions} == {0o555}
    wait_for(lambda: not list((folder / ".staging").iterdir()), "what is staged to be removed")
    wait_for(lambda: not list(plugvisor.run_dir.glob("install-*")), "the workers' sockets to be gone")
    response = plugvisor.http.delete(
        "/plugin/echo?purge=true&wait=60", headers={"Authorization": f"Bearer {ADMIN_CODE}"}
    )
    assert response.status_code == 200, response.text
    assert os.listdir(folder) == [".staging"]


def test_a_worker_that_cannot_be_started_changes_nothing(plugvisor: PlugvisorStack) -> None:
    """All of supervisord's workers are taken by somebody else."""
    folder = plugvisor.root / "installed"
    folder.mkdir()
    plugvisor.environ["PLUGVISOR_INSTALL_DIR"] = str(folder)
    plugvisor.up()
    wait_for(lambda: install(plugvisor, "1.0.0", "start=false&replace=true").status_code == 201, "the recovery")
    wait_for(lambda: not list((folder / ".staging").iterdir()), "what is staged to be removed")
    before = sorted(path.name for path in folder.rglob("*"))
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            connection = stack.enter_context(socket.socket(socket.AF_UNIX))
            name = wait_for(lambda: open_worker(plugvisor), "a worker of the service to end")
            connection.connect(str(plugvisor.run_dir / name))
        response = install(plugvisor, "2.0.0")
    assert response.status_code == 503, response.text
    assert response.json()["code"] == "interrupted"
    assert response.json()["detail"].endswith("the process that installs cannot be started: too many workers")
    assert sorted(path.name for path in folder.rglob("*")) == before
