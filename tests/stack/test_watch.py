"""Plugins that are reloaded when their files change, as people and programs change them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.installation import installed
from tests.helpers.packages import make_plugin_package
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.helpers.stack import PlugvisorStack

WATCHED = 'auto_start = false\nsupervisor.startsecs = 0\nwatch.paths = ["."]\nwatch.debounce = 0.1'
VERSIONED = """\
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
print("ready, version {}", flush=True)
time.sleep(1000)
"""
WRITER = """\
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
print("ready", "x" * 5000, flush=True)  # so much that it may have written any of its files
with open("state.json", "w") as file:
    file.write(str(time.time()))
time.sleep(1000)
"""


def list_reloads(stack: PlugvisorStack, plugin_id: str, verb: str = "reload") -> list[dict[str, Any]]:
    """What the journal has of watching a plugin, oldest first."""
    entries = stack.get(f"/journal?plugin_id={plugin_id}&kind=operation&limit=100").json()["entries"]
    return [entry for entry in entries[::-1] if entry["identity"] == "watch" and entry["verb"] == verb]


def wait_for_version(stack: PlugvisorStack, plugin_id: str, version: object) -> None:
    wait_for(lambda: f"version {version}\n" in stack.read_log(plugin_id), f"version {version} of {plugin_id}")


def add_watched(stack: PlugvisorStack, plugin_id: str, code: str = VERSIONED.format(1), runtime: str = WATCHED) -> Path:
    """A plugin that is watched, and runs."""
    folder = stack.write_plugin(plugin_id, code, runtime=runtime)
    assert stack.post("/plugins/refresh").status_code == 200
    wait_until_watched(stack, plugin_id)
    stack.start_running(plugin_id)
    return folder


def wait_until_watched(stack: PlugvisorStack, plugin_id: str) -> None:
    said = re.compile(f"watching the files of .*'{plugin_id}'")
    wait_for(lambda: said.search(stack.service_log), f"{plugin_id} to be watched")


def wait_until_noticed(stack: PlugvisorStack) -> None:
    """Wait until everything that has changed before has been noticed: a later change of another plugin has been."""
    plugin_id = f"beacon{len(list(stack.plugins_dir.iterdir()))}"
    folder = add_watched(stack, plugin_id)
    for number in (1, 2):  # of changes at the same time, the order is not known
        (folder / f"{number}.py").write_text("1")
        wait_for(lambda number=number: len(list_reloads(stack, plugin_id)) == number, "the beacon")


def save_in_place(path: Path, text: str) -> None:
    path.write_text(text)


def save_by_rename(path: Path, text: str) -> None:
    draft = path.with_name(f"{path.name}.draft")
    draft.write_text(text)
    draft.rename(path)


def save_with_backup(path: Path, text: str) -> None:
    """As vim does: the old file becomes a backup, and a new one is written."""
    path.rename(f"{path}~")
    path.write_text(text)
    os.unlink(f"{path}~")


@pytest.mark.parametrize("save", [save_in_place, save_by_rename, save_with_backup])
def test_a_save_reloads(shared: PlugvisorStack, save: Callable[[Path, str], None]) -> None:
    plugin_id = save.__name__
    folder = add_watched(shared, plugin_id)
    before = shared.status(plugin_id)
    save(folder / "main.py", VERSIONED.format(2))
    wait_for_version(shared, plugin_id, 2)
    after = shared.wait_for_status(plugin_id, "running")
    assert after["pid"] != before["pid"]
    assert after["intent"] == before["intent"]
    last = wait_for(
        lambda: [entry for entry in list_reloads(shared, plugin_id) if "main.py" in entry["detail"]], "the entry"
    )[-1]
    assert last["outcome"] == "ok"


def test_touch_reloads(shared: PlugvisorStack) -> None:
    folder = add_watched(shared, "touched")
    pid = shared.status("touched")["pid"]
    subprocess.run(["touch", folder / "main.py"], check=True)
    wait_for(lambda: shared.status("touched").get("pid") not in (None, pid), "another process")


def test_a_new_folder_is_watched(shared: PlugvisorStack) -> None:
    folder = add_watched(shared, "grown")
    (folder / "lib" / "deep").mkdir(parents=True)
    wait_for(lambda: any(entry["detail"].startswith("lib") for entry in list_reloads(shared, "grown")), "the folder")
    (folder / "lib" / "deep" / "part.py").touch()  # a reload is made when the folder is watched, and not before
    wait_for(lambda: "part.py" in list_reloads(shared, "grown")[-1]["detail"], "the change in it")


def test_git_checkout_reloads_once(shared: PlugvisorStack) -> None:
    folder = shared.write_plugin("checkout", VERSIONED.format(1), runtime=WATCHED)

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=one"]
        subprocess.run(["git", *identity, "-C", str(folder), *arguments], check=True, capture_output=True)

    git("init")
    git("add", ".")
    git("commit", "-m", "one")
    git("checkout", "-b", "two")
    (folder / "main.py").write_text(VERSIONED.format(2))
    (folder / "more").mkdir()
    for number in range(50):
        (folder / "more" / f"{number}.py").write_text("1")
    git("add", ".")
    git("commit", "-m", "two")
    git("checkout", "one")
    assert shared.post("/plugins/refresh").status_code == 200
    wait_until_watched(shared, "checkout")
    shared.start_running("checkout")
    before = len(list_reloads(shared, "checkout"))
    git("checkout", "two")
    wait_for_version(shared, "checkout", 2)
    git("gc")  # which writes below .git
    wait_until_noticed(shared)
    assert len(list_reloads(shared, "checkout")) - before in (1, 2)  # two if it took longer than the debounce


def test_what_is_never_watched(shared: PlugvisorStack) -> None:
    runtime = f'{WATCHED}\nwatch.ignore = ["*.json", "!keep.json"]'
    folder = add_watched(shared, "quiet", runtime=runtime)
    before = len(list_reloads(shared, "quiet"))
    for name in ("data", "__pycache__", ".git", "node_modules"):
        (folder / name).mkdir()
        (folder / name / "file.txt").write_text("1")
    for name in ("a.log", ".main.py.swp", "main.py~", "4913", "other.json"):
        (folder / name).write_text("1")
    wait_until_noticed(shared)
    assert len(list_reloads(shared, "quiet")) == before
    (folder / "keep.json").write_text("1")
    wait_for(lambda: [entry["detail"] for entry in list_reloads(shared, "quiet")[before:]] == ["keep.json changed"])


def test_a_broken_manifest_stops_nothing(shared: PlugvisorStack) -> None:
    folder = add_watched(shared, "mended")
    manifest = (folder / "plugin.toml").read_text()
    pid = shared.status("mended")["pid"]
    (folder / "plugin.toml").write_text(f"{manifest}\n=")
    status = wait_for(lambda: "manifest_error" in (answer := shared.status("mended")) and answer, "the error")
    assert (status["status"], status["pid"]) == ("running", pid)
    assert "it keeps running as it was" in status["detail"]
    wait_for(
        lambda: [entry["outcome"] for entry in list_reloads(shared, "mended")] == ["invalid_manifest"], "the entry"
    )
    save_by_rename(folder / "plugin.toml", manifest.replace("[plugin]", "[plugin]\nname = 'mended'"))
    wait_for(lambda: shared.status("mended").get("pid") not in (None, pid), "another process")
    assert "detail" not in shared.status("mended")


def test_a_stop_pauses(shared: PlugvisorStack) -> None:
    folder = add_watched(shared, "paused")
    assert shared.post("/plugin/paused/stop").status_code == 200
    (folder / "main.py").write_text(VERSIONED.format(2))
    wait_until_noticed(shared)
    assert shared.status("paused")["status"] == "stopped"
    shared.start_running("paused")
    wait_for_version(shared, "paused", 2)
    (folder / "main.py").write_text(VERSIONED.format(3))
    wait_for_version(shared, "paused", 3)


def test_a_plugin_that_was_broken_comes_back(shared: PlugvisorStack) -> None:
    runtime = WATCHED.replace("startsecs = 0", "startsecs = 1\nsupervisor.startretries = 0")
    folder = add_watched(shared, "crashing", runtime=runtime)
    (folder / "main.py").write_text("raise SystemExit(3)")
    shared.wait_for_state("crashing", "FATAL")
    (folder / "main.py").write_text(VERSIONED.format(2))
    shared.wait_for_status("crashing", "running")
    wait_for_version(shared, "crashing", 2)


def test_a_save_during_a_reload_leads_to_one_more(shared: PlugvisorStack) -> None:
    slow = """\
