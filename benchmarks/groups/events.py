"""How soon a browser sees that a plugin was killed."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from typing import TYPE_CHECKING, Any

from benchmarks.result import Result, Sample
from benchmarks.systems.plugvisor_stack import HOST
from benchmarks.systems.supervisord import INSTANT_PLUGIN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.testbed import Testbed

ROUNDS = 100
READ_SECONDS = 30.0


def measure_events(testbed: Testbed) -> Iterator[Result]:
    """From SIGKILL until the event is on `/events`; supervisord alone has no such stream to compare with."""
    connection = http.client.HTTPConnection(HOST, testbed.plugvisor.port, timeout=READ_SECONDS)
    connection.request("GET", f"/events?plugin_id={INSTANT_PLUGIN}")
    stream = connection.getresponse()
    milliseconds: list[float] = []
    try:
        status = _read_event(stream)["plugins"][0]
        while len(milliseconds) < ROUNDS:
            while status.get("status") != "running":
                status = _read_event(stream)
            testbed.plugvisor.wait_for_exec(INSTANT_PLUGIN)
            began = time.perf_counter()
            os.kill(status["pid"], signal.SIGKILL)
            status = _read_event(stream)
            milliseconds.append((time.perf_counter() - began) * 1000)
    finally:
        connection.close()
    yield Result("SIGKILL until its event is on /events", testbed.plugins, "ms", Sample.of(milliseconds))


def _read_event(stream: http.client.HTTPResponse) -> dict[str, Any]:
    """The data of the next event."""
    while line := stream.readline():
        if line.startswith(b"data: "):
            data: dict[str, Any] = json.loads(line.removeprefix(b"data: "))
            return data
    raise EOFError("the stream of events has ended")
