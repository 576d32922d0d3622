"""What the plugins folder holds, whichever engine runs it: the list, and reading it again."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from tests.helpers.plugin_processes import find_plugin
from tests.helpers.stack import QUICK

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.stack import PlugvisorStack

NOTHING: dict[str, list[str]] = {"added": [], "changed": [], "removed": [], "invalid": []}


def listed(stack: PlugvisorStack) -> dict[str, dict[str, Any]]:
    """The list, by id."""
    return {plugin["id"]: plugin for plugin in stack.http.get("/plugins").json()["plugins"]}


def test_a_new_plugin_is_added_and_not_started(shared: PlugvisorStack) -> None:
    shared.write_plugin("new")
    assert shared.post("/plugins/refresh").json() == NOTHING | {"added": ["new"]}
    assert listed(shared)["new"]["status"] == "stopped"
    assert shared.post("/plugins/refresh").json() == NOTHING


def test_a_plugin_whose_folder_is_gone_is_stopped_and_removed(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    shared.start_running(plugin_id)
    processes = find_plugin(shared, plugin_id)
    shutil.move(shared.plugins_dir / plugin_id, shared.root / plugin_id)
    assert shared.post("/plugins/refresh").json() == NOTHING | {"removed": [plugin_id]}
    assert processes
    assert not find_plugin(shared, plugin_id)
    assert plugin_id not in listed(shared)


def test_a_changed_manifest_is_applied_at_the_next_start(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    code = "import os, signal\nprint('ready', os.environ['WHICH'], flush=True)\nsignal.pause()\n"
    plugin_id = add(code, runtime=f'{QUICK}\nenvironment.WHICH = "first"')
    shared.start_running(plugin_id)
    processes = find_plugin(shared, plugin_id)
    shared.write_plugin(plugin_id, code, runtime=f'{QUICK}\nenvironment.WHICH = "second"')
    assert shared.post("/plugins/refresh").json() == NOTHING | {"changed": [plugin_id]}
    assert find_plugin(shared, plugin_id) == processes
    shared.change(plugin_id, "stop")
    shared.start_running(plugin_id)
    assert shared.read_log(plugin_id).splitlines() == ["ready first", "ready second"]


def test_a_plugin_whose_manifest_has_become_invalid_keeps_running(
    shared: PlugvisorStack, add: Callable[..., str]
) -> None:
    plugin_id = add(runtime=QUICK)
    shared.start_running(plugin_id)
    shared.write_plugin(plugin_id, runtime="enabled = maybe")
    assert shared.post("/plugins/refresh").json() == NOTHING | {"invalid": [plugin_id]}
    told = listed(shared)[plugin_id]
    assert (told["status"], told["enabled"]) == ("running", False)
    assert "plugin.toml" in told["detail"]
    shared.change(plugin_id, "stop")
    shutil.rmtree(shared.plugins_dir / plugin_id)
    assert shared.post("/plugins/refresh").json()["removed"] == [plugin_id]
