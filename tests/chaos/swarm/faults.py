"""What befalls the nodes and the service, and how it is undone."""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.helpers.swarm.node import LabError
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from tests.chaos.swarm.activity import Activity
    from tests.chaos.swarm.containers import ContainerWatcher
    from tests.chaos.swarm.rounds import Fault
    from tests.helpers.swarm.node import LabNode
    from tests.helpers.swarm.stack import SwarmStack


class Faults:
    """One fault at a time."""

    def __init__(self, stack: SwarmStack, activity: Activity, watcher: ContainerWatcher) -> None:
        self.service_kills = 0
        self._stack = stack
        self._lab = stack.lab
        self._activity = activity
        self._watcher = watcher

    def begin(self, fault: Fault) -> threading.Thread:
        """Have it come and go in a thread, which ends with it."""
        thread = threading.Thread(target=self._act, args=(fault,))
        thread.start()
        return thread

    def _act(self, fault: Fault) -> None:
        try:
            time.sleep(fault.after_seconds)
            self._do(fault)
        except (Exception, pytest.fail.Exception):  # noqa: BLE001 - a thread's error would be lost
            self._watcher.report(f"the test itself, in {fault}: {traceback.format_exc()}")

    def _do(self, fault: Fault) -> None:
        match fault.kind:
            case "kill-node" | "kill-leader":
                self._kill_nodes([self._choose(fault)], fault.seconds)
            case "lose-quorum":
                one = self._choose(fault)
                self._kill_nodes([one, next(node for node in self._lab.nodes if node is not one)], fault.seconds)
            case "cut-node" | "cut-leader":
                node = self._choose(fault)
                with self._activity.fault([node.name]):
                    self._lab.cut(node)
                    time.sleep(fault.seconds)
                    self._lab.heal(node)
            case "freeze":
                node = self._choose(fault)
                pid = find_dockerd(node)
                with self._activity.fault([node.name]):
                    os.kill(pid, signal.SIGSTOP)
                    time.sleep(fault.seconds)
                    os.kill(pid, signal.SIGCONT)
            case "drain":
                node = self._choose(fault)
                with self._activity.fault():
                    self._lab.set_availability(node, "drain")
                    time.sleep(fault.seconds)
                    self._lab.set_availability(node, "active")
            case "kill-service":
                with self._activity.fault():
                    self._activity.forget_under_way()
                    self.service_kills += 1
                    self._stack.restart_service()

    def _kill_nodes(self, nodes: list[LabNode], seconds: float) -> None:
        with self._activity.fault():
            for node in nodes:
                node.kill()
            time.sleep(seconds)
            for node in nodes:
                self._lab.start(node)

    def _choose(self, fault: Fault) -> LabNode:
        leader = wait_for(self._find_leader, "a leader")
        if fault.kind.endswith("leader"):
            return leader  # type: ignore[no-any-return]
        others = [node for node in self._lab.nodes if node is not leader]
        return others[int(fault.choice * len(others))]

    def _find_leader(self) -> LabNode | None:
        try:
            return self._lab.leader
        except LabError:
            return None


def find_dockerd(node: LabNode) -> int:
    """The pid of a node's dockerd, as this machine numbers it."""
    for child in Path(f"/proc/{node.pid}/task/{node.pid}/children").read_text().split():
        if Path(f"/proc/{child}/comm").read_text().strip() == "dockerd":
            return int(child)
    raise LabError(f"{node.name} has no dockerd")
