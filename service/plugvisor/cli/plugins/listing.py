"""`plugvisor ls` and `status`."""

from __future__ import annotations

import json
import os
import sys
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from plugvisor.cli.client import Client
from plugvisor.cli.connection.paths import make_query
from plugvisor.cli.moments import show_time
from plugvisor.cli.output import can_redraw, format_table, has_color, make_printable, paint
from plugvisor.cli.plugins.matching import is_pattern, match_ids
from plugvisor.cli.plugins.nodes import TASK_HEADING, make_task_row
from plugvisor.cli.plugins.reading import add_uptimes, begin_reading_usage, choose, pick_usage
from plugvisor.cli.plugins.table import find_terminal_columns, format_plugins
from plugvisor.cli.plugins.words import STATUS_COLORS, describe_status, show_uptime, show_usage
from plugvisor.errors import CommandRejected

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

    Fields = Mapping[str, Any]


def run_ls(arguments: argparse.Namespace) -> int:
    """List the plugins."""
    client = Client.from_env(os.environ)
    if arguments.watch:
        return _watch(client, arguments, _format_table)
    wait_for_usage = begin_reading_usage(client)
    answer = client.call("GET", "/plugins")
    plugins = choose(answer["plugins"], arguments.plugin_ids)
    add_uptimes(client, plugins)
    usage = wait_for_usage()
    if arguments.json:
        print(json.dumps({**answer, "plugins": [{**plugin, **pick_usage(usage, plugin)} for plugin in plugins]}))
    elif plugins:
        print(_format_table(plugins, usage))
    else:
        print(make_printable(answer["message"]))
    return 0


def run_status(arguments: argparse.Namespace) -> int:
    """Show the status of plugins, with their tasks."""
    client = Client.from_env(os.environ)
    patterns = arguments.plugin_ids
    if arguments.watch:
        return _watch(client, arguments, _format_statuses)
    is_one = len(patterns) == 1 and patterns[0] != "" and not is_pattern(patterns[0])
    if arguments.json:
        print(json.dumps(_read_one(client, patterns[0]) if is_one else _read_statuses(client, patterns)))
        return 0
    wait_for_usage = begin_reading_usage(client)
    plugins = (
        [_read_one(client, patterns[0])] if is_one else choose(client.call("GET", "/plugins")["plugins"], patterns)
    )
    if is_one:
        plugins = [{"id": plugins[0]["plugin_id"], **plugins[0]}]
    else:
        add_uptimes(client, plugins)
    print(_format_statuses(plugins, wait_for_usage()) or "no plugins registered")
    return 0


def _watch(
    client: Client, arguments: argparse.Namespace, show: Callable[[Sequence[Fields], Mapping[str, Fields]], str]
) -> int:
    # they follow a stream, and on a terminal import rich
    if not arguments.json and can_redraw():
        from plugvisor.cli.plugins.live import watch_on_terminal  # noqa: PLC0415

        return watch_on_terminal(client, arguments.plugin_ids, show)
    from plugvisor.cli.plugins.lines import watch_in_lines  # noqa: PLC0415

    return watch_in_lines(client, arguments.plugin_ids, as_json=arguments.json)


def _format_table(plugins: Sequence[Fields], usage: Mapping[str, Fields]) -> str:
    columns = find_terminal_columns() if sys.stdout.isatty() else 0
    return format_plugins(plugins, usage, is_colored=has_color(sys.stdout), most_columns=columns)


def _format_statuses(plugins: Sequence[Fields], usage: Mapping[str, Fields]) -> str:
    return "\n".join(_format_status(plugin, usage.get(plugin["id"])) for plugin in plugins)


def _format_status(status: Fields, used: Fields | None) -> str:
    """One plugin: a line, why it is so, and its tasks."""
    words = describe_status(status)
    color = STATUS_COLORS.get(status["status"], "") if has_color(sys.stdout) else ""
    facts = []
    if "pid" in status:
        facts.append(f"pid {status['pid']}" + (f" on {status['node']}" if "node" in status else ""))
        facts.append(f"up {show_uptime(status)}")
    intent = status.get("intent", {})
    if status["status"] == intent.get("wanted") == "stopped":
        facts.append(f"by {intent['by']} at {show_time(intent['at'])}")
    if status.get("restarts"):
        facts.append(f"restarts {status['restarts']}")
    if used is not None:
        cpu, memory = show_usage(used)
        facts += [f"CPU {cpu}", f"memory {memory}"]
    first = [f"{make_printable(status['id'])}: {paint(make_printable(words), color)}", *map(make_printable, facts)]
    lines = [", ".join(first)]
    if "detail" in status:
        lines.append(f"  {make_printable(status['detail'])}")
    if tasks := status.get("tasks"):
        lines.append(format_table([TASK_HEADING, *map(make_task_row, tasks)]))
    return "\n".join(lines)


def _read_one(client: Client, plugin_id: str) -> dict[str, Any]:
    try:
        status: dict[str, Any] = client.call("GET", f"/plugin/status{make_query({'plugin_id': plugin_id})}")
    except CommandRejected as error:
        if error.status == HTTPStatus.NOT_FOUND:
            choose(client.call("GET", "/plugins")["plugins"], [plugin_id])  # says which one may be meant
        raise
    return status


def _read_statuses(client: Client, patterns: Sequence[str]) -> dict[str, Any]:
    answer: dict[str, Any] = client.call("GET", "/plugin/status")
    if patterns:
        wanted = match_ids(patterns, list(answer["plugins"]))
        answer["plugins"] = {plugin_id: answer["plugins"][plugin_id] for plugin_id in wanted}
    return answer
