"""The service is killed in the middle of what it does, and started again."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from tests.helpers.plugin_processes import find_plugin
from tests.helpers.stack import QUICK
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from tests.helpers.swarm.stack import SwarmStack


def list_names(stack: SwarmStack, kind: str) -> set[str]:
    """The names of all configs or secrets but those of what the service remembers."""
    names = stack.docker(kind, "ls", "--format", "{{.Name}}").split()
    return {name for name in names if not name.startswith("plugvisor-state-")}


def test_nothing_is_left_of_a_plugin_whose_removal_was_interrupted(swarm_stack: SwarmStack) -> None:
    """Its service is gone, and its configs are not yet; what is somebody else's stays."""
    for name in ("removed", "stays"):
        swarm_stack.write_plugin(name, runtime=QUICK)
    swarm_stack.up()
    for name in ("removed", "stays"):
        swarm_stack.start_running(name)
    config = str(swarm_stack.plugins_dir / "stays" / "main.py")
    swarm_stack.docker("config", "create", "--label", "plugvisor.id=removed", "plugvisor-removed-theirs", config)
    before = {kind: list_names(swarm_stack, kind) for kind in ("config", "secret")}
    swarm_stack.down()
    swarm_stack.docker("service", "rm", "plugvisor-removed")
    shutil.rmtree(swarm_stack.plugins_dir / "removed")
    wait_for(lambda: not find_plugin(swarm_stack, "removed"), "its end")
    assert {kind: list_names(swarm_stack, kind) for kind in before} == before
    swarm_stack.up()
    wait_for(
        lambda: not any("-removed-" in name for name in list_names(swarm_stack, "secret")), "the secret to be removed"
    )
    left = {name for name in before["config"] if "-removed-" not in name} | {"plugvisor-removed-theirs"}
    wait_for(lambda: list_names(swarm_stack, "config") == left, "the configs to be removed")
    assert len(find_plugin(swarm_stack, "stays")) == 1
    swarm_stack.post("/plugin/stays/reload")
    assert swarm_stack.wait_for_status("stays", "running")
