"""The run folder is emptied or removed while everything runs: it is restored, and no plugin notices."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.helpers.processes import is_alive
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from tests.helpers.stack import PlugvisorStack

ORDINARY = "supervisor.startsecs = 0\nsupervisor.autorestart = true\nenvironment.SEEN = 'yes'"


def list_files(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Mode, user and group of all that is in the run folder, without the logs."""
    found = {}
    for path in [folder, *folder.rglob("*")]:
        name = str(path.relative_to(folder))
        if name.startswith("log") or name.endswith(".tmp"):
            continue
        with contextlib.suppress(FileNotFoundError):  # it is just being replaced
            status = path.lstat()
            # what `up` has written as root is the service's when it has written it again
            owner = status.st_uid if "/" not in name else -1
            found[name] = (status.st_mode, owner, status.st_gid)
    return found


def remove_whole(path: Path) -> None:
    """Remove something that is restored as soon as it is gone, or partly gone."""
    with tempfile.TemporaryDirectory() as elsewhere:
        path.rename(Path(elsewhere) / path.name)


def remove(folder: Path, how: str) -> None:
    if how == "removed":
        remove_whole(folder)
        return
    for path in list(folder.iterdir() if how == "emptied" else folder.rglob("*")):
        if how == "emptied" or not path.is_dir():
            with contextlib.suppress(FileNotFoundError):
                remove_whole(path)


@pytest.mark.parametrize("users", ["one user", "two users"])
@pytest.mark.parametrize("how", ["removed", "emptied", "files removed"])
def test_it_is_restored(plugvisor: PlugvisorStack, users: str, how: str) -> None:
    if users == "two users":
        use_two_users(plugvisor)
    for plugin_id in ("idle", "crashes"):
        plugvisor.write_plugin(plugin_id, runtime=ORDINARY)
    plugvisor.up()
    pids = {plugin_id: plugvisor.wait_for_status(plugin_id, "running")["pid"] for plugin_id in ("idle", "crashes")}
    # the pid file is written a moment after the start
    wait_for(lambda: "lock" in list_files(plugvisor.run_dir), "the lock")
    before, service_pid = list_files(plugvisor.run_dir), plugvisor.service_pid
    code = (plugvisor.run_dir / "admin_code").read_text()

    remove(plugvisor.run_dir, how)
    os.kill(pids["crashes"], signal.SIGKILL)
    restarted = wait_for(
        lambda: (told := plugvisor.status("crashes")).get("pid", pids["crashes"]) != pids["crashes"] and told,
        "the plugin to be restarted",
    )
    assert restarted["status"] in ("starting", "running")
    for verb, status in (("start", 409), ("reload", 200), ("stop", 200), ("start", 200)):
        path = f"/plugin/crashes/{verb}"
        # supervisord's socket is back within a second
        response = wait_for(lambda path=path: (told := plugvisor.post(path)).status_code != 503 and told, "an answer")
        assert response.status_code == status, response.text
    wait_for(lambda: list_files(plugvisor.run_dir) == before, f"all of {sorted(before)}")
    assert (plugvisor.run_dir / "admin_code").read_text() == code
    assert "idle" in plugvisor.ctl("status")
    assert plugvisor.command("ctl", "pid").stdout.strip() == str(plugvisor.supervisord_pid)
    assert (plugvisor.run_dir / "supervisord.pid").read_text().strip() == str(plugvisor.supervisord_pid)
    assert plugvisor.status("idle")["pid"] == pids["idle"]
    assert (plugvisor.service_pid, is_alive(service_pid)) == (service_pid, True)
    assert plugvisor.post("/plugins/refresh").json() == {"added": [], "changed": [], "removed": [], "invalid": []}
    assert plugvisor.command("up").returncode == 2, "it is locked again"
    plugvisor.ctl("restart", "plugvisor")
    wait_for(plugvisor.is_ready, "the service, with the code that was restored")
    assert plugvisor.post("/plugin/idle/stop").status_code == 200


def test_a_refresh_meanwhile(plugvisor: PlugvisorStack) -> None:
    """It removes a plugin whose own folder is gone too, and keeps the name of one whose manifest is broken."""
    removed = plugvisor.write_plugin("removed", runtime=ORDINARY)
    broken = plugvisor.write_plugin("broken", runtime=ORDINARY, folder="another-name")
    plugvisor.up()
    pids = [plugvisor.wait_for_status(plugin_id, "running")["pid"] for plugin_id in ("removed", "broken")]
    shutil.rmtree(removed)
    (broken / "plugin.toml").write_text("[plugin\n")
    remove_whole(plugvisor.run_dir)
    wait_for((plugvisor.run_dir / "supervisor.sock").exists, "supervisord's socket")

    response = wait_for(lambda: (told := plugvisor.post("/plugins/refresh")).status_code != 503 and told, "an answer")
    assert response.json() == {"added": [], "changed": [], "removed": ["removed"], "invalid": ["broken"]}
    assert [is_alive(pid) for pid in pids] == [False, True]
    assert {process["name"] for process in plugvisor.rpc("getAllProcessInfo")} == {"plugvisor", "broken"}
    assert plugvisor.status("broken")["pid"] == pids[1]