import signal, sys, time
def end(*_):
    print("stopping", flush=True)
    time.sleep(1)
    sys.exit()
signal.signal(signal.SIGTERM, end)
print("ready, version {}", flush=True)
time.sleep(1000)
"""
    folder = add_watched(shared, "slow", slow.format(1))
    stops = shared.read_log("slow").count("stopping")
    (folder / "main.py").write_text(slow.format(2))
    wait_for(lambda: shared.read_log("slow").count("stopping") > stops, "the stop")
    (folder / "part.py").write_text("1")
    wait_for(lambda: [entry["detail"] for entry in list_reloads(shared, "slow")][1:] == ["part.py changed"])


def test_a_folder_that_is_pulled_away_and_put_back(shared: PlugvisorStack) -> None:
    folder = add_watched(shared, "pulled")
    pid = shared.status("pulled")["pid"]
    away = shared.root / "away"
    folder.rename(away)
    wait_for(lambda: "its manifest is invalid" in shared.status("pulled").get("detail", ""), "its absence")
    assert shared.status("pulled")["pid"] == pid
    (away / "main.py").write_text(VERSIONED.format(2))
    away.rename(folder)
    wait_for_version(shared, "pulled", 2)
    wait_for(lambda: list_reloads(shared, "pulled"), "the reload")
    (folder / "other.py").touch()
    wait_for(lambda: list_reloads(shared, "pulled")[-1]["detail"] == "other.py changed", "the change")


# -- what a plugin writes itself


def test_an_open_file_is_the_plugins_own(shared: PlugvisorStack) -> None:
    code = VERSIONED.format(1).replace("time.sleep(1000)", "file = open('out.txt', 'w', buffering=1)\n") + (
        "while True:\n    file.write('x\\n')\n    time.sleep(0.02)\n"
    )
    folder = add_watched(shared, "printing", code)
    before = len(list_reloads(shared, "printing"))
    wait_for((folder / "out.txt").exists, "its file, which it opens when it is ready")
    size = (folder / "out.txt").stat().st_size
    wait_for(lambda: (folder / "out.txt").stat().st_size > size + 40, "what it writes")
    wait_until_noticed(shared)
    assert [entry["detail"] for entry in list_reloads(shared, "printing")[before:]] == []
    (folder / "main.py").write_text(code.replace("version 1", "version 2"))
    wait_for_version(shared, "printing", 2)


def test_what_changes_all_the_time_does_not_put_a_save_off_for_ever(shared: PlugvisorStack) -> None:
    folder = add_watched(shared, "restless")
    (folder / "main.py").write_text(VERSIONED.format(2))

    def disturb() -> bool:
        (folder / "noise.txt").write_text("1")
        return "version 2\n" in shared.read_log("restless")

    wait_for(disturb, "the reload")


def start_writer(stack: PlugvisorStack, plugin_id: str) -> Path:
    folder = stack.write_plugin(plugin_id, WRITER, runtime=WATCHED)
    (folder / "state.json").write_text("")
    (folder / "other.py").write_text("1")
    assert stack.post("/plugins/refresh").status_code == 200
    wait_until_watched(stack, plugin_id)
    stack.start_running(plugin_id)
    wait_for(lambda: stack.status(plugin_id).get("watch") == "suspended", "the suspension")
    assert "in `ignore`, and reload it to resume" in stack.status(plugin_id)["detail"]
    return folder


def test_a_plugin_that_writes_its_own_files_is_suspended(shared: PlugvisorStack) -> None:
    folder = start_writer(shared, "writer")
    # more than three, as if a person had saved, if it writes long after its start; but not for ever
    assert 3 <= len(list_reloads(shared, "writer")) <= 10
    [suspended] = wait_for(lambda: list_reloads(shared, "writer", "suspend"), "the entry")
    assert suspended["detail"] == "state.json changed"
    status = shared.status("writer")
    assert status["status"] == "running"
    (folder / "state.json").write_text("again")
    (folder / "new.json").write_text("again")
    wait_until_noticed(shared)
    assert shared.status("writer")["pid"] == status["pid"]
    assert "suspended" in shared.service_log


@pytest.mark.parametrize("way", ["reload", "stop and start", "supervisorctl", "save"])
def test_the_end_of_a_suspension(shared: PlugvisorStack, way: str) -> None:
    plugin_id = f"resumed-{way.replace(' ', '-')}"
    folder = start_writer(shared, plugin_id)
    if way == "save":
        (folder / "other.py").write_text("2")
    elif way == "supervisorctl":
        shared.ctl("restart", plugin_id)
    else:
        for verb in ("stop", "start") if way != "reload" else ("reload",):
            assert shared.post(f"/plugin/{plugin_id}/{verb}").status_code == 200
    wait_for(lambda: list_reloads(shared, plugin_id, "resume"), "the end")
    # it writes again
    wait_for(lambda: len(list_reloads(shared, plugin_id, "suspend")) == 2, "the next suspension")


def test_a_person_may_save_as_often_as_they_like(shared: PlugvisorStack) -> None:
    folder = add_watched(shared, "hasty")
    for version in range(2, 8):
        (folder / "main.py").write_text(VERSIONED.format(version))
        wait_for_version(shared, "hasty", version)
        # as a hasty person does, but not within half a second of the start
        wait_for(lambda: shared.status("hasty").get("uptime", 0) >= 1, "a second")
    assert list_reloads(shared, "hasty", "suspend") == []


# -- what cannot be watched


@pytest.mark.parametrize("path", ["../other", "/etc", "a/../../b", ""])
def test_paths_outside_make_the_manifest_invalid(shared: PlugvisorStack, path: str) -> None:
    shared.write_plugin("outside", runtime=f"auto_start = false\nwatch.paths = ['{path}']")
    shared.post("/plugins/refresh")
    assert "below the plugin's folder" in shared.status("outside")["manifest_error"]["message"]


def test_a_link_out_of_the_folder_is_not_followed(shared: PlugvisorStack) -> None:
    (shared.root / "elsewhere").mkdir()
    folder = shared.write_plugin("linked", runtime='auto_start = false\nwatch.paths = ["way", "main.py"]')
    (folder / "way").symlink_to(shared.root / "elsewhere")
    assert shared.post("/plugins/refresh").status_code == 200
    wait_for(lambda: "leads out of its folder" in shared.status("linked").get("detail", ""), "the note")


LIMITED = """\
echo {limit} > /proc/sys/user/max_inotify_watches && exec "$@"
"""


def can_limit() -> bool:
    command = ["unshare", "-Ur", "sh", "-c", LIMITED.format(limit=5), "sh", "true"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def test_no_more_watches(plugvisor: PlugvisorStack) -> None:
    if not can_limit():
        pytest.skip("no user namespace can be made here")
    large = plugvisor.write_plugin("large", VERSIONED.format(1), runtime=WATCHED)
    small = plugvisor.write_plugin("small", VERSIONED.format(1), runtime=WATCHED)
    for number in range(30):
        (large / f"folder{number}").mkdir()
    command = ["unshare", "-Ur", "sh", "-c", LIMITED.format(limit=20), "sh", sys.executable, "-m", "plugvisor", "up"]
    with plugvisor.output_path.open("ab") as output:
        plugvisor.process = subprocess.Popen(
            command, env=plugvisor.environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    wait_for(plugvisor.is_ready, "the service")
    detail = wait_for(lambda: plugvisor.status("large").get("detail"), "the note")
    assert "fs.inotify.max_user_watches" in detail
    small_status = plugvisor.status("small")
    assert (plugvisor.status("large")["watch"], small_status["watch"]) == ("incomplete", "active")
    assert "detail" not in small_status
    plugvisor.start_running("large")
    plugvisor.start_running("small")
    (small / "main.py").write_text(VERSIONED.format(2))
    wait_for_version(plugvisor, "small", 2)


def test_polling(plugvisor: PlugvisorStack) -> None:
    plugvisor.environ |= {"WATCHFILES_FORCE_POLLING": "true"}
    plugvisor.up()
    folder = add_watched(plugvisor, "polled")
    save_by_rename(folder / "main.py", VERSIONED.format(2))
    later = time.time() + 5
    os.utime(folder / "main.py", (later, later))  # polling sees whole seconds
    wait_for_version(plugvisor, "polled", 2)


def test_an_installed_plugin_is_not_watched(shared: PlugvisorStack) -> None:
    installed(shared, make_plugin_package("packed", runtime=WATCHED))
    answer = shared.get("/plugin/packed/manifest").json()
    assert answer["manifest"]["watch"]["paths"] == ["."]
    [warning] = answer["warnings"]
    assert "installed" in warning
    assert warning in shared.command("check").stdout
    wait_until_noticed(shared)
    assert "watch" not in shared.status("packed")
    assert "'packed'" not in shared.service_log


def test_nobody_can_have_the_name_of_the_watch(shared: PlugvisorStack) -> None:
    assert shared.post("/identities", json={"name": "watch", "role": "viewer"}).status_code == 422


SLOW_TO_STOP = """\
import pathlib, signal, sys, time
def stop(*_):
    pathlib.Path("data").mkdir(exist_ok=True)
    pathlib.Path("data/stopping").touch()
    while not pathlib.Path("data/end").exists():
        time.sleep(0.05)
    sys.exit()
signal.signal(signal.SIGTERM, stop)
print("ready, version 1", flush=True)
time.sleep(1000)
"""


def test_a_save_does_not_start_what_was_stopped_meanwhile(shared: PlugvisorStack) -> None:
    """A person reloads, then stops, while the old process takes its time: the save in between comes too late."""
    runtime = f"{WATCHED}\nsupervisor.stopwaitsecs = 60"
    folder = add_watched(shared, "leaving", SLOW_TO_STOP, runtime)
    wait_for_version(shared, "leaving", 1)
    assert shared.post("/plugin/leaving/reload?wait=0").json()["status"] != "running"
    wait_for((folder / "data/stopping").exists, "the end of the old process to begin")
    with ThreadPoolExecutor(1) as pool:
        stop = pool.submit(shared.post, "/plugin/leaving/stop")
        (folder / "other.py").write_text("1")
        wait_until_noticed(shared)
        (folder / "data/end").touch()
        assert stop.result().status_code == 200
    wait_until_noticed(shared)
    assert shared.status("leaving")["status"] == "stopped"
    assert shared.status("leaving")["intent"]["wanted"] == "stopped"
