"""`plugvisor nodes`, and the tasks of a plugin on a swarm in words."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from plugvisor.cli.client import Client
from plugvisor.cli.moments import show_time
from plugvisor.cli.output import format_table, make_printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    Fields = Mapping[str, Any]

TASK_HEADING = ("REPLICA", "NODE", "STATE", "PID", "SINCE", "")
_ENDED = ("complete", "shutdown", "failed", "rejected", "remove")
_WORDS = {"running": "running", "complete": "ended", "shutdown": "ended", "remove": "ended", "failed": "failed",
          "rejected": "failed", "pending": "waiting for a node", "orphaned": "lost"}  # fmt: skip
"""Docker's words for a task in plain ones; all others are of one that is starting."""
_LOST = ("down", "disconnected")


def run_nodes(arguments: argparse.Namespace) -> int:
    """List the machines that plugins run on."""
    answer = Client.from_env(os.environ).call("GET", "/nodes")
    if arguments.json:
        print(json.dumps(answer))
        return 0
    rows: list[tuple[str, ...]] = [("NODE", "STATE", "ROLE", "AVAILABILITY", "CPUS", "MEMORY", "TASKS", "PLUGINS")]
    rows += map(_make_node_row, answer["nodes"])
    print(format_table(rows))
    for node in answer["nodes"]:
        if "detail" in node:
            print(make_printable(f"{node['name']}: {node['detail']}"))
    return 0


def describe_places(tasks: Sequence[Fields]) -> str:
    """Where a plugin runs, and how many of its replicas do not: `node2, node3 (1 of 3 starting)`.

    The status of a plugin with one replica says that already.
    """
    replicas: dict[int, Fields] = {}
    for task in tasks:  # of each replica the one that has not ended, if there is one
        if task["slot"] not in replicas or task["state"] not in _ENDED:
            replicas[task["slot"]] = task
    places = sorted({task["node"] for task in replicas.values() if "pid" in task or task["lost"]})
    others: dict[str, int] = {}
    for task in replicas.values():
        word = _describe_task(task)
        if word != "running":
            others[word] = others.get(word, 0) + 1
    counts = [f"{count} of {len(replicas)} {word}" for word, count in sorted(others.items()) if len(replicas) > 1]
    return " ".join(filter(None, [", ".join(places), f"({', '.join(counts)})" if counts else ""]))


def make_task_row(task: Fields) -> tuple[str, ...]:
    """The cells below `TASK_HEADING`."""
    words = ["its node is lost: it may still run there"] if task["lost"] else []
    error = task.get("error", "")
    if "exit_code" in task and "exit code" not in error:
        words.append(f"exit code {task['exit_code']}")
    words += [error] if error else []
    return (
        str(task["slot"] or "-"),
        make_printable(task["node"]) or "-",
        task["state"],
        str(task.get("pid", "-")),
        show_time(task["at"]),
        make_printable("; ".join(words)),
    )


def _describe_task(task: Fields) -> str:
    return "lost" if task["lost"] else _WORDS.get(task["state"], "starting")


def _make_node_row(node: Fields) -> tuple[str, ...]:
    return (
        make_printable(node["name"]),
        "lost" if node["state"] in _LOST else node["state"],
        f"{node['role']}, leader" if node["leader"] else node["role"],
        node["availability"],
        f"{node['cpus']:g}",
        f"{node['memory'] / 2**30:.1f} GB",  # as the page counts it
        str(node["tasks"]),
        make_printable(", ".join(node["plugins"])) or "-",
    )
