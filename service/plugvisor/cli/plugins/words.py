"""The status of a plugin in words and colours: the same in every list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plugvisor.cli.output import show_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    Fields = Mapping[str, Any]

STATUS_COLORS = {"running": "green", "starting": "yellow", "stopping": "yellow", "error": "red", "stopped": "dim"}
HEALTH_COLORS = {"healthy": "green", "starting": "yellow", "unhealthy": "red"}


def describe_status(status: Fields, *, with_health: bool = True) -> str:
    """A status in words, such as `running, unhealthy`."""
    more = [status["health"]] if with_health and status.get("health") == "unhealthy" else []
    more += [word for word in ("queued", "flapping") if status.get(word)]
    if "disabled" in status:
        more.append("disabled")
    return ", ".join([status["status"], *more])


def describe_health(status: Fields) -> list[str]:
    """The health in a word, if there is one that the status has not said."""
    if "health" not in status or status["health"] == status["status"]:
        return []
    return ["not ready yet" if status["health"] == "starting" else status["health"]]


def show_uptime(status: Fields) -> str:
    """How long the process runs: `3d4h`; a hyphen if there is none."""
    return show_duration(status["uptime"]) if "uptime" in status else "-"


def show_usage(usage: Fields | None) -> tuple[str, str]:
    """CPU and memory; hyphens if they are not known."""
    return ("-", "-") if usage is None else (f"{usage['cpu_percent']:.1f}%", f"{usage['memory_mb']:.1f}MB")
