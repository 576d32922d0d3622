"""Events and logs, whichever engine runs the plugins."""

from __future__ import annotations

import os
import signal
from itertools import groupby
from typing import TYPE_CHECKING

from tests.helpers.event_client import open_events
from tests.helpers.log_clients import (
    following,
    open_websocket,
    receive,
    receive_lines,
    wait_for_lines,
)
from tests.helpers.plugin_processes import find_plugin
from tests.helpers.stack import QUICK
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.stack import PlugvisorStack

COUNTING = """\
import os, signal, sys
count = 0
def count_on(*_):
    global count
    count += 1
    os.write(1, f"line {count} 你好\\n".encode())
signal.signal(signal.SIGUSR1, count_on)
signal.signal(signal.SIGTERM, lambda *_: (os.write(1, b"last words\\n"), os._exit(0)))
print("ready", flush=True)
while True:
    signal.pause()
"""
"""Prints a line at each SIGUSR1."""


def test_events_show_every_step(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add()
    with open_events(shared.port) as events:
        snapshot = events.wait("snapshot")
        assert snapshot.plugins[plugin_id]["status"] == "stopped"
        shared.start_running(plugin_id)
        events.wait("status", plugin_id=plugin_id, status="running")
        seen = len(events.events)
        shared.change(plugin_id, "stop")
        events.wait("status", after=seen, plugin_id=plugin_id, status="stopped")
        states = [event.data["status"] for event in events.of(plugin_id)]
        assert [state for state, _ in groupby(states) if state in ("starting", "running", "stopped")][-3:] == [
            "starting",
            "running",
            "stopped",
        ]
        numbers = [event.number for event in events.events if event.kind != "nodes"]  # the first has its snapshot's
        assert numbers == sorted(set(numbers))


def test_events_are_resumed(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    with open_events(shared.port) as events:
        events.wait("snapshot")
    shared.start_running(plugin_id)
    with open_events(shared.port, events.last_id) as resumed:
        resumed.wait("status", plugin_id=plugin_id, status="running")
        assert "snapshot" not in resumed.kinds
    shared.change(plugin_id, "stop")


def test_the_last_lines_and_their_end(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(COUNTING, runtime=QUICK)
    shared.start_running(plugin_id)
    print_lines(shared, plugin_id, 2)
    wait_for(lambda: shared.read_log(plugin_id) == "ready\nline 1 你好\nline 2 你好\n", "two lines")
    told = shared.get(f"/plugin/{plugin_id}/logs?lines=1").json()
    assert [entry["message"] for entry in told["logs"]] == ["line 2 你好"]
    shared.change(plugin_id, "stop")
    assert shared.read_log(plugin_id).endswith("last words\n")
    shared.start_running(plugin_id)
    assert shared.read_log(plugin_id).splitlines()[-2:] == ["last words", "ready"]
    shared.change(plugin_id, "stop")


def print_lines(stack: PlugvisorStack, plugin_id: str, count: int) -> None:
    """Have a plugin print lines, one after another."""
    for _ in range(count):
        before = stack.read_log(plugin_id).count("\n")
        [pid] = find_plugin(stack, plugin_id)
        os.kill(pid, signal.SIGUSR1)
        wait_for(lambda before=before: stack.read_log(plugin_id).count("\n") > before, "a line")


def test_a_log_is_followed(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(COUNTING, runtime=QUICK)
    with following(shared, plugin_id) as listener, open_websocket(shared, plugin_id) as websocket:
        assert listener.wait("initial").data["logs"] == []
        assert receive(websocket)["type"] == "initial"
        shared.start_running(plugin_id)
        print_lines(shared, plugin_id, 2)
        wait_for_lines(listener, "ready", "line 1 你好", "line 2 你好")
        assert receive_lines(websocket, 3) == ["ready", "line 1 你好", "line 2 你好"]
        shared.change(plugin_id, "stop")
        wait_for_lines(listener, "last words")
        shared.start_running(plugin_id)
        wait_for_lines(listener, "last words", "ready")
        with following(shared, plugin_id, listener.last_id) as resumed:
            print_lines(shared, plugin_id, 1)
            wait_for_lines(resumed, "line 1 你好")
        shared.change(plugin_id, "stop")
