"""`GET /events` over a real service: a snapshot, then every change in its order, and nothing lost by a reconnect."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import TYPE_CHECKING

import pytest

from tests.helpers.event_client import EventClient, open_events
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.stack import PlugvisorStack

QUICK = "auto_start = false\nsupervisor.startsecs = 0\nsupervisor.autorestart = false"


def follow_states(listener: EventClient, plugin_id: str) -> list[str]:
    """The states in which a plugin was told to be, each of them once in a row."""
    return [state for state, _ in groupby(event.data["state"] for event in listener.of(plugin_id))]


def wait_for_number(listener: EventClient, number: int) -> None:
    wait_for(lambda: listener.events and listener.events[-1].number >= number, f"event {number}")


def test_the_answers_headers(shared: PlugvisorStack) -> None:
    with open_events(shared.port) as listener:
        headers = listener.response.headers
        assert listener.response.status == 200
        assert headers["Content-Type"].partition(";")[0] == "text/event-stream"
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Accel-Buffering"] == "no"
        assert headers["Content-Length"] is None
    assert shared.post("/events").status_code == 405


def test_a_snapshot_and_then_each_change_in_order(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    with open_events(shared.port) as listener:
        snapshot = listener.wait("snapshot")
        listed = {plugin["id"]: plugin for plugin in shared.http.get("/plugins").json()["plugins"]}
        assert snapshot.plugins.keys() == listed.keys()
        assert snapshot.plugins[plugin_id] == listed[plugin_id]  # plugins of other tests may change meanwhile
        assert "time" in snapshot.data

        pid = shared.start_running(plugin_id)
        started = listener.wait("status", plugin_id=plugin_id, state="RUNNING", pid=pid)
        assert started.data.keys() >= {"plugin_id", "status", "state", "pid", "uptime", "time"}
        assert shared.post(f"/plugin/{plugin_id}/stop").status_code == 200
        stopped = listener.wait("status", plugin_id=plugin_id, state="STOPPED")
        assert stopped.data["status"] == "stopped"
        assert "pid" not in stopped.data
        pid = shared.start_running(plugin_id)
        listener.wait("status", plugin_id=plugin_id, state="RUNNING", pid=pid)
        os.kill(pid, signal.SIGKILL)
        killed = listener.wait("status", plugin_id=plugin_id, state="EXITED")
        assert killed.data["status"] == "error"
        assert "killed by" in killed.data["detail"]
        assert killed.data["last_exit"]["signal"] == "SIGKILL"
        assert follow_states(listener, plugin_id) == ["RUNNING", "STOPPING", "STOPPED", "RUNNING", "EXITED"]
        assert listener.grows
        assert listener.kinds[0] == "snapshot"
        assert set(listener.kinds[1:]) == {"status"}
        with open_events(shared.port) as other:  # who comes now sees what the first one has come to know
            other.wait("snapshot")
            assert other.events[0].plugins[plugin_id]["state"] == "EXITED"


def test_a_refresh_is_told(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    add(suffix="-before")
    with open_events(shared.port) as listener:
        listener.wait("snapshot")
        plugin_id = add(suffix="-new")

        def is_told() -> bool:
            lists = [event for event in listener.events[1:] if event.kind in ("plugins", "snapshot")]
            return bool(lists) and plugin_id in lists[-1].plugins

        wait_for(is_told)
        assert "snapshot" not in listener.kinds[1:]
        (shared.plugins_dir / plugin_id).rename(shared.root / plugin_id)
        assert plugin_id in shared.post("/plugins/refresh").json()["removed"]
        wait_for(lambda: not is_told())
        assert listener.grows


def test_one_plugin_alone(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    mine, other = add(runtime=QUICK, suffix="-a"), add(runtime=QUICK, suffix="-b")
    with open_events(shared.port, plugin_id=mine) as listener, open_events(shared.port) as witness:
        assert list(listener.wait("snapshot").plugins) == [mine]
        for plugin_id in (other, mine):
            pid = shared.start_running(plugin_id)
            witness.wait("status", plugin_id=plugin_id, pid=pid, state="RUNNING")
        listener.wait("status", plugin_id=mine, state="RUNNING")
        add(suffix="-c")
        shared.post(f"/plugin/{mine}/stop")
        listener.wait("status", plugin_id=mine, state="STOPPED")
        lists = [event for event in listener.events if event.kind in ("snapshot", "plugins")]
        assert {plugin_id for event in lists for plugin_id in event.plugins} == {mine}
        assert listener.of(other) == []
        assert witness.of(other) != []
    answer = shared.http.get("/events", params={"plugin_id": "nobody"})
    assert (answer.status_code, answer.json()["code"]) == (404, "plugin_not_found")


def test_a_reconnect_loses_nothing_and_doubles_nothing(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id, other = add(runtime=QUICK, suffix="-a"), add(runtime=QUICK, suffix="-b")
    with open_events(shared.port) as witness:
        witness.wait("snapshot")
        for _ in range(5):
            for each in (plugin_id, other):
                shared.post(f"/plugin/{each}/start")
                shared.post(f"/plugin/{each}/stop")
        wait_for(lambda: [event.data["state"] for event in witness.of(other)].count("STOPPED") >= 5)
        seen = witness.events
        for number in range(0, len(seen), 3):
            with open_events(shared.port, seen[number].id) as again:
                wait_for(lambda again=again, rest=seen[number + 1 :]: len(again.events) >= len(rest))
                with open_events(shared.port, seen[number].id, plugin_id=other) as filtered:
                    expected = [event.id for event in seen[number + 1 :] if event.data.get("plugin_id") == other]
                    wait_for(lambda filtered=filtered, ids=expected: len(filtered.events) >= len(ids))
                stops = follow_states(witness, plugin_id).count("STOPPED")
                shared.post(f"/plugin/{plugin_id}/start")  # and it goes on from there
                shared.post(f"/plugin/{plugin_id}/stop")
                wait_for(lambda stops=stops: follow_states(witness, plugin_id).count("STOPPED") > stops)
                assert [event.id for event in filtered.events] == expected
                # each client reads in its own time
                wait_for(lambda again=again, position=number + 1: has_same_events(again, witness, position))


def has_same_events(listener: EventClient, witness: EventClient, position: int) -> bool:
    """Whether a client has received what another one has from a position on, and nothing else."""
    received, expected = ([(event.id, event.data) for event in list(one.events)] for one in (listener, witness))
    return received == expected[position:]


BAD_IDS = {
    **{text: text for text in ("0", "x", "-", "deadbeef-1", "%0d%0a")},
    **{f"run-{text}": f"{{run}}-{text}" for text in ("", "x", "-1", "999999999", "1e3", "\xb2")},
    "of-another-world": "a" * 5000,
    "run-and-many-digits": "{run}-" + "9" * 5000,
}


@pytest.mark.parametrize("bad", BAD_IDS)
def test_an_id_that_is_not_ours_is_answered_with_a_snapshot(shared: PlugvisorStack, bad: str) -> None:
    with open_events(shared.port) as first:
        run = first.wait("snapshot").id.rpartition("-")[0]
    with open_events(shared.port, BAD_IDS[bad].format(run=run)) as listener:
        listener.wait("snapshot")
        assert listener.kinds[0] == "snapshot"


def test_after_more_events_than_are_kept_a_snapshot_is_all_that_helps(
    shared: PlugvisorStack, add: Callable[..., str]
) -> None:
    plugin_id = add(runtime=QUICK)
    with open_events(shared.port) as first:
        early = first.wait("snapshot").id

    def toggle(_: int) -> None:
        for verb in ("start", "stop"):
            shared.post(f"/plugin/{plugin_id}/{verb}")

    with open_events(shared.port) as witness, ThreadPoolExecutor(1) as client:
        witness.wait("snapshot")
        work = client.submit(lambda: [toggle(number) for number in range(400)])
        work.result()
        shared.start_running(plugin_id)
        last = witness.wait("status", plugin_id=plugin_id, state="RUNNING", after=len(witness.events) - 1)
        assert witness.grows
    with open_events(shared.port, early) as again:
        told = again.wait("snapshot")
        assert told.number >= last.number
        assert told.plugins[plugin_id]["state"] == "RUNNING"
