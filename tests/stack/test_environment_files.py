"""Secrets from files: the whole product starts plugins with them, and shows them nowhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.event_client import open_events
from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.stack import QUICK
from tests.helpers.waiting import wait_for
from tests.stack.test_emptied_run_folder import use_two_users

if TYPE_CHECKING:
    from tests.helpers.stack import PlugvisorStack

SECRET = "s3cret-from-a-file"
WRITES = 'import os\nopen(os.environ["RESULT"], "wb").write(os.environb[b"API_KEY"])\n' + OBEDIENT
FAILURE = "cannot read the file of the variable 'API_KEY': "


def write_plugin(plugvisor: PlugvisorStack, plugin_id: str, path: str, runtime: str = QUICK) -> Path:
    """A plugin that writes its value of API_KEY into a file, which is returned."""
    result = plugvisor.root / f"{plugin_id}.result"
    result.touch()
    result.chmod(0o666)
    more = f'{runtime}\n[plugin_runtime.environment]\nRESULT = "{result}"\n'
    more += f"[plugin_runtime.environment_files]\nAPI_KEY = {json.dumps(path)}\n"
    plugvisor.write_plugin(plugin_id, WRITES, runtime=more)
    return result


def wait_for_value(result: Path, value: str) -> None:
    wait_for(lambda: result.read_text() == value, "the value")


def test_it_is_read_at_each_start_and_shown_nowhere(plugvisor: PlugvisorStack) -> None:
    result = write_plugin(plugvisor, "keyed", "keys/api")
    file = plugvisor.plugins_dir / "keyed" / "keys" / "api"
    file.parent.mkdir()
    file.write_text(f"{SECRET}-1\n")
    plugvisor.up()
    told: list[str] = []
    commands: set[bytes] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    commands.add(process.read_bytes())
                except OSError:
                    continue

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        with open_events(plugvisor.port) as events:
            told.append(plugvisor.post("/plugin/keyed/start").text)
            assert plugvisor.status("keyed")["status"] == "running", told
            wait_for_value(result, f"{SECRET}-1")
            file.write_text(f"{SECRET}-2\n")
            told.append(plugvisor.post("/plugin/keyed/reload").text)
            wait_for_value(result, f"{SECRET}-2")
            paths = ("/plugins", "/plugin/status", "/plugin/keyed/manifest", "/plugin/keyed/config", "/journal")
            told += [plugvisor.get(path).text for path in (*paths, "/plugin/keyed/logs", "/metrics", "/server/info")]
            wait_for(lambda: len([1 for event in list(events.events) if event.data.get("plugin_id")]) > 1, "events")
            told += [json.dumps(event.data) for event in list(events.events)]
    finally:
        done.set()
        thread.join()
    manifest = plugvisor.get("/plugin/keyed/manifest").json()["manifest"]
    assert (manifest["environment"], manifest["environment_files"]) == (["API_KEY", "RESULT"], ["API_KEY"])
    plugvisor.down()
    folders = (plugvisor.run_dir, plugvisor.root / "state")
    told += [path.read_text(errors="replace") for folder in folders for path in folder.rglob("*") if path.is_file()]
    told.append(plugvisor.output_path.read_text())
    assert any("API_KEY" in text for text in told), "the launch file has the name, and the path"
    assert not [text for text in told if SECRET in text]
    assert not [text for text in commands if SECRET.encode() in text]


def test_a_missing_file_is_a_start_that_fails(plugvisor: PlugvisorStack) -> None:
    result = write_plugin(plugvisor, "keyed", "key", "auto_start = false\nsupervisor.startretries = 0")
    plugvisor.up()
    failed = plugvisor.post("/plugin/keyed/start")
    assert (failed.status_code, failed.json()["code"]) == (500, "start_failed")
    assert f"{FAILURE}No such file or directory" in failed.json()["detail"]
    status = plugvisor.wait_for_state("keyed", "FATAL")
    assert status["status"] == "error"
    assert f"{FAILURE}No such file or directory" in status["detail"]
    assert str(plugvisor.root) not in failed.text + json.dumps(status)
    failed = plugvisor.post("/plugin/keyed/reload")
    assert (failed.status_code, failed.json()["code"]) == (500, "start_failed")
    (plugvisor.plugins_dir / "keyed" / "key").write_text("there")
    assert plugvisor.post("/plugin/keyed/start").status_code == 200
    wait_for_value(result, "there")


def test_with_the_service_it_is_tried_again(plugvisor: PlugvisorStack) -> None:
    """A plugin that is started at boot, before what writes its file."""
    restart = "supervisor.startretries = 1000\n[plugin_runtime.restart]\ndelay = 0.1\nfactor = 1.0"
    result = write_plugin(plugvisor, "early", "key", restart)
    plugvisor.up()
    assert FAILURE in plugvisor.wait_for_state("early", "BACKOFF")["detail"]
    (plugvisor.plugins_dir / "early" / "key").write_text("later")
    plugvisor.wait_for_status("early", "running")
    wait_for_value(result, "later")


def test_two_users(plugvisor: PlugvisorStack) -> None:
    """An author who names files of root's or the service's gets nothing; the plugins' user has its own."""
    use_two_users(plugvisor)
    theirs = plugvisor.root / "theirs"
    theirs.write_text("of the plugins' user")
    theirs.chmod(0o400)
    os.chown(theirs, 65534, 65534)
    services = plugvisor.root / "services"
    services.write_text("of the service")
    services.chmod(0o440)
    os.chown(services, 1, 1)
    runtime = f"{QUICK}\nsupervisor.startretries = 0"
    allowed = write_plugin(plugvisor, "allowed", str(theirs), runtime)
    named = {
        "shadow": "/etc/shadow",
        "code": str(plugvisor.run_dir / "admin_code"),
        "launch": str(plugvisor.run_dir / "launch" / "allowed.sh"),
        "service": str(services),
        "log": str(plugvisor.log_dir / "_server.log"),
        "root": "/proc/1/environ",
    }
    results = {name: write_plugin(plugvisor, name, path, runtime) for name, path in named.items()}
    plugvisor.up()
    for name in named:
        failed = plugvisor.post(f"/plugin/{name}/start")
        assert failed.json()["code"] == "start_failed", name
        assert f"{FAILURE}Permission denied" in failed.json()["detail"], name
    assert plugvisor.post("/plugin/allowed/start").status_code == 200
    wait_for_value(allowed, "of the plugins' user")
    assert all(result.read_text() == "" for result in results.values())
    done = plugvisor.command("run", "shadow")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"cannot run 'shadow': {FAILURE}Permission denied ('/etc/shadow')" in done.stderr


