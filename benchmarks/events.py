"""How soon a browser is told that a plugin was killed."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from typing import TYPE_CHECKING, Any

from benchmarks.figure import Figure, Sample
from benchmarks.stage import HOST
from benchmarks.supervised import QUICK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.stage import Stage

TRIES = 100
PATIENCE_SECONDS = 30.0


def measure_events(stage: Stage) -> Iterator[Figure]:
    """From SIGKILL until the event is on `/events`; no plain way tells of it without being asked."""
    connection = http.client.HTTPConnection(HOST, stage.ours.port, timeout=PATIENCE_SECONDS)
    connection.request("GET", f"/events?plugin_id={QUICK}")
    stream = connection.getresponse()
    took = []
    try:
        told = _read(stream)["plugins"][0]
        while len(took) < TRIES:
            while told.get("status") != "running":
                told = _read(stream)
            stage.ours.wait_for_exec(QUICK)
            began = time.perf_counter()
            os.kill(told["pid"], signal.SIGKILL)
            told = _read(stream)
            took.append((time.perf_counter() - began) * 1000)
    finally:
        connection.close()
    yield Figure("SIGKILL until its event is on /events", stage.plugins, "ms", Sample.of(took))


def _read(stream: http.client.HTTPResponse) -> dict[str, Any]:
    """The data of the next event."""
    while line := stream.readline():
        if line.startswith(b"data: "):
            told: dict[str, Any] = json.loads(line.removeprefix(b"data: "))
            return told
    raise EOFError("the stream of events has ended")
