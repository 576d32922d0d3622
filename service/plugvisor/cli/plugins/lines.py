"""`plugvisor ls --watch` where the output is no terminal: a line for each change."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from plugvisor.cli.output import has_color
from plugvisor.cli.plugins.matching import make_filter
from plugvisor.cli.plugins.reading import read_usage
from plugvisor.cli.plugins.states import PluginStates
from plugvisor.cli.plugins.table import format_plugins
from plugvisor.cli.streams.changes import Changes
from plugvisor.cli.streams.following import FollowedStream
from plugvisor.cli.streams.selection import choose_plugins

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from plugvisor.cli.client import Client

_OF_PLUGINS = ("snapshot", "plugins", "status", "unavailable")


def watch_in_lines(client: Client, patterns: Sequence[str], *, as_json: bool) -> int:
    """Print the plugins, and then each change, until Ctrl-C."""
    if patterns:
        choose_plugins(client, patterns)  # says which are unknown
    is_wanted = make_filter(patterns)
    describe = JsonLines(is_wanted).describe if as_json else _TextLines(is_wanted, read_usage(client) or {}).describe
    for event in FollowedStream(client, "/events", says_end=True):
        if event.name in _OF_PLUGINS:
            for line in describe(event.name, event.data):
                print(line)
            sys.stdout.flush()
    return 0


class _TextLines:
    """The table once, then what has changed."""

    def __init__(self, is_wanted: Callable[[str], bool], usage: Mapping[str, Mapping[str, Any]]) -> None:
        self._is_wanted = is_wanted
        self._usage = usage
        self._changes = Changes(is_wanted, colored=has_color(sys.stdout))
        self._is_first = True

    def describe(self, name: str, data: Mapping[str, Any]) -> list[str]:
        """An event as lines."""
        lines = self._changes.describe(name, data)
        if self._is_first and name == "snapshot":
            self._is_first = False
            plugins = [plugin for plugin in data["plugins"] if self._is_wanted(plugin["id"])]
            lines.append(format_plugins(plugins, self._usage, is_colored=has_color(sys.stdout)))
        return lines


class JsonLines:
    """Each plugin once, then those that have changed, as objects; of one that is gone its id, and `removed`."""

    def __init__(self, is_wanted: Callable[[str], bool]) -> None:
        self._is_wanted = is_wanted
        self._states = PluginStates()
        self._printed: dict[str, Mapping[str, Any]] = {}

    def describe(self, name: str, data: Mapping[str, Any]) -> list[str]:
        """An event as lines."""
        self._states.apply(name, data)
        if name == "unavailable":
            return [json.dumps({"unavailable": data["detail"]})]
        if name == "status":  # to compare all for each of many events would take the time of their square
            plugin = self._states.get(data["plugin_id"])
            return [] if plugin is None else self._show([plugin])
        plugins = self._states.read()
        removed = self._printed.keys() - {plugin["id"] for plugin in plugins}
        for plugin_id in removed:
            del self._printed[plugin_id]
        return self._show(plugins) + [json.dumps({"id": plugin_id, "removed": True}) for plugin_id in removed]

    def _show(self, plugins: Sequence[Mapping[str, Any]]) -> list[str]:
        """Those that are wanted, and are not as they were printed."""
        lines = []
        for plugin in plugins:
            facts = {key: value for key, value in plugin.items() if key != "uptime"}
            if self._is_wanted(plugin["id"]) and self._printed.get(plugin["id"]) != facts:
                self._printed[plugin["id"]] = facts
                lines.append(json.dumps(plugin))
        return lines
