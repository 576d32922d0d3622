"""Hears from every manager which nodes the swarm has lost: for whatever reason, such a node is a side of its own."""

from __future__ import annotations

import contextlib
import json
import threading
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from tests.chaos.swarm.activity import Activity
    from tests.helpers.swarm.lab import SwarmLab
    from tests.helpers.swarm.node import LabNode

RETRY_SECONDS = 0.2
SILENCE_SECONDS = 1.0
"""How long a stream is read before its end is looked for."""
FILTERS = json.dumps({"type": ["node"]})


class NodeEvents:
    """Listens from `with` to its end; a busy machine's node may miss its heartbeats without any fault."""

    def __init__(self, lab: SwarmLab, activity: Activity) -> None:
        self.lost = 0
        """How often a manager has said so."""
        self._activity = activity
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._listen, args=(node,)) for node in lab.managers]

    def __enter__(self) -> NodeEvents:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _listen(self, node: LabNode) -> None:
        since = ""
        while not self._end.wait(RETRY_SECONDS):
            with contextlib.suppress(httpx.HTTPError, OSError):
                since = self._read(node, since)

    def _read(self, node: LabNode, since: str) -> str:
        """Read a manager's events until it is silent or the stream ends; returns from when to read next."""
        transport = httpx.HTTPTransport(uds=str(node.socket))
        timeout = httpx.Timeout(SILENCE_SECONDS)
        parameters = {"filters": FILTERS} | ({"since": since} if since else {})
        with (
            httpx.Client(transport=transport, base_url="http://engine", timeout=timeout) as http,
            http.stream("GET", "/v1.41/events", params=parameters) as response,
            contextlib.suppress(httpx.ReadTimeout),
        ):
            for line in response.iter_lines():
                event = json.loads(line)
                nanoseconds = event["timeNano"] + 1
                since = f"{nanoseconds // 10**9}.{nanoseconds % 10**9:09}"
                attributes = event["Actor"]["Attributes"]
                if attributes.get("state.new") in ("down", "disconnected", "unknown"):
                    self.lost += 1
                    self._activity.note_lost(attributes["name"])
        return since
