"""What is remembered decides which plugins are started at boot."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from plugvisor.engines.supervisord.extension.intents.boot_starts import STARTS_FILE
from plugvisor.engines.supervisord.extension.intents.request_file import REQUESTS_FILE
from plugvisor.models.stored.intent import Intent
from plugvisor.store.folder import FILE_NAME
from plugvisor.store.schema import open_database
from plugvisor.store.tables.intents import save_disabled, save_intent

from tests.stack.test_emptied_run_folder import use_two_users

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helpers.stack import PlugvisorStack

AUTO = ("auto", "manual")
QUICK = "supervisor.startsecs = 0\nauto_start = "
KEPT = "those are started that were to be started the last time"


def write_plugins(plugvisor: PlugvisorStack) -> None:
    """Plugins that start by themselves and others, named by that, and by what is remembered of them."""
    plugvisor.write_plugin("zz-last", runtime=f"{QUICK}true\nsupervisor.priority = 1000")
    for auto in AUTO:
        for name in ("unknown", "wanted", "unwanted", "disabled"):
            plugvisor.write_plugin(f"{auto}-{name}", runtime=f"{QUICK}{str(auto == 'auto').lower()}")


def remember(plugvisor: PlugvisorStack) -> Path:
    """Have the store remember what their names say; returns its file."""
    folder = plugvisor.root / "state"
    folder.mkdir(mode=0o700)
    with closing(open_database(folder / FILE_NAME)) as connection:
        for auto in AUTO:
            save_intent(connection, f"{auto}-wanted", Intent("running", "ops", 1.0))
            save_intent(connection, f"{auto}-unwanted", Intent("stopped", "ops", 1.0))
            save_intent(connection, f"{auto}-disabled", Intent("running", "ops", 1.0))
            save_disabled(connection, f"{auto}-disabled", "ops", 1.0)
    return folder / FILE_NAME


WANTED = ["auto-unknown", "auto-wanted", "manual-wanted"]
BY_MANIFEST = ["auto-disabled", "auto-unknown", "auto-unwanted", "auto-wanted"]


def list_running(plugvisor: PlugvisorStack) -> list[str]:
    """The plugins that were started at boot, once the last one in supervisord's order runs."""
    plugvisor.wait_for_status("zz-last", "running")
    plugins = plugvisor.http.get("/plugin/status").json()["plugins"]
    return sorted(name for name, plugin in plugins.items() if plugin["status"] == "running" and name != "zz-last")


@pytest.mark.parametrize("users", ["one user", "two users"])
def test_a_boot(plugvisor: PlugvisorStack, users: str) -> None:
    if users == "two users":
        use_two_users(plugvisor)
    write_plugins(plugvisor)
    remember(plugvisor)
    if users == "two users":
        for path in (plugvisor.root / "state", *(plugvisor.root / "state").iterdir()):
            shutil.chown(path, "daemon", "daemon")
    plugvisor.up()
    assert list_running(plugvisor) == WANTED
    assert KEPT not in plugvisor.output_path.read_text()


def test_without_a_store(plugvisor: PlugvisorStack) -> None:
    """What an earlier one has left in the run folder does not apply."""
    write_plugins(plugvisor)
    (plugvisor.run_dir / "launch").mkdir(mode=0o700, parents=True)
    plugvisor.run_dir.chmod(0o700)
    (plugvisor.run_dir / "launch" / STARTS_FILE).write_text('{"manual-unknown": true, "auto-unknown": false}')
    plugvisor.up()
    assert list_running(plugvisor) == BY_MANIFEST


def test_nothing_is_to_be_remembered(plugvisor: PlugvisorStack) -> None:
    """What is disabled is not started all the same."""
    write_plugins(plugvisor)
    remember(plugvisor)
    plugvisor.environ["PLUGVISOR_REMEMBER"] = "false"
    plugvisor.up()
    assert list_running(plugvisor) == [name for name in BY_MANIFEST if name != "auto-disabled"]


def test_what_was_asked_for_while_no_service_ran(plugvisor: PlugvisorStack) -> None:
    write_plugins(plugvisor)
    remember(plugvisor)
    plugvisor.up()
    assert list_running(plugvisor) == WANTED
    plugvisor.ctl("stop", "plugvisor")
    plugvisor.ctl("stop", "auto-wanted")
    plugvisor.ctl("stop", "auto-unknown:*")
    for name in ("auto-unwanted", "manual-unknown", "manual-disabled"):
        plugvisor.ctl("start", name)
    plugvisor.down()
    plugvisor.up()
    assert list_running(plugvisor) == ["auto-unwanted", "manual-unknown", "manual-wanted"]
    plugvisor.down()
    plugvisor.environ["PLUGVISOR_REMEMBER"] = "false"
    plugvisor.up()
    assert list_running(plugvisor) == [name for name in BY_MANIFEST if name != "auto-disabled"]
    assert not (plugvisor.run_dir / REQUESTS_FILE).exists()


