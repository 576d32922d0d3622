"""The image that plugins run in, stored once for all nodes of all labs."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from tests.helpers.swarm.lab import SwarmLab
from tests.helpers.swarm.node import LabError, LabNode

if TYPE_CHECKING:
    from pathlib import Path


def store_image(folder: Path, tag: str, users: Path) -> Path:
    """Have an Engine load an image of this machine's; returns what it has stored, for the nodes of a lab.

    Loading an image into each node would take seconds of both cores for every lab.

    Args:
        folder: as that of a lab, and as long-lived: until no process holds a shared lock of `users` any more.
    """
    SwarmLab(folder, nodes=0).up(users=users)
    node = LabNode(folder / "0")
    node.start()
    with subprocess.Popen(["docker", "save", tag], stdout=subprocess.PIPE) as save:
        environ = os.environ | {"DOCKER_HOST": f"unix://{node.socket}"}
        loaded = subprocess.run(["docker", "load", "--quiet"], env=environ, stdin=save.stdout, check=False)
    if save.returncode != 0 or loaded.returncode != 0:
        raise LabError(f"cannot load {tag}")
    node.shut_down()
    return node.home / "data"
