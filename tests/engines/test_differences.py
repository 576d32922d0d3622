"""What differs between the engines is what docs/cluster.md says, and is reported where it matters."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from plugvisor.engines.engine import CAPABILITIES

from tests.engines.differences import DIFFERENCES
from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.plugin_processes import find_plugin
from tests.helpers.stack import QUICK, ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.stack import PlugvisorStack

CHECK = """
[plugin_runtime.checks.probe]
exec = ["true"]
level = "ready"
"""


def is_swarm(stack: PlugvisorStack) -> bool:
    return stack.engine == "swarm"


def test_the_documentation_has_the_same_table() -> None:
    section = (ROOT / "docs/cluster.md").read_text().partition("\n## What differs\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    assert rows[0] == ["", "`supervisord`", "`swarm`"]
    assert rows[2:] == [[row.what, row.supervisord, row.swarm] for row in DIFFERENCES]


def test_what_an_engine_lacks_is_in_the_table_and_reported(shared: PlugvisorStack) -> None:
    lacks = shared.get("/server/info").json()["engine"]["lacks"]
    differ = [row.capability for row in DIFFERENCES if row.capability]
    assert sorted(differ) == sorted(CAPABILITIES)
    assert sorted(lacks) == (sorted(CAPABILITIES) if is_swarm(shared) else [])


def test_where_a_plugin_runs(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    shared.start_running(plugin_id)
    told, nodes = shared.status(plugin_id), shared.get("/nodes").json()["nodes"]
    [process] = find_plugin(shared, plugin_id)
    if is_swarm(shared):
        [task] = told["tasks"]
        assert (task["node"], task["state"], task["pid"]) == (told["node"], "running", told["pid"])
        assert [node["name"] for node in nodes] == ["node1", "node2", "node3"]
        assert [node["name"] for node in nodes if plugin_id in node["plugins"]] == [told["node"]]
        assert os.readlink(f"/proc/{process}/ns/pid") != os.readlink("/proc/self/ns/pid")
    else:
        assert told["pid"] == process
        assert "tasks" not in told
        assert len(nodes) == 1
    shared.change(plugin_id, "stop")


def test_where_a_plugin_writes(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    code = f"import os\nprint('may write:', os.access('.', os.W_OK), flush=True)\n{OBEDIENT}"
    plugin_id = add(code, runtime=QUICK)
    shared.start_running(plugin_id)
    assert f"may write: {not is_swarm(shared)}\n" in shared.read_log(plugin_id)
    shared.change(plugin_id, "stop")


def test_a_program_that_does_not_exist(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime='auto_start = false\nsupervisor.startsecs = 5\nsupervisor.autorestart = "false"')
    manifest = shared.plugins_dir / plugin_id / "plugin.toml"
    manifest.write_text(manifest.read_text().replace('"python"', '"no-such-program"'))
    failed = shared.post(f"/plugin/{plugin_id}/start?wait=50").json()
    assert failed["code"] == ("start_failed" if is_swarm(shared) else "invalid_manifest")
    assert "no-such-program" not in failed["detail"], "it may be a secret"
    shared.wait_for_status(plugin_id, "error")
    assert not find_plugin(shared, plugin_id)


def test_what_plugins_use(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    shared.start_running(plugin_id)
    for path in ("/plugin/metrics", f"/plugin/metrics/{plugin_id}", f"/plugin/metrics/{plugin_id}/history"):
        response = shared.get(path)
        assert (response.json().get("code") == "not_supported") == is_swarm(shared), response.text
    assert ("plugvisor_plugin_memory_bytes{" in shared.get("/metrics").text) != is_swarm(shared)
    shared.change(plugin_id, "stop")


def test_an_exec_check_of_level_ready(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    shared.write_plugin(plugin_id, runtime=f"{QUICK}{CHECK}")
    response = shared.post(f"/plugin/{plugin_id}/start?wait=50")
    if is_swarm(shared):
        assert response.json()["code"] == "invalid_manifest"
        assert shared.get("/server/info").json()["engine"]["lacks"]["exec_ready_checks"] in response.json()["detail"]
    else:
        assert response.json()["health"] == "healthy"
        shared.change(plugin_id, "stop")


def test_keys_without_effect(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=f"{QUICK}\ncritical = true\nrestart.factor = 3.0\nsupervisor.priority = 5")
    told = "\n".join(shared.get(f"/plugin/{plugin_id}/manifest").json().get("warnings", []))
    for key in ("critical", "factor", "priority"):
        assert (f"`{key}`" in told) == is_swarm(shared), told
