"""The usage of plugins, as `plugvisor top` shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plugvisor.cli.output import make_printable
from plugvisor.cli.plugins.words import describe_status, show_uptime, show_usage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from plugvisor.cli.client import Client

COLUMNS = ("ID", "STATUS", "CPU", "MEMORY", "THREADS", "UPTIME", "RESTARTS")
SORTS = ("cpu", "memory", "id")


@dataclass(frozen=True)
class Row:
    """One plugin."""

    plugin_id: str
    status: Mapping[str, Any]
    usage: Mapping[str, Any] | None
    """None if it has no process, or one that is too new."""

    def show(self) -> tuple[str, ...]:
        """The cells of its row."""
        return (
            make_printable(self.plugin_id),
            make_printable(describe_status(self.status)),
            *show_usage(self.usage),
            "-" if self.usage is None else str(self.usage["num_threads"]),
            show_uptime(self.status),
            str(self.status.get("restarts", 0)),
        )


@dataclass(frozen=True)
class Reading:
    """All that was asked for, at one time."""

    rows: Sequence[Row]
    answer: Mapping[str, Any] | None
    """Those members of the answer of `GET /plugin/metrics` that are about these plugins; None if it is not there."""

    @property
    def summary(self) -> str:
        """The usage of all of them together."""
        if self.answer is None:
            return f"{len(self.rows)} plugins; measuring what they use"
        used = [row.usage for row in self.rows if row.usage is not None]
        cpu, memory = (sum(usage[name] for usage in used) for name in ("cpu_percent", "memory_mb"))
        return f"{len(used)} of {len(self.rows)} plugins run: {cpu:.1f}% CPU, {memory:.1f}MB"


def read_plugins(client: Client, choose: Callable[[Sequence[str]], Sequence[str]], sort: str) -> Reading:
    """Ask the service for plugins alone, which takes it no time; raises as `read_usage` does."""
    statuses = client.call("GET", "/plugin/status")["plugins"]
    rows = [Row(plugin_id, statuses[plugin_id], None) for plugin_id in choose(sorted(statuses))]
    return Reading(sort_rows(rows, sort), None)


def read_usage(client: Client, choose: Callable[[Sequence[str]], Sequence[str]], sort: str) -> Reading:
    """Ask the service what plugins use.

    Args:
        choose: returns which of all ids are wanted; can raise `CommandRejected`.

    Raises:
        CommandRejected: also if the engine does not measure it.
    """
    answer = client.call("GET", "/plugin/metrics")
    statuses = client.call("GET", "/plugin/status")["plugins"]
    wanted = choose(sorted(statuses))
    used = {usage["plugin_id"]: usage for usage in answer["metrics"]}
    rows = [Row(plugin_id, statuses[plugin_id], used.get(plugin_id)) for plugin_id in wanted]
    rows = sort_rows(rows, sort)
    metrics = [row.usage for row in rows if row.usage is not None]
    return Reading(rows, {"metrics": metrics, "count": len(metrics), "time": answer["time"]})


def sort_rows(rows: Sequence[Row], sort: str) -> list[Row]:
    """The rows by CPU or memory, the largest first, or by id; what has no process comes last."""
    rows = sorted(rows, key=lambda row: row.plugin_id)
    if sort != "id":
        name = "cpu_percent" if sort == "cpu" else "memory_mb"
        rows.sort(key=lambda row: row.usage[name] if row.usage is not None else -1.0, reverse=True)
    return rows
