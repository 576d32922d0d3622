"""`plugvisor doctor` on a real swarm, whole and broken."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.helpers.swarm.lab import SwarmLab
    from tests.helpers.swarm.stack import SwarmStack

DOWN_SECONDS = 60.0
"""A manager takes its time until it counts a node as down."""


@pytest.fixture(autouse=True)
def mended(swarm_lab: SwarmLab) -> Iterator[None]:
    """The lab is whole again after each test."""
    yield
    swarm_lab.repair()


def examine(stack: SwarmStack, **environ: str) -> list[tuple[str, str]]:
    """The levels and sentences of the check of the swarm, but those that are ok."""
    done = stack.command("doctor", "--json", PLUGVISOR_HOST=f"unix://{stack.root}/free.sock", **environ)
    findings = [each for each in json.loads(done.stdout)["findings"] if each["level"] != "ok"]
    assert {each["check"] for each in findings} <= {"swarm"}, findings
    return [(each["level"], each["detail"]) for each in findings]


def test_a_whole_swarm(swarm_stack: SwarmStack) -> None:
    assert examine(swarm_stack) == []


def test_what_the_settings_ask_for_is_not_there(swarm_stack: SwarmStack) -> None:
    environ = {"PLUGVISOR_NETWORK": "nowhere", "PLUGVISOR_REGISTRY": "127.0.0.1:5999"}
    assert examine(swarm_stack, **environ) == [
        ("problem", "there is no network 'nowhere' in the swarm"),
        ("problem", "the Docker Engine does not reach the registry 127.0.0.1:5999"),
    ]


def test_managers_that_are_down(swarm_stack: SwarmStack, swarm_lab: SwarmLab) -> None:
    first, second, third = swarm_lab.nodes
    third.kill()
    quorum = ("warning", "2 of 3 managers can be reached: one less, and the swarm has no quorum")
    wait_for(lambda: quorum in examine(swarm_stack), "the manager to be missed", DOWN_SECONDS)
    assert any(f"unix://{third.socket}: " in detail for _, detail in examine(swarm_stack))
    second.kill()

    def has_no_quorum() -> bool:
        return any(level == "problem" and "quorum" in detail for level, detail in examine(swarm_stack))

    wait_for(has_no_quorum, "the quorum to be missed", DOWN_SECONDS)
    first.kill()
    found = examine(swarm_stack)
    assert [level for level, _ in found] == ["problem"]
    assert "no manager of the swarm answers" in found[0][1]
