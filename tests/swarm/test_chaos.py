"""Random operations and faults for a short while, as `scripts/chaos --engine swarm`; and whether that can fail."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from tests.chaos.swarm.activity import ANYTHING, Activity
from tests.chaos.swarm.containers import ContainerWatcher
from tests.chaos.swarm.folders import Folders
from tests.chaos.swarm.rounds import make_rounds
from tests.chaos.swarm.run import run_rounds
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from tests.helpers.stack import PlugvisorStack
    from tests.helpers.swarm.lab import SwarmLab
    from tests.helpers.swarm.stack import SwarmStack

SECONDS = 20.0
LIGHT = ("none", "drain", "kill-service")
"""Faults after which nothing has to wait for the swarm to notice that a node is gone."""


def test_the_promises_hold(swarm_lab: SwarmLab, image: str) -> None:
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(1_000_000))
    print(f"CHAOS_SEED={seed}")  # noqa: T201 - shown if the test fails, and by -s
    result = run_rounds(swarm_lab, image, make_rounds(seed, faults=LIGHT), SECONDS)
    print(result)  # noqa: T201
    assert not result.violations, result.violations
    assert result.rounds


# -- the judge


@pytest.fixture
def activity() -> Activity:
    return Activity()


def create(stack: SwarmStack, name: str, replicas: int, image: str) -> None:
    """Have the swarm run a service that looks like a plugin's, past Plugvisor."""
    options = ("--detach", "--no-healthcheck", "--init", "--endpoint-mode", "dnsrr", "--replicas", str(replicas))
    stack.docker("service", "create", *options, "--name", f"plugvisor-{name}", "--entrypoint", "sleep", image, "1000")


def test_two_containers_of_a_plugin_are_found(swarm_stack: SwarmStack, image: str, activity: Activity) -> None:
    with ContainerWatcher(swarm_stack.lab, activity) as watcher:
        create(swarm_stack, "alpha", 2, image)
        [violation] = wait_for(lambda: watcher.violations, "a violation")
    assert violation.count("alpha ") == 2


def test_what_is_apart_is_judged_by_itself(swarm_stack: SwarmStack, image: str, activity: Activity) -> None:
    names = [node.name for node in swarm_stack.lab.nodes]
    with ContainerWatcher(swarm_stack.lab, activity) as watcher, activity.fault(names):
        create(swarm_stack, "twins", 3, image)  # one more than it may have, each on a node of its own
        wait_for(lambda: len(watcher.read("twins")) == 3, "all of them")
        looks = watcher.looks
        wait_for(lambda: watcher.looks > looks + 1, "the watcher to have seen them")
        assert not watcher.violations


def test_what_lives_after_its_stop_is_found(swarm_stack: SwarmStack, image: str, activity: Activity) -> None:
    with ContainerWatcher(swarm_stack.lab, activity) as watcher:
        create(swarm_stack, "alpha", 1, image)
        wait_for(lambda: watcher.read("alpha"), "it to live")
        with activity.doing("alpha") as interval:
            activity.note_gone("alpha", interval)
        [violation] = wait_for(lambda: watcher.violations, "a violation")
    assert "2: alpha" in violation


def test_a_stop_says_nothing_if_something_may_have_started_the_plugin(activity: Activity) -> None:
    with activity.doing("alpha", starts=True), activity.doing("alpha") as stop:
        activity.note_gone("alpha", stop)
    assert not activity.list_gone()
    with activity.doing("alpha") as stop:
        pass
    activity.note_gone("alpha", stop)
    assert activity.is_still_gone("alpha", activity.list_gone())
    with activity.doing("needing", starts=True):  # which starts what it requires
        assert not activity.list_gone()


def test_what_a_plugin_must_be_at_rest(activity: Activity) -> None:
    def do(wanted: str) -> None:
        with activity.doing("alpha") as interval:
            activity.note("alpha", wanted, interval)

    assert activity.get_wanted("alpha") == ANYTHING
    do("running")
    do("stopped")
    assert activity.get_wanted("alpha") == "stopped"
    activity.begin_round()
    assert activity.get_wanted("alpha") == "stopped", "nothing was done since"
    with activity.doing("alpha") as one, activity.doing("alpha") as other:
        activity.note("alpha", "running", one)
        activity.note("alpha", "stopped", other)
    assert activity.get_wanted("alpha") == ANYTHING, "nobody knows which came last"
    do("running")
    activity.forget("alpha")
    assert activity.get_wanted("alpha") == ANYTHING


def test_a_fault_excuses_until_it_has_settled(activity: Activity, monkeypatch: pytest.MonkeyPatch) -> None:
    with activity.doing("alpha") as before:
        assert activity.was_alone("alpha", before)
    with activity.fault(["node2"]):
        assert activity.find_side("node2") != activity.find_side("node1") == activity.find_side("node3")
        assert not activity.was_alone("alpha", before)
    assert activity.find_side("node2") == "node2", "it has not settled"
    monkeypatch.setattr("tests.chaos.swarm.activity.SETTLE_SECONDS", 0.0)
    with activity.fault():
        pass
    assert wait_for(lambda: activity.find_side("node2") == "", "everything to have settled")


# -- the folders


def test_a_folder_that_the_service_has_brought_back_is_repaired_and_can_be_removed(plugvisor: PlugvisorStack) -> None:
    folders, folder = Folders(plugvisor), plugvisor.plugins_dir / "alpha"  # type: ignore[arg-type]

    def remove_and_bring_back() -> None:
        folders.change("remove", "alpha")
        assert not folder.exists()
        folder.mkdir()
        (folder / "plugin.toml").write_text("[plugin\n")

    folders.write_all()
    good = (folder / "plugin.toml").read_text()
    remove_and_bring_back()
    remove_and_bring_back()  # with a copy of the first removal still there
    folders.restore()
    assert (folder / "plugin.toml").read_text().splitlines()[:3] == good.splitlines()[:3]
    folders.change("remove", "alpha")
    folders.restore()
    assert (folder / "main.py").exists()
