"""`plugvisor ls`, `status` and `nodes`."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from plugvisor.cli.client import Client
from plugvisor.cli.moments import show_time
from plugvisor.cli.output import format_table, make_printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    Fields = Mapping[str, Any]

_ENDED = ("complete", "shutdown", "failed", "rejected", "remove")
_WORDS = {"running": "running", "complete": "ended", "shutdown": "ended", "remove": "ended", "failed": "failed",
          "rejected": "failed", "pending": "waiting for a node", "orphaned": "lost"}  # fmt: skip
"""Docker's words for a task in plain ones; all others are of one that is starting."""
_LOST = ("down", "disconnected")


def run_ls(arguments: argparse.Namespace) -> int:
    """List the plugins."""
    answer = Client.from_env(os.environ).call("GET", "/plugins")
    if arguments.json:
        print(json.dumps(answer))
        return 0
    plugins = answer["plugins"]
    if not plugins:
        print(answer["message"])
        return 0
    has_nodes = any("tasks" in plugin for plugin in plugins)
    rows: list[tuple[str, ...]] = [("ID", "VERSION", "STATUS", *(["NODES"] if has_nodes else []), "DETAIL")]
    for plugin in plugins:
        places = [make_printable(describe_places(plugin.get("tasks", ()))) or "-"] if has_nodes else []
        about = (make_printable(plugin["id"]), make_printable(plugin["version"]) or "-", _describe_status(plugin))
        rows.append((*about, *places, make_printable(plugin.get("detail", ""))))
    print(format_table(rows))
    return 0


def run_status(arguments: argparse.Namespace) -> int:
    """Show the status of one plugin, with its tasks."""
    status = Client.from_env(os.environ).call("GET", f"/plugin/status?plugin_id={quote(arguments.plugin_id, safe='')}")
    if arguments.json:
        print(json.dumps(status))
        return 0
    facts = [f"{status['plugin_id']}: {_describe_status(status)}"]
    if "pid" in status:
        facts.append(f"pid {status['pid']}" + (f" on {status['node']}" if "node" in status else ""))
        facts.append(f"up {status['uptime']} s")
    if status.get("restarts"):
        facts.append(f"restarts {status['restarts']}")
    print(make_printable(", ".join(facts)))
    if "detail" in status:
        print(f"  {make_printable(status['detail'])}")
    if tasks := status.get("tasks"):
        rows: list[tuple[str, ...]] = [("REPLICA", "NODE", "STATE", "PID", "SINCE", "")]
        rows += map(_make_task_row, tasks)
        print(format_table(rows))
    return 0


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


def _describe_task(task: Fields) -> str:
    return "lost" if task["lost"] else _WORDS.get(task["state"], "starting")


def _describe_status(status: Fields) -> str:
    more = [status["health"]] if status.get("health") == "unhealthy" else []
    if status.get("queued"):
        more.append("queued")
    if "disabled" in status:
        more.append("disabled")
    return ", ".join([status["status"], *more])


def _make_task_row(task: Fields) -> tuple[str, ...]:
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