def test_by_hand(plugvisor: PlugvisorStack) -> None:
    result = write_plugin(plugvisor, "keyed", "key")
    assert plugvisor.command("render").returncode == 0
    (plugvisor.plugins_dir / "keyed" / "key").write_bytes(b"by hand \xe9\n")
    command = [sys.executable, "-m", "plugvisor", "run", "keyed"]
    with subprocess.Popen(command, env=plugvisor.environ, stdout=subprocess.DEVNULL) as process:
        wait_for(lambda: result.read_bytes() == b"by hand \xe9", "the value")
        process.terminate()


@pytest.mark.parametrize("command", ["check", "render"])
def test_a_missing_file_is_a_warning(plugvisor: PlugvisorStack, command: str) -> None:
    write_plugin(plugvisor, "keyed", "key")
    path = str(plugvisor.plugins_dir / "keyed" / "key")
    done = plugvisor.command(command)
    assert done.returncode == 0
    assert f"keyed: warning: {FAILURE}No such file or directory ({path!r})" in done.stdout
    Path(path).mkdir()
    assert f"{FAILURE}it is no regular file" in plugvisor.command(command).stdout
    Path(path).rmdir()
    Path(path).touch()
    assert "warning" not in plugvisor.command(command).stdout


def test_what_is_shown_of_the_logs_options(plugvisor: PlugvisorStack) -> None:
    options: dict[str, Any] = {"max_size": 65536, "backups": 0}
    plugvisor.write_plugin("small", runtime=f'{QUICK}\nlogs.max_size = "64K"\nlogs.backups = 0')
    plugvisor.up()
    assert plugvisor.get("/plugin/small/manifest").json()["manifest"]["logs"] == options
