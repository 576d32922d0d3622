"""What plugins use, as `plugvisor top` shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plugvisor.cli.output import make_printable

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

    @property
    def words(self) -> str:
        """Its status, and that it is unhealthy."""
        unhealthy = ", unhealthy" if self.status.get("health") == "unhealthy" else ""
        return f"{self.status['status']}{unhealthy}"

    def show(self) -> tuple[str, ...]:
        """The cells of its row."""
        usage = self.usage
        return (
            make_printable(self.plugin_id),
            make_printable(self.words),
            *(("-", "-", "-") if usage is None else _show_usage(usage)),
            show_duration(self.status["uptime"]) if "uptime" in self.status else "-",
            str(self.status.get("restarts", 0)),
        )


@dataclass(frozen=True)
class Reading:
    """All that was asked for, at one time."""

    rows: Sequence[Row]
    answer: Mapping[str, Any]
    """Those members of the answer of `GET /plugin/metrics` that are about these plugins."""

    @property
    def summary(self) -> str:
        """What all of them use together."""
        used = [row.usage for row in self.rows if row.usage is not None]
        cpu, memory = (sum(usage[name] for usage in used) for name in ("cpu_percent", "memory_mb"))
        return f"{len(used)} of {len(self.rows)} plugins run: {cpu:.1f}% CPU, {memory:.1f}MB"


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


def show_duration(seconds: int) -> str:
    """A duration in its two largest units: `3d4h`."""
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, length)
        if count or parts:
            parts.append(f"{count}{unit}")
    return "".join(parts[:2]) or "0s"


def _show_usage(usage: Mapping[str, Any]) -> tuple[str, str, str]:
    return f"{usage['cpu_percent']:.1f}%", f"{usage['memory_mb']:.1f}MB", str(usage["num_threads"])
