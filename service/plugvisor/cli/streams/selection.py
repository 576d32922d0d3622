"""Which plugins a command is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugvisor.cli.plugins.matching import match_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugvisor.cli.client import Client

SERVER_ID = "_server"
"""The id of the service's own log."""


def choose_plugins(client: Client, patterns: Sequence[str], more: Sequence[str] = ()) -> list[str]:
    """The ids of the plugins that fit one of the patterns, or of all if there are none.

    Args:
        more: what else has an id, but is no plugin.

    Raises:
        CommandRejected: one fits none.
    """
    known = [plugin["id"] for plugin in client.call("GET", "/plugins")["plugins"]]
    if not patterns:
        return known
    # a pattern is about plugins alone
    named = [plugin_id for plugin_id in more if plugin_id in patterns]
    others = [pattern for pattern in patterns if pattern not in named]
    return named + (match_ids(others, known) if others else [])
