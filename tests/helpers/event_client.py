"""A client of `GET /events` and of log streams, like a browser's `EventSource`: it keeps every event."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Received:
    """One event, with the time at which it came."""

    kind: str
    id: str
    data: dict[str, Any]
    moment: float

    @property
    def number(self) -> int:
        """The part of the id that counts."""
        return int(self.id.rpartition("-")[2])

    @property
    def plugins(self) -> dict[str, dict[str, Any]]:
        """A snapshot's plugins by id."""
        return {plugin["id"]: plugin for plugin in self.data["plugins"]}


class EventClient:
    """One open stream, read in a thread."""

    def __init__(
        self,
        port: int,
        last_event_id: str | None = None,
        *,
        path: str = "/events",
        code: str | None = None,
        **query: str,
    ) -> None:
        self.events: list[Received] = []
        self.comments: list[str] = []
        self.last_id = ""
        """What a browser would send as `Last-Event-ID`."""
        self.ended: str = ""
        """How the stream has ended: "cleanly", or how not."""
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_SECONDS)
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_event_id} if last_event_id else {})
        headers |= {"Authorization": f"Bearer {code}"} if code else {}
        self._connection.request("GET", f"{path}?{urlencode(query)}", headers=headers)
        self._socket = self._connection.sock
        self.response = self._connection.getresponse()
        self._socket.settimeout(None)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        fields: dict[str, str] = {}
        try:
            while line := self.response.readline().decode():
                name, _, value = line.rstrip("\n").partition(": ")
                if line.startswith(":"):
                    self.comments.append(value)
                elif line == "\n" and fields:
                    self.last_id = fields.get("id", self.last_id)
                    if [*fields] == ["id"]:
                        fields = {}
                        continue
                    data = json.loads(fields["data"])
                    self.events.append(Received(fields["event"], fields.get("id", ""), data, time.monotonic()))
                    fields = {}
                elif line != "\n":
                    assert name not in fields, f"{name} twice in one event"
                    fields[name] = value
            self.ended = "in the middle of an event" if fields else "cleanly"
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.ended = repr(error)

    @property
    def kinds(self) -> list[str]:
        """The kinds of the events, in order."""
        return [event.kind for event in self.events]

    def of(self, plugin_id: str) -> list[Received]:
        """The changes of one plugin."""
        changes = [event for event in list(self.events) if event.kind == "status"]
        return [event for event in changes if event.data["plugin_id"] == plugin_id]

    def state_of(self, plugin_id: str) -> str | None:
        """The state of a plugin, for a page that has followed every event."""
        state = None
        for event in list(self.events):
            if event.kind in ("snapshot", "plugins"):
                state = event.plugins.get(plugin_id, {}).get("state")
            elif event.kind == "status" and event.data["plugin_id"] == plugin_id:
                state = event.data["state"]
        return state

    def wait(self, kind: str, after: int = 0, seconds: float = DEADLINE_SECONDS, **fields: Any) -> Received:
        """Wait for an event, later than the first `after` ones, whose data holds these fields; returns it."""

        def look() -> Received | None:
            found = (event for event in self.events[after:] if event.kind == kind)
            return next((event for event in found if fields.items() <= event.data.items()), None)

        received: Received = wait_for(look, f"an event {kind} {fields}", seconds)
        return received

    @property
    def grows(self) -> bool:
        """Whether each event's id is greater than the one's before."""
        return all(earlier.number < later.number for earlier, later in pairwise(self.events))

    def close(self) -> None:
        """Close the connection, as a browser does with a closed tab."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(DEADLINE_SECONDS)
        self.response.close()
        self._connection.close()


@contextlib.contextmanager
def open_events(port: int, last_event_id: str | None = None, **arguments: str) -> Iterator[EventClient]:
    """An open stream, which is closed afterwards."""
    listener = EventClient(port, last_event_id, **arguments)
    try:
        yield listener
    finally:
        listener.close()
