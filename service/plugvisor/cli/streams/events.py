"""`plugvisor events`."""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

from plugvisor.cli.client import Client
from plugvisor.cli.connection.paths import make_query
from plugvisor.cli.output import has_color
from plugvisor.cli.plugins.matching import find_only, make_filter
from plugvisor.cli.streams.changes import Changes
from plugvisor.cli.streams.following import FollowedStream
from plugvisor.cli.streams.selection import choose_plugins

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from plugvisor.cli.connection.events import ServerEvent


def run_events(arguments: argparse.Namespace) -> int:
    """Print each event as it comes, until Ctrl-C."""
    client = Client.from_env(os.environ)
    patterns = arguments.plugin_ids
    if patterns:
        choose_plugins(client, patterns)  # says which are unknown
    is_wanted = make_filter(patterns)
    only = find_only(patterns)
    changes = Changes(is_wanted, colored=has_color(sys.stdout))
    for event in FollowedStream(client, f"/events{make_query({'plugin_id': only})}"):
        if event.name == "nodes" and patterns:
            continue  # it is about no plugin
        if arguments.json:
            lines = [json.dumps(made)] if (made := _make_object(event, is_wanted)) is not None else []
        else:
            lines = changes.describe(event.name, event.data)
        for line in lines:
            print(line)
        sys.stdout.flush()
    return 0


def _make_object(event: ServerEvent, is_wanted: Callable[[str], bool]) -> dict[str, Any] | None:
    """An event as the JSON object that is printed; None if it is about other plugins."""
    data = {"event": event.name, **event.data}
    if "time" not in data:
        data["time"] = datetime.now().astimezone().isoformat()
    if event.name in ("snapshot", "plugins"):
        data["plugins"] = [plugin for plugin in data["plugins"] if is_wanted(plugin["id"])]
    elif event.name in ("status", "operation") and not is_wanted(data.get("plugin_id", "")):
        return None
    return data
