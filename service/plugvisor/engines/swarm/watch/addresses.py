"""Where the tasks of a plugin can be reached."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from plugvisor.engines.engine import Address
from plugvisor.errors import NotRunning, NotSupported

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugvisor.engines.swarm.watch.answers import SwarmNode, SwarmTask
    from plugvisor.models.process import Process

HOST = "host"
"""The network of the nodes themselves."""


def find_address(task: SwarmTask, node: SwarmNode | None) -> str:
    """The address of a task, or of its node if it has the node's own network; empty if there is none."""
    for attachment in task.networks or ():
        for address in attachment.addresses or ():
            return address.partition("/")[0]
        if node is not None and attachment.network.spec.name == HOST:
            return _find_node_address(node)
    return ""


def locate_tasks(process: Process, host: str, network: str) -> Sequence[Address]:
    """Where to reach what a plugin's tasks call `host`: any other than themselves is where it says.

    Args:
        network: the setting; empty if it is not set.

    Raises:
        NotRunning, NotSupported
    """
    if not _is_loopback(host):
        return (Address(host),)
    running = [task for task in process.tasks if task.state == "running" and not task.is_lost]
    if not running:
        raise NotRunning("no task of it is running")
    if not network:
        raise NotSupported(
            "PLUGVISOR_NETWORK is not set: without a network that both have joined, a plugin on another node cannot "
            "be reached"
        )
    if not all(task.address for task in running):
        raise NotSupported(f"it has not joined the network {network!r}: reload it")
    is_one = len(running) == 1
    return [Address(task.address, "" if is_one else task.node) for task in running]


def _find_node_address(node: SwarmNode) -> str:
    """A manager alone may not know its own address, and says so by 0.0.0.0; the other managers' one of it is right."""
    if node.status.addr in ("", "0.0.0.0", "::") and node.manager is not None:  # noqa: S104 - nothing listens here
        return node.manager.addr.rpartition(":")[0].strip("[]")
    return node.status.addr


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