def test_a_service_that_starts_again_meanwhile(plugvisor: PlugvisorStack) -> None:
    """It lists a plugin of which nothing is left but its process."""
    folder = plugvisor.write_plugin("alone", runtime=ORDINARY)
    plugvisor.up()
    pid = plugvisor.wait_for_status("alone", "running")["pid"]
    shutil.rmtree(folder)
    remove_whole(plugvisor.run_dir)
    wait_for((plugvisor.run_dir / "supervisor.sock").exists, "supervisord's socket")
    plugvisor.restart_service()

    response = wait_for(
        lambda: (told := plugvisor.http.get("/plugin/status?plugin_id=alone")).status_code == 200 and told,
        "the plugin to be listed",
    )
    assert response.json()["pid"] == pid
    assert plugvisor.post("/plugin/alone/stop").status_code == 200
    assert not is_alive(pid)
    assert plugvisor.post("/plugins/refresh").json()["removed"] == ["alone"]
    assert plugvisor.http.get("/plugin/status?plugin_id=alone").status_code == 404


def use_two_users(plugvisor: PlugvisorStack) -> None:
    """Have the service and the plugins run as other users, who may look into the folders of this test."""
    if os.geteuid() != 0:
        pytest.skip("only root runs things as other users")
    command = [sys.executable, "-c", "import plugvisor.settings"]
    try:
        subprocess.run(command, user="daemon", group="daemon", extra_groups=[], cwd="/", check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("other users cannot run this Python")
    plugvisor.environ |= {"PLUGVISOR_SERVICE_USER": "daemon", "PLUGVISOR_PLUGIN_USER": "nobody"}
    plugvisor.environ["PLUGVISOR_LOG_DIR"] = str(plugvisor.root / "log")
    plugvisor.log_dir = plugvisor.root / "log"
    plugvisor.root.chmod(0o755)
    plugvisor.plugins_dir.chmod(0o755)


def test_cleaners_are_kept_out(plugvisor: PlugvisorStack) -> None:
    """systemd-tmpfiles leaves a folder alone that somebody has locked."""
    plugvisor.up()

    def is_locked() -> bool:
        descriptor = os.open(plugvisor.run_dir, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    wait_for(is_locked, "the lock")
    remove_whole(plugvisor.run_dir)
    wait_for(lambda: plugvisor.run_dir.exists() and is_locked(), "the lock on the new folder")


def test_somebody_else_takes_its_place(plugvisor: PlugvisorStack) -> None:
    """What another user has put there is not used, and not touched."""
    if os.geteuid() != 0:
        pytest.skip("only root can make another user's folder")
    use_two_users(plugvisor)
    plugvisor.root.chmod(0o1777)
    plugvisor.write_plugin("echo", runtime=ORDINARY)
    plugvisor.up()
    pid = plugvisor.wait_for_status("echo", "running")["pid"]
    theirs = plugvisor.root / "theirs"
    theirs.mkdir()
    os.chown(theirs, 2, 2)
    plugvisor.run_dir.rename(plugvisor.root / "old")
    theirs.rename(plugvisor.run_dir)
    wait_for(lambda: "belongs to another user" in plugvisor.read_log("_supervisord"), "the refusal")
    assert list(plugvisor.run_dir.iterdir()) == []
    assert (plugvisor.run_dir.stat().st_uid, stat.S_IMODE(plugvisor.run_dir.stat().st_mode)) == (2, 0o755)
    plugvisor.run_dir.rmdir()
    wait_for(lambda: "echo" in plugvisor.ctl("status"), "the folder to be restored")
    with contextlib.suppress(httpx.TransportError):
        assert plugvisor.status("echo")["pid"] == pid


def test_an_obstacle_keeps_nothing_else_from_being_restored(plugvisor: PlugvisorStack) -> None:
    plugvisor.up()
    launch, pidfile = plugvisor.run_dir / "launch", plugvisor.run_dir / "supervisord.pid"
    launch.rename(plugvisor.root / "launch")
    launch.touch()
    pidfile.unlink()
    wait_for(pidfile.exists, "the pid file")
    # the obstacle is logged after every other step
    wait_for(lambda: "cannot restore the run folder" in plugvisor.read_log("_supervisord"), "the log")
    log = plugvisor.read_log("_supervisord")
    assert log.count("cannot restore the run folder") == 1
    assert str(launch) in log
    assert log.count("supervisord started with pid") == 1, "it has not started again"
    launch.unlink()
    wait_for(launch.is_dir, "the folder")


def test_a_link_to_it(plugvisor: PlugvisorStack) -> None:
    """An operator's own link is followed, and what is gone is restored where it leads to."""
    real = plugvisor.root / "elsewhere"
    real.mkdir(mode=0o700)
    plugvisor.run_dir.symlink_to(real)
    plugvisor.up()
    wait_for((real / "lock").exists, "the lock")
    (real / "state.sock").unlink()
    (real / "supervisord.pid").unlink()
    wait_for(lambda: (real / "state.sock").exists() and (real / "supervisord.pid").exists(), "the files")
    assert "cannot restore" not in plugvisor.read_log("_supervisord")


def test_somebody_else_makes_a_link_of_it(plugvisor: PlugvisorStack) -> None:
    """Nothing is written to the folder that a link of another user's leads to, even if that folder is ours."""
    if os.geteuid() != 0:
        pytest.skip("only root can make another user's link")
    plugvisor.environ["PLUGVISOR_LOG_DIR"] = str(plugvisor.root / "log")
    plugvisor.log_dir = plugvisor.root / "log"
    plugvisor.up()
    ours, link = plugvisor.root / "ours", plugvisor.root / "link"
    ours.mkdir()
    link.symlink_to(ours)
    os.lchown(link, 2, 2)
    plugvisor.run_dir.rename(plugvisor.root / "old")
    link.rename(plugvisor.run_dir)
    wait_for(lambda: "is a link of another user's" in plugvisor.read_log("_supervisord"), "the refusal")
    assert list(ours.iterdir()) == []
    plugvisor.run_dir.unlink()
    wait_for((plugvisor.run_dir / "supervisor.sock").exists, "the folder to be restored")
