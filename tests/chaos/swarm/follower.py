"""A client that follows `/events`, and comes back with the id of the last event when its connection breaks."""

from __future__ import annotations

import contextlib
import http.client
from typing import TYPE_CHECKING

from tests.helpers.background import Background
from tests.helpers.event_client import EventClient

if TYPE_CHECKING:
    from tests.helpers.swarm.stack import SwarmStack

RETRY_SECONDS = 0.2


class Follower(Background):
    """Follows from `with` to its end."""

    def __init__(self, stack: SwarmStack) -> None:
        super().__init__()
        self.statuses: dict[str, str] = {}
        """Each plugin's status, for a page that has followed every event."""
        self.connections = 0
        self.events = 0
        self._stack = stack
        self._last_id = ""

    def _run(self) -> None:
        while not self._end.wait(RETRY_SECONDS):
            with contextlib.suppress(OSError, http.client.HTTPException):
                self._read(EventClient(self._stack.port, self._last_id or None))

    def _read(self, client: EventClient) -> None:
        self.connections += 1
        taken = 0
        try:
            while not self._end.is_set():
                is_over = bool(client.ended)
                for event in client.events[taken:]:
                    taken += 1
                    self.events += 1
                    if event.kind in ("snapshot", "plugins"):
                        self.statuses = {name: plugin["status"] for name, plugin in event.plugins.items()}
                    elif event.kind == "status":
                        self.statuses[event.data["plugin_id"]] = event.data["status"]
                if is_over:
                    return
                self._end.wait(0.02)
        finally:
            self._last_id = client.last_id or self._last_id
            client.close()
