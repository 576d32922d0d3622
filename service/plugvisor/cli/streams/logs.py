"""`plugvisor logs`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from plugvisor.cli.client import Client
from plugvisor.cli.connection.paths import make_query, quote_part
from plugvisor.cli.moments import read_past
from plugvisor.cli.output import has_color, print_notice
from plugvisor.cli.streams.log_lines import LineFormat, merge
from plugvisor.cli.streams.selection import SERVER_ID, choose_plugins
from plugvisor.errors import CommandRejected, ConfigurationError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

MOST_LINES = 10_000
"""The most that the service returns of one log."""
MOST_FOLLOWED = 64
"""The most logs that the service lets follow."""


def run_logs(arguments: argparse.Namespace) -> int:
    """Print the newest lines of logs; then, if it was asked for, each new one."""
    if not 0 <= arguments.lines <= MOST_LINES:
        raise ConfigurationError(f"cannot use -n {arguments.lines}: it must be a number from 0 to {MOST_LINES}")
    since = read_past("--since", arguments.since) if arguments.since else ""
    client = Client.from_env(os.environ)
    plugin_ids = choose_plugins(client, arguments.plugin_ids, [SERVER_ID])
    if not plugin_ids:
        print_notice("no plugins registered")
        return 0
    lines = LineFormat(plugin_ids, colored=has_color(sys.stdout), as_json=arguments.json)
    if not arguments.follow:
        query = {"level": arguments.level or "", "search": arguments.search or "", "start_time": since}
        _print_newest(client, plugin_ids, arguments.lines, query, lines)
        return 0
    if len(plugin_ids) > MOST_FOLLOWED:
        raise CommandRejected(
            f"cannot follow {len(plugin_ids)} logs: the service lets at most {MOST_FOLLOWED} be followed; name some",
            503,
        )
    from plugvisor.cli.streams.log_follower import Filter, follow_logs  # noqa: PLC0415 - its threads are needed here only

    wanted = Filter(arguments.lines, arguments.level or "", arguments.search or "", since)
    return follow_logs(client, plugin_ids, wanted, lines)


def _print_newest(
    client: Client, plugin_ids: Sequence[str], count: int, query: dict[str, str], lines: LineFormat
) -> None:
    if not count:
        return
    parameters = make_query({"lines": count, **query})
    logs: dict[str, list[dict[str, Any]]] = {
        plugin_id: client.call("GET", f"/plugin/{quote_part(plugin_id)}/logs{parameters}")["logs"]
        for plugin_id in plugin_ids
    }
    for plugin_id, entry in merge(logs):
        print(lines.show(plugin_id, entry))
