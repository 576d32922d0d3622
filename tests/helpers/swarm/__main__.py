"""The lab as a command; `tests/swarm/lab` starts it."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tests.helpers.swarm.lab import LABS, SwarmLab, explain_absence, keep
from tests.helpers.swarm.node import LabError, LabNode

EPILOG = "PLUGVISOR_LAB is the lab's folder (/var/lib/plugvisor-labs/lab): another folder is another lab"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/swarm/lab", description="A swarm on one machine.", epilog=EPILOG)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--managers", type=int, default=3)
    parser.add_argument("--users", type=Path, help=argparse.SUPPRESS)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, what: str, *arguments: str) -> None:
        command = commands.add_parser(name, help=what, description=what)
        for argument in arguments:
            many = argument.endswith("...")
            command.add_argument(
                argument.rstrip("."),
                type=int if argument == "node" else str,
                nargs=argparse.REMAINDER if many else None,
            )

    add("up", "switch on what is off, and load archives of images into every node", "images...")
    add("down", "end all of it")
    add("status", "list the nodes")
    add("kill-node", "a power cut of a node: its Engine and containers end at once", "node")
    add("start-node", "switch a node on again", "node")
    add("cut-node", "pull a node's network cable; its containers live on", "node")
    add("heal-node", "plug it in again", "node")
    add("drain", "have a node run nothing", "node")
    add("activate", "have a node run something again", "node")
    add("exec", "run a command inside a node; node 0 is the network between them", "node", "words...")
    add("docker", "run the docker command with a node's Engine", "node", "words...")
    add("socket", "print the path of a node's Engine API", "node")
    add("keep", "be the lab's keeper; `up` starts it", "folder")
    return parser.parse_args()


def main() -> int:
    """Run the command; returns the exit status."""
    arguments = parse_arguments()
    if arguments.command == "keep":
        keep(Path(arguments.folder), arguments.users)
        return 0
    if problem := explain_absence():
        raise LabError(problem)
    lab = SwarmLab(Path(os.environ.get("PLUGVISOR_LAB", LABS / "lab")), arguments.nodes, arguments.managers)
    if arguments.command == "exec" and arguments.node == 0:
        os.execvp("nsenter", [*lab.enter(), *arguments.words])
    if "node" in arguments:
        run_for_node(lab, find_node(lab, arguments.node), arguments)
    elif arguments.command == "up":
        lab.up(images=[Path(image) for image in arguments.images])
    elif arguments.command == "down":
        lab.down()
    if arguments.command in ("up", "status"):
        manager = lab.living_manager
        if manager is None:
            raise LabError("no manager answers")
        sys.stdout.write(manager.docker("node", "ls"))
    return 0


def find_node(lab: SwarmLab, number: int) -> LabNode:
    """The node of that number."""
    if not 1 <= number <= len(lab.nodes):
        raise LabError(f"there are nodes 1 to {len(lab.nodes)}")
    return lab.nodes[number - 1]


def run_for_node(lab: SwarmLab, node: LabNode, arguments: argparse.Namespace) -> None:
    """Run a command that is about one node."""
    match arguments.command:
        case "kill-node":
            node.kill()
        case "start-node":
            if not node.pid:
                lab.start(node)
        case "cut-node":
            lab.cut(node)
        case "heal-node":
            lab.heal(node)
        case "drain" | "activate":
            lab.set_availability(node, "drain" if arguments.command == "drain" else "active")
        case "exec":
            os.execvp("nsenter", [*node.enter(), *arguments.words])
        case "docker":
            os.execvp("docker", ["docker", "--host", f"unix://{node.socket}", *arguments.words])
        case "socket":
            sys.stdout.write(f"{node.socket}\n")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        sys.exit(f"lab: {error}")
