"""The table of plugins."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from plugvisor.cli.output import format_table, make_printable, measure_width
from plugvisor.cli.plugins.nodes import describe_places
from plugvisor.cli.plugins.words import HEALTH_COLORS, STATUS_COLORS, describe_status, show_uptime, show_usage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Fields = Mapping[str, Any]

_HEADING = ("ID", "VERSION", "STATUS", "HEALTH", "UPTIME", "RESTARTS", "CPU", "MEMORY")
_LEAST_IMPORTANT = ("VERSION", "RESTARTS", "HEALTH", "CPU", "NODES", "MEMORY", "UPTIME")
_GAP = 2


def format_plugins(
    plugins: Sequence[Fields], usage: Mapping[str, Fields], *, is_colored: bool, most_columns: int = 0
) -> str:
    """The plugins as a table.

    Args:
        usage: of those whose CPU and memory are known.
        most_columns: of the terminal, if it is one: what does not fit beside the table stands below it, and columns
            that do not fit are left out, the least important first.
    """
    has_nodes = any("tasks" in plugin for plugin in plugins)
    rows: list[tuple[str, ...]] = [(*_HEADING, "NODES") if has_nodes else _HEADING]
    rows += [_make_row(plugin, usage.get(plugin["id"]), has_nodes=has_nodes) for plugin in plugins]
    rows = _leave_out(rows, most_columns)
    details = [make_printable(plugin.get("detail", "")) for plugin in plugins]

    def choose_color(row: int, column: int) -> str:
        if row == 0:
            return "bold"
        plugin = plugins[row - 1]
        heading = rows[0][column] if column < len(rows[0]) else ""  # beside the table, the detail
        if heading == "STATUS":
            return STATUS_COLORS.get(plugin["status"], "")
        return HEALTH_COLORS.get(plugin.get("health", ""), "") if heading == "HEALTH" else ""

    color = choose_color if is_colored else None
    widest_rest = max(map(measure_width, details), default=0)
    if not most_columns or widest_rest + sum(_measure_columns(rows)) <= most_columns:
        return format_table([(*row, rest) for row, rest in zip(rows, ["DETAIL", *details], strict=True)], color)
    below = [f"{make_printable(plugin['id'])}: {rest}" for plugin, rest in zip(plugins, details, strict=True) if rest]
    return "\n".join([format_table(rows, color), *below])


def find_terminal_columns() -> int:
    """How wide the terminal is that standard output is."""
    return shutil.get_terminal_size().columns


def _make_row(plugin: Fields, usage: Fields | None, *, has_nodes: bool) -> tuple[str, ...]:
    places = [make_printable(describe_places(plugin.get("tasks", ()))) or "-"] if has_nodes else []
    return (
        make_printable(plugin["id"]),
        make_printable(plugin["version"]) or "-",
        make_printable(describe_status(plugin, with_health=False)),
        make_printable(plugin.get("health", "-")),
        show_uptime(plugin),
        str(plugin.get("restarts", 0)),
        *show_usage(usage),
        *places,
    )


def _leave_out(rows: list[tuple[str, ...]], most_columns: int) -> list[tuple[str, ...]]:
    """The table without the columns that do not fit."""
    for heading in _LEAST_IMPORTANT:
        if not most_columns or sum(_measure_columns(rows)) - _GAP <= most_columns:
            break
        if heading in rows[0]:
            at = rows[0].index(heading)
            rows = [(*row[:at], *row[at + 1 :]) for row in rows]
    return rows


def _measure_columns(rows: Sequence[tuple[str, ...]]) -> list[int]:
    return [_GAP + max(map(measure_width, column)) for column in zip(*rows, strict=True)]
