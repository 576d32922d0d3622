"""Describes the changes from one event to the next, in lines."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from plugvisor.cli.moments import show_time
from plugvisor.cli.output import make_printable, paint
from plugvisor.cli.plugins.words import STATUS_COLORS, describe_health

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Fields = Mapping[str, Any]

_OUTCOME_COLORS = {"succeeded": "green", "failed": "red", "interrupted": "red"}


class Changes:
    """Remembers the plugins and nodes, and describes what has changed."""

    def __init__(self, is_wanted: Callable[[str], bool], *, colored: bool) -> None:
        self._is_wanted = is_wanted
        self._colored = colored
        self._statuses: dict[str, Fields] | None = None
        self._nodes: dict[str, str] | None = None
        self._operations: dict[str, tuple[str, str]] = {}

    def describe(self, name: str, data: Fields) -> list[str]:
        """An event as lines: none if it says nothing new."""
        at = show_time(data["time"]) if "time" in data else f"{datetime.now():%F %T}"  # noqa: DTZ005 - local
        match name:
            case "snapshot" | "plugins":
                found = self._compare({plugin["id"]: plugin for plugin in data["plugins"]})
            case "status":
                found = self._update(data["plugin_id"], data)
            case "operation":
                found = self._follow_operation(data)
            case "nodes":
                found = self._compare_nodes(data["nodes"])
            case "unavailable":
                found = [("-", self._paint("unavailable", "red"), data["detail"])]
            case _:  # of a newer service
                found = []
        return [_join(at, *line) for line in found if line[0] == "-" or self._is_wanted(line[0])]

    def _compare(self, plugins: dict[str, Fields]) -> list[tuple[str, str, str]]:
        """The news in a list of all plugins; the first list is only remembered."""
        before, self._statuses = self._statuses, plugins
        if before is None:
            return []
        lines: list[tuple[str, str, str]] = []
        for plugin_id, plugin in plugins.items():
            lines += self._show_change(plugin_id, before.get(plugin_id), plugin)
        return lines + [(plugin_id, "removed", "") for plugin_id in before if plugin_id not in plugins]

    def _update(self, plugin_id: str, status: Fields) -> list[tuple[str, str, str]]:
        if self._statuses is None:
            self._statuses = {}
        before = self._statuses.get(plugin_id)
        self._statuses[plugin_id] = status
        return self._show_change(plugin_id, before, status)

    def _show_change(self, plugin_id: str, before: Fields | None, after: Fields) -> list[tuple[str, str, str]]:
        """A line, or none if nothing has changed that it would show."""
        words = self._show_status(after)
        if before is None:
            words = f"added, {words}"
        elif _get_facts(before) == _get_facts(after):
            return []
        elif (earlier := self._show_status(before)) != words:
            words = f"{earlier} → {words}"
        return [(plugin_id, words, after.get("detail", ""))]

    def _follow_operation(self, operation: Fields) -> list[tuple[str, str, str]]:
        """A line for each phase; the percentage changes several times a second."""
        now = operation["state"], operation["phase"]
        if self._operations.get(operation["id"]) == now:
            return []
        self._operations[operation["id"]] = now
        state, phase = now
        words = make_printable(phase) if state == "running" else self._paint(state, _OUTCOME_COLORS.get(state, ""))
        return [(operation.get("plugin_id") or "-", f"{make_printable(operation['verb'])}: {words}", "")]

    def _compare_nodes(self, nodes: Iterable[Fields]) -> list[tuple[str, str, str]]:
        before, self._nodes = self._nodes, {node["name"]: f"{node['state']}, {node['availability']}" for node in nodes}
        if before is None:
            return []
        lines = []
        for name, state in self._nodes.items():
            if state != before.get(name):
                lines.append(f"{name}: {before[name]} → {state}" if name in before else f"{name}: added, {state}")
        lines += [f"{name}: removed" for name in before if name not in self._nodes]
        return [("-", make_printable(f"node {line}"), "") for line in lines]

    def _show_status(self, status: Fields) -> str:
        words = [status["status"], *describe_health(status)]
        if status.get("queued"):
            words.append("queued")
        return self._paint(", ".join(map(str, words)), STATUS_COLORS.get(status["status"], ""))

    def _paint(self, text: str, color: str) -> str:
        text = make_printable(text)
        return paint(text, color) if self._colored else text


def _get_facts(status: Fields) -> tuple[Any, ...]:
    """The fields by which two statuses differ; the passing of time changes none."""
    return tuple(status.get(name) for name in ("status", "state", "pid", "health", "queued", "detail"))


def _join(at: str, plugin_id: str, words: str, detail: str) -> str:
    return "  ".join(filter(None, (at, f"{make_printable(plugin_id):<16}", words, make_printable(detail)))).rstrip()
