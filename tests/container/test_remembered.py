"""What outlives the container: its successor has the same volumes, and knows what was asked for and by whom."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.container.engine import HARDENED, write_plugin
from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.stack import ADMIN_CODE
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.container.compose import Project
    from tests.container.engine import Container

LIST_STATE = """
import os
try:
    print(os.listdir("/var/lib/plugvisor"))
except OSError as error:
    print(error.strerror)
"""


def test_another_container_in_its_place(compose: Callable[..., Project], plugins: Path, tmp_path: Path) -> None:
    code = tmp_path / "admin_code"
    code.write_text(ADMIN_CODE + "\n")
    for plugin_id in ("kept", "stopped", "disabled"):
        write_plugin(plugins, plugin_id, OBEDIENT)
    write_plugin(plugins, "started", OBEDIENT, "auto_start = false")
    project = compose(PLUGVISOR_ADMIN_CODE_FILE=str(code), PLUGVISOR_PLUGINS_DIR=str(plugins))
    first = project.up()
    arguments = ["identity", "add", "deploy", "--role", "operator"]
    token = project.run("exec", "-T", "plugvisor", "plugvisor", *arguments).strip()
    assert first.post("/plugin/stopped/stop", code=token).json()["status"] == "stopped"
    assert first.post("/plugin/started/start?wait=50", code=token).json()["status"] == "running"
    assert first.post("/plugin/disabled/disable", code=token).json()["status"] == "stopped"

    second = project.recreate()
    assert second.name != first.name
    second.wait_for_status("kept", "running")
    second.wait_for_status("started", "running")
    plugins_of_second = {plugin["id"]: plugin for plugin in second.get("/plugins").json()["plugins"]}
    assert {name: plugin["status"] for name, plugin in plugins_of_second.items()} == {
        "disabled": "stopped", "kept": "running", "started": "running", "stopped": "stopped",
    }  # fmt: skip
    assert plugins_of_second["stopped"]["intent"]["by"] == "deploy"
    assert not plugins_of_second["disabled"]["enabled"]
    assert second.post("/plugin/stopped/start", code=token).json()["message"] == "Plugin started successfully"
    entries = json.loads(
        "[" + ",".join(project.run("exec", "-T", "plugvisor", "plugvisor", "journal", "--json").splitlines()) + "]"
    )
    done = [(entry.get("verb"), entry.get("plugin_id"), entry.get("identity")) for entry in entries]
    assert ("stop", "stopped", "deploy") in done, "which its predecessor has noted"
    assert ("add", None, "admin") in done


def test_who_can_reach_the_store(run: Callable[..., Container]) -> None:
    container = run(*HARDENED).wait_until_ready()
    wait_for(lambda: "plugvisor.db" in container.execute("ls", "/var/lib/plugvisor", user="plugvisor"), "the store")
    modes = container.execute("sh", "-c", "stat -c %a /var/lib/plugvisor/*", user="plugvisor").split()
    assert {mode[-1] for mode in modes} == {"0"}, "others have no access"
    assert container.run_python(LIST_STATE, user="plugin") == "Permission denied\n"


def test_a_state_folder_that_cannot_be_written(run: Callable[..., Container], plugins: Path) -> None:
    """Without its volume, below a read-only root: nothing is remembered, and all else works."""
    write_plugin(plugins, "own", OBEDIENT)
    container = run(
        *("--read-only", "--tmpfs", "/run/plugvisor:mode=0711", "--tmpfs", "/var/log/plugvisor", "--tmpfs", "/tmp"),
        *("--volume", f"{plugins}:/plugins:ro"),
    ).wait_until_ready()
    container.wait_for_status("own", "running")
    stopped = container.post("/plugin/own/stop").json()
    assert (stopped["status"], stopped["remembered"]) == ("stopped", False)
    assert container.post("/plugin/own/start").status_code == 200
    assert container.post("/identities/admin/rotate").json()["code"] == "store_unavailable"
    assert container.execute("plugvisor", "health").strip() == "healthy"
