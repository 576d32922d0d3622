"""The requests of `plugvisor ls` and `status`."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from plugvisor.cli.client import NoAnswer
from plugvisor.cli.plugins.matching import match_ids
from plugvisor.errors import CommandRejected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from plugvisor.cli.client import Client

    Fields = Mapping[str, Any]


def choose(plugins: Sequence[dict[str, Any]], patterns: Sequence[str]) -> list[dict[str, Any]]:
    """Those that were asked for; raises `CommandRejected` for an unknown one."""
    if not patterns:
        return list(plugins)
    wanted = match_ids(patterns, [plugin["id"] for plugin in plugins])
    return [plugin for plugin in plugins if plugin["id"] in wanted]


def add_uptimes(client: Client, plugins: Sequence[dict[str, Any]]) -> None:
    """Add what changes by time alone, which the list does not have."""
    statuses = client.call("GET", "/plugin/status")["plugins"]
    for plugin in plugins:
        status = statuses.get(plugin["id"], {})
        plugin.update({name: status[name] for name in ("pid", "uptime") if name in status})


def read_usage(client: Client) -> dict[str, Fields] | None:
    """The usage of plugins, by id; None if the token may not read it, or the engine does not measure it."""
    if not client.has_token:
        return None
    try:
        metrics = client.call("GET", "/plugin/metrics")["metrics"]
    except NoAnswer:
        return {}
    except CommandRejected:
        return None
    return {usage["plugin_id"]: usage for usage in metrics}


def begin_reading_usage(client: Client) -> Callable[[], Mapping[str, Fields]]:
    """Ask for it beside other requests: the first sample after a pause takes the service a moment.

    Returns:
        what waits for it, and raises what `read_usage` raises.
    """
    usage: dict[str, Fields] = {}
    failures: list[Exception] = []

    def read() -> None:
        try:
            usage.update(read_usage(client) or {})
        except Exception as error:  # noqa: BLE001 - the thread that waits raises it
            failures.append(error)

    def wait() -> Mapping[str, Fields]:
        thread.join()
        if failures:
            raise failures[0]
        return usage

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return wait


def pick_usage(usage: Mapping[str, Fields], plugin: Fields) -> dict[str, Any]:
    """The members that are added to a plugin of the list."""
    used = usage.get(plugin["id"], {})
    return {name: used[name] for name in ("cpu_percent", "memory_mb") if name in used}