def test_for_a_supervisord_that_others_start(plugvisor: PlugvisorStack) -> None:
    write_plugins(plugvisor)
    remember(plugvisor)
    done = plugvisor.command("render")
    assert (done.returncode, done.stderr) == (0, "")
    starts = {f"{auto}-{name}": name == "wanted" for auto in AUTO for name in ("wanted", "unwanted", "disabled")}
    assert json.loads((plugvisor.run_dir / "launch" / STARTS_FILE).read_text()) == starts


def test_a_dependency_that_is_not_wanted(plugvisor: PlugvisorStack) -> None:
    """What requires a plugin that somebody has stopped waits for its start; one that is disabled is a failure."""
    for name in ("stopped", "disabled"):
        plugvisor.write_plugin(name, runtime=f"{QUICK}true")
        plugvisor.write_plugin(f"needs-{name}", runtime=f"{QUICK}true\ndepends_on.{name}.required = true")
    folder = plugvisor.root / "state"
    folder.mkdir(mode=0o700)
    with closing(open_database(folder / FILE_NAME)) as connection:
        save_intent(connection, "stopped", Intent("stopped", "ops", 1.0))
        save_disabled(connection, "disabled", "ops", 1.0)
    plugvisor.up()
    plugvisor.wait_for_status("needs-disabled", "error")
    waiting = plugvisor.status("needs-stopped")
    assert (waiting["status"], waiting["queued"], waiting["unmet"]) == ("starting", True, ["stopped"])
    assert waiting["detail"] == "it waits for 'stopped' (stopped by 'ops')"
    assert plugvisor.status("stopped")["status"] == "stopped"
    plugvisor.post("/plugin/stopped/start").raise_for_status()
    plugvisor.wait_for_status("needs-stopped", "running")
    assert plugvisor.status("needs-disabled")["detail"] == "it was not started: its dependency 'disabled' is disabled"
    assert plugvisor.status("disabled")["status"] == "stopped"


def test_a_start_of_what_requires_a_plugin_that_waits_for_a_stopped_one(plugvisor: PlugvisorStack) -> None:
    """It starts all three, and is rejected if one of them cannot be started."""
    plugvisor.write_plugin("stopped", runtime=f"{QUICK}true")
    plugvisor.write_plugin("waiting", runtime=f"{QUICK}true\ndepends_on.stopped.required = true")
    plugvisor.write_plugin("asked", runtime=f"{QUICK}false\ndepends_on.waiting.required = true")
    folder = plugvisor.root / "state"
    folder.mkdir(mode=0o700)
    with closing(open_database(folder / FILE_NAME)) as connection:
        save_intent(connection, "stopped", Intent("stopped", "ops", 1.0))
    plugvisor.up()
    assert plugvisor.status("waiting")["queued"]
    manifest = plugvisor.plugins_dir / "stopped" / "plugin.toml"
    text = manifest.read_text()
    manifest.write_text("[plugin")
    rejected = plugvisor.post("/plugin/asked/start")
    assert (rejected.status_code, rejected.json()["code"]) == (409, "dependency_failed"), rejected.text
    manifest.write_text(text)
    assert plugvisor.post("/plugin/asked/start").is_success
    for name in ("stopped", "waiting", "asked"):
        plugvisor.wait_for_status(name, "running")


def test_the_store_cannot_be_read(plugvisor: PlugvisorStack) -> None:
    """What was wanted the last time applies, and a warning says so."""
    write_plugins(plugvisor)
    path = remember(plugvisor)
    plugvisor.up()
    assert list_running(plugvisor) == WANTED
    plugvisor.down()
    path.write_bytes(os.urandom(8192))
    path.with_name(f"{path.name}-wal").unlink(missing_ok=True)
    plugvisor.up()
    assert list_running(plugvisor) == WANTED
    assert KEPT in plugvisor.output_path.read_text()


def test_it_cannot_be_written(plugvisor: PlugvisorStack) -> None:
    """Everything runs all the same, as the manifests say."""
    write_plugins(plugvisor)
    remember(plugvisor)
    (plugvisor.run_dir / "launch" / STARTS_FILE).mkdir(mode=0o700, parents=True)
    plugvisor.run_dir.chmod(0o700)
    plugvisor.up()
    assert list_running(plugvisor) == BY_MANIFEST
    assert "warning: cannot write which plugins are started" in plugvisor.output_path.read_text()
