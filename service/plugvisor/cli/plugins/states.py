"""The plugins as the events of the service say that they are."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_STATE = frozenset(
    ("status", "state", "detail", "manifest_error", "restarts", "last_exit", "retry_at", "flapping", "limits", "health",
     "queued", "unmet", "watch", "intent", "node", "tasks", "pid", "uptime")
)  # fmt: skip
"""The fields that an event `status` replaces; all others of a plugin are its manifest's."""


class PluginStates:
    """Every plugin, by id, in the order of the list."""

    def __init__(self) -> None:
        self.is_known = False
        """Whether an event has said what there is."""
        self.problem = ""
        """Why this may not be how it is now; empty if it is."""
        self._plugins: dict[str, tuple[dict[str, Any], float]] = {}

    def apply(self, name: str, data: Mapping[str, Any]) -> None:
        """Take over an event."""
        now = time.monotonic()
        if name in ("snapshot", "plugins"):
            self._plugins = {plugin["id"]: (plugin, now) for plugin in data["plugins"]}
            self.is_known, self.problem = True, ""
        elif name == "status" and (known := self._plugins.get(data["plugin_id"])) is not None:
            rest = {key: value for key, value in known[0].items() if key not in _STATE}
            state = {key: value for key, value in data.items() if key in _STATE}
            self._plugins[data["plugin_id"]] = ({**rest, **state}, now)
        elif name == "unavailable":
            self.problem = data["detail"]

    def read(self) -> list[dict[str, Any]]:
        """The plugins; what runs has become older since the last event."""
        now = time.monotonic()
        return [
            {**plugin, "uptime": plugin["uptime"] + int(now - at)} if "uptime" in plugin else dict(plugin)
            for plugin, at in list(self._plugins.values())
        ]

    def get(self, plugin_id: str) -> Mapping[str, Any] | None:
        """One plugin; None if there is none."""
        plugin, _ = self._plugins.get(plugin_id, (None, 0))
        return plugin
