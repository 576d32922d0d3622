"""A real swarm of several nodes on one machine, without a trace on the machine's own network.

Each node is a dockerd in namespaces of its own (network, mounts, processes, host name); a bridge joins them, in the
network of the lab's keeper, the process that ends the lab. Needs root, `docker.io` and `iproute2`, but no kernel module
and no network.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.helpers.swarm.node import (
    LabError,
    LabNode,
    find_hardware_address,
    find_process,
    kill,
    remove_control_groups,
    run,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

LABS = Path("/var/lib/plugvisor-labs")
"""Not in /tmp, which may be a file system that containers cannot lie on."""
NETWORK = "10.99.0"
"""The same for every lab: they do not see each other."""
GATEWAY = f"{NETWORK}.254"
"""The lab's own address, at which nodes reach what runs in its network, such as a registry."""
HEARTBEAT_SECONDS = 1
"""After three of which a silent node is down."""
ROOT = Path(__file__).resolve().parents[3]


def explain_absence() -> str:
    """Why there can be no lab on this machine; empty if there can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a swarm for tests needs Linux and root"
    for program, package in (("dockerd", "docker.io"), ("ip", "iproute2"), ("nsenter", "util-linux"), ("bash", "bash")):
        if shutil.which(program) is None:
            return f"a swarm for tests needs {program} ({package})"
    made = subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, text=True, check=False)
    return "" if made.returncode == 0 else f"a swarm for tests needs namespaces: {made.stderr.strip()}"


class SwarmLab:
    """A swarm. `up()`, then talk to its nodes; `down()` leaves nothing.

    Attributes:
        folder: holds all that it has; another folder is another lab.
        nodes: the first is `nodes[0]`, with the name `node1` and the address 10.99.0.1.
    """

    def __init__(self, folder: Path, nodes: int = 3, managers: int = 3) -> None:
        self.folder = folder
        numbers = range(1, nodes + 1)
        self.nodes = [LabNode(folder / str(number), f"{NETWORK}.{number}", f"{NETWORK}.0/24") for number in numbers]
        self.managers = self.nodes[:managers]

    # -- its life

    def up(
        self,
        *,
        users: Path | None = None,
        data: Path | None = None,
        images: Sequence[Path] = (),
        join: bool = True,
        offline: bool = True,
    ) -> None:
        """Switch on what is off, and join the nodes to one swarm.

        Args:
            users: a file; when no process holds a shared lock of it any more, the lab ends by itself.
            data: what a new node's Engine begins with, as `stored_image` makes it.
            images: archives of `docker save` to load into every node.
            join: whether to make one swarm of them.
            offline: ask no registry for an image that a node has already.
        """
        if not self.keeper:
            self._start_keeper(users)  # first: a folder without a keeper is a leftover
        self.folder.mkdir(parents=True, exist_ok=True)
        for node in self.nodes:
            if data is not None and not node.home.exists():
                copy_data(data, node.home / "data")
            if not node.pid:
                self.start(node, offline=offline)
        if self.nodes and join:
            self._join()
        for archive in images:
            loads = [subprocess.Popen(self._load(node, archive)) for node in self.nodes]
            if any(load.wait() for load in loads):
                raise LabError(f"cannot load {archive}")

    def down(self) -> None:
        """End everything; safe when only parts of it are there."""
        keeper = self.keeper
        for home in sorted(self.folder.glob("[0-9]*")):  # also those of a lab that had more nodes
            LabNode(home).kill()
        remove_control_groups(f"/{self.folder.name}")
        shutil.rmtree(self.folder, ignore_errors=True)
        if keeper and keeper != os.getpid():
            kill(keeper)

    @property
    def keeper(self) -> int:
        """The pid of the process that keeps the lab's network; 0 if there is none."""
        return find_process("keep", str(self.folder))

    def _start_keeper(self, users: Path | None) -> None:
        command = [sys.executable, "-m", "tests.helpers.swarm", *(["--users", str(users)] if users else []), "keep"]
        subprocess.run(
            ["setsid", "--fork", "unshare", "--net", *command, str(self.folder)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        wait_until(lambda: self.keeper, "the lab's keeper")
        self._ip("link set lo up")
        self._ip(f"link add br0 address {find_hardware_address(GATEWAY)} type bridge")
        self._ip(f"addr add {GATEWAY}/24 dev br0")
        self._ip("link set br0 up")
        # every address elsewhere is the lab's own: a connection to it is refused at once, instead of silence
        self._ip("route add local default dev lo table main")

    def _ip(self, arguments: str, pid: int = 0) -> None:
        """Run `ip …` in the network of a process, by default in the keeper's."""
        run("nsenter", f"--net=/proc/{pid or self.keeper}/ns/net", "ip", *arguments.split())

    def enter(self) -> list[str]:
        """The beginning of a command that is to run in the network between the nodes, on none of them."""
        return ["nsenter", f"--net=/proc/{self.keeper}/ns/net", "--"]

    def _load(self, node: LabNode, archive: Path) -> list[str]:
        return ["docker", "--host", f"unix://{node.socket}", "load", "--quiet", "--input", str(archive)]

    def _join(self) -> None:
        for node in self.nodes:
            if node.docker("info", "--format", "{{.Swarm.LocalNodeState}}").strip() != "inactive":
                continue
            where = ("--advertise-addr", node.address, "--listen-addr", node.address)
            if node is self.nodes[0]:
                node.docker(
                    *("swarm", "init", *where, "--task-history-limit", "5"),
                    *("--dispatcher-heartbeat", f"{HEARTBEAT_SECONDS}s"),
                )
                continue
            self._join_one(node)
        self.wait_until_whole()

    def _join_one(self, node: LabNode) -> None:
        manager = self.find_manager()
        token = manager.docker("swarm", "join-token", "-q", "manager" if node in self.managers else "worker").strip()
        where = ("--advertise-addr", node.address, "--listen-addr", node.address)
        node.docker("swarm", "join", *where, "--token", token, f"{manager.address}:2377")

    # -- faults, and their end

    def start(self, node: LabNode, *, offline: bool = True) -> None:
        """Switch a node on: with the disk that it had, it returns to the swarm by itself.

        Args:
            offline: ask no registry for an image that the node has already.
        """

        def attach(pid: int) -> None:
            port = f"n{node.home.name}"
            hardware = find_hardware_address(node.address)
            with contextlib.suppress(LabError):  # the kernel takes its time to remove the port of a node that has ended
                self._ip(f"link del {port}")
            self._ip(f"link add {port} type veth peer name eth0 address {hardware} netns {pid}")
            self._ip(f"link set {port} master br0 up")
            self._ip(f"addr add {node.address}/24 dev eth0", pid)
            self._ip("link set eth0 up", pid)
            self._ip(f"route add default via {GATEWAY}", pid)

        try:
            node.start(attach, DOCKER_SERVICE_PREFER_OFFLINE_IMAGE="1" if offline else "0")
        except LabError:
            node.kill()  # else it would look like one that is on
            raise

    def cut(self, node: LabNode) -> None:
        """Pull a node's network cable; its containers live on."""
        self._ip(f"link set n{node.home.name} down")

    def heal(self, node: LabNode) -> None:
        """Plug the cable in again."""
        self._ip(f"link set n{node.home.name} up")

    def set_availability(self, node: LabNode, availability: str) -> None:
        """Have a node run services (`active`), no new ones (`pause`) or none (`drain`)."""
        self.find_manager().docker("node", "update", "--availability", availability, node.name)

    def remove(self, node: LabNode) -> None:
        """Have the swarm forget a node that is lost."""
        manager = next(other for other in self.managers if other is not node)
        if node in self.managers:
            manager.docker("node", "demote", node.name)
        manager.docker("node", "rm", "--force", node.name)

    def return_removed(self, node: LabNode) -> None:
        """Switch a node on that the swarm has forgotten, and have it join again."""
        self.start(node)
        node.docker("swarm", "leave", "--force")
        self._join_one(node)
        self.wait_until_whole()

    def mend(self) -> None:
        """Undo every fault, below a Plugvisor that goes on; raises `LabError` if that does not succeed."""
        for node in self.nodes:
            if not node.pid:
                self.start(node)
            self.heal(node)
        self.wait_until_whole()
        for node in self.nodes:
            self.set_availability(node, "active")

    def repair(self) -> None:
        """Mend it, and remove every service, config and secret, which nobody uses; raises `LabError` as `mend`."""
        self.mend()
        manager = self.find_manager()
        for kind in ("service", "config", "secret"):
            if names := manager.docker(kind, "ls", "--quiet").split():
                manager.docker(kind, "rm", *names)
        wait_until(lambda: not any(node.docker("ps", "--quiet") for node in self.nodes), "the end of all containers")
        for node in self.nodes:
            node.docker("container", "prune", "--force")
            node.docker("volume", "prune", "--force")

    # -- what it is like

    @property
    def living_manager(self) -> LabNode | None:
        """A manager that answers for the whole swarm; None if there is none."""
        for node in self.managers:
            if node.pid:
                with contextlib.suppress(LabError, subprocess.TimeoutExpired):
                    node.docker("node", "ls", "--quiet", seconds=5)
                    return node
        return None

    def find_manager(self) -> LabNode:
        """A manager that answers for the whole swarm, once there is one; raises `LabError` after the deadline."""
        manager: LabNode = wait_until(lambda: self.living_manager, "a manager that answers")
        return manager

    @property
    def leader(self) -> LabNode:
        """The manager that decides; raises `LabError` if there is none."""
        for name, _, manager in self.list_nodes():
            if manager == "Leader":
                return next(node for node in self.nodes if node.name == name)
        raise LabError("the swarm has no leader")

    def list_nodes(self) -> list[tuple[str, str, str]]:
        """Each node's name, state and `Leader`, `Reachable` or nothing; empty if no manager answers."""
        manager = self.living_manager
        if manager is None:
            return []
        with contextlib.suppress(LabError, subprocess.TimeoutExpired):
            lines = manager.docker("node", "ls", "--format", "{{json .}}", seconds=5).splitlines()
            nodes = [json.loads(line) for line in lines]
            return sorted((node["Hostname"], node["Status"], node["ManagerStatus"]) for node in nodes)
        return []

    def wait_until_whole(self) -> None:
        """Wait until every node is ready, one leads, and it reaches the other managers."""

        def is_whole() -> bool:
            nodes = self.list_nodes()
            states = [state for _, state, _ in nodes]
            managers = sorted(manager for _, _, manager in nodes if manager)
            expected = ["Leader", *["Reachable"] * (len(self.managers) - 1)]
            return states == ["Ready"] * len(self.nodes) and managers == expected

        wait_until(is_whole, "every node to be ready")


def copy_data(data: Path, to: Path) -> None:
    """Copy what an Engine has stored; its images' files, which nothing ever changes, are shared."""
    to.mkdir(parents=True)
    run("cp", "-al", str(data / "overlay2"), str(to))
    for path in data.iterdir():
        if path.name != "overlay2":
            run("cp", "-a", str(path), str(to))


def keep(folder: Path, users: Path | None) -> None:
    """Be the keeper of a lab, until nobody uses it any more."""
    if users is None:
        while True:
            signal.pause()
    with users.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        SwarmLab(folder).down()


def clean_leftovers() -> None:
    """End labs whose keeper is gone: it was killed."""
    for folder in LABS.glob("*"):
        lab = SwarmLab(folder)
        if not lab.keeper:
            lab.down()
