"""Two Plugvisors in one swarm: neither sees or changes what the other has, or both say that they have one name."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.helpers.plugin_processes import find_plugin
from tests.helpers.stack import QUICK
from tests.helpers.swarm.stack import run_swarm_stack
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.helpers.swarm.lab import SwarmLab
    from tests.helpers.swarm.stack import SwarmStack

SECOND = "second"
NOTICE_SECONDS = 150.0
"""Each has to write twice, for which a busy machine's managers take their time."""
HASTY = """\
from plugvisor.manager.kept_state import keeper, rival
rival.CLAIM_SECONDS, keeper.LOOK_SECONDS = 1.0, 0.5
"""


@pytest.fixture
def second(swarm_lab: SwarmLab, image: str) -> Iterator[SwarmStack]:
    with run_swarm_stack(swarm_lab, image) as stack:
        stack.environ["PLUGVISOR_NAME"] = SECOND
        yield stack


def list_objects(stack: SwarmStack, owner: str) -> set[str]:
    """The ids of the services, secrets and configs whose names begin with that."""
    found: set[str] = set()
    for kind in ("service", "secret", "config"):
        lines = stack.docker(kind, "ls", "--format", "{{.ID}} {{.Name}}").splitlines()
        found |= {line.split()[0] for line in lines if line.split()[1].startswith(f"{owner}-")}
    return found


def list_shown(stack: SwarmStack) -> set[str]:
    return set(stack.get("/plugin/status").json()["plugins"])


def test_neither_sees_or_changes_what_the_other_has(swarm_stack: SwarmStack, second: SwarmStack) -> None:
    first = swarm_stack
    for stack, own in ((first, "here"), (second, "there")):
        stack.write_plugin("both", runtime=QUICK)
        stack.write_plugin(own, runtime=QUICK)
        stack.up()
        stack.start_running("both")
        stack.start_running(own)
    assert (list_shown(first), list_shown(second)) == ({"both", "here"}, {"both", "there"})
    (theirs,), before = find_plugin(second, "both"), list_objects(first, SECOND)
    assert before
    # the one restarts, reloads, and removes each of its plugins
    first.restart_service()
    first.change("both", "reload")
    for plugin_id in ("both", "here"):
        first.change(plugin_id, "stop")
        shutil.rmtree(first.plugins_dir / plugin_id)
    assert first.post("/plugins/refresh").status_code == 200
    wait_for(lambda: {"both", "here"}.isdisjoint(list_shown(first)), "both to be removed")
    first.restart_service()  # which also removes what is left of plugins that are gone
    wait_for(lambda: not [name for name in list_names(first) if name.startswith("plugvisor-both-")], "the secret")
    # and nothing of the other has changed
    assert find_plugin(second, "both") == [theirs]
    assert list_objects(first, SECOND) == before
    assert second.status("both")["status"] == "running"
    second.change("both", "reload")
    assert second.wait_for_status("both", "running")
    assert list_shown(first) == set()


def list_names(stack: SwarmStack) -> list[str]:
    return stack.docker("secret", "ls", "--format", "{{.Name}}").split()


def list_findings(stack: SwarmStack) -> list[tuple[str, str]]:
    """The levels of what `plugvisor doctor` finds, and what it says about it."""
    findings = json.loads(stack.command("doctor", "--json").stdout)["findings"]
    return [(each["level"], f"{each['detail']}; {each['advice']}") for each in findings]


def test_two_with_one_name_say_so(swarm_stack: SwarmStack, second: SwarmStack) -> None:
    del second.environ["PLUGVISOR_NAME"]
    for stack in (swarm_stack, second):
        (stack.root / "sitecustomize.py").write_text(HASTY)
        stack.environ["PYTHONPATH"] = str(stack.root)
        stack.up()
    for stack in (swarm_stack, second):
        warning = wait_for(lambda: stack.get("/available").json().get("warning"), "it", NOTICE_SECONDS)  # noqa: B023
        assert "another Plugvisor with the same PLUGVISOR_NAME" in warning
        # while managers do not answer in time, it says that instead
        wait_for(lambda: ("warning", warning) in list_findings(stack), "the doctor to say it")  # noqa: B023
        assert warning in stack.service_log
