"""Many open streams, and streams at the end: of the service, of supervisord, of everything."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest

from tests.helpers.event_client import EventClient, open_events
from tests.helpers.ports import find_free_port
from tests.helpers.processes import cpu_seconds, is_alive
from tests.helpers.stack import ADMIN_CODE, OVERDUE, PlugvisorStack, run_stack
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

QUICK = "auto_start = false\nsupervisor.startsecs = 0\nsupervisor.autorestart = false"


@contextlib.contextmanager
def many(plugvisor: PlugvisorStack, count: int) -> Iterator[list[EventClient]]:
    """So many open streams, each of which has begun."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(open_events(plugvisor.port, code=ADMIN_CODE)) for _ in range(count)]
        for listener in listeners:
            listener.wait("snapshot")
        yield listeners


def test_a_frozen_supervisord_is_unavailable_and_then_told_anew(shared: PlugvisorStack) -> None:
    with open_events(shared.port) as listener, open_events(shared.port) as other:
        listener.wait("snapshot")
        os.kill(shared.supervisord_pid, signal.SIGSTOP)
        try:
            for each in (listener, other):
                told = each.wait("unavailable")
                assert told.data["detail"]
                assert "time" in told.data
            assert shared.http.get("/plugins").status_code == 503
        finally:
            os.kill(shared.supervisord_pid, signal.SIGCONT)
        for each in (listener, other):
            position = each.kinds.index("unavailable")
            each.wait("snapshot", after=position)
            assert each.kinds.count("unavailable") == 1
            assert each.grows


def test_a_supervisord_that_is_killed_and_the_next_one(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("there", runtime=QUICK)
    plugvisor.up()
    port = find_free_port()
    serve = plugvisor.spawn("serve", PLUGVISOR_PORT=str(port), PLUGVISOR_ADMIN_CODE=ADMIN_CODE)
    try:
        wait_for(lambda: _listens(port), "a service that is no program of supervisord's")
        with open_events(port) as listener, open_events(plugvisor.port) as ours:
            listener.wait("snapshot")
            ours.wait("snapshot")
            assert plugvisor.process is not None
            service = plugvisor.service_pid
            plugvisor.process.kill()
            plugvisor.process.wait()
            listener.wait("unavailable")
            wait_for(lambda: ours.ended, "the service of that supervisord to end with it")
            assert ours.ended == "cleanly"
            wait_for(lambda: not is_alive(service))
            position = len(listener.events)
            plugvisor.up()
            assert "there" in listener.wait("snapshot", after=position).plugins
            plugvisor.start_running("there")
            # by a status, or by a snapshot where the state stream has only just been found
            wait_for(lambda: listener.state_of("there") == "RUNNING")
            assert listener.grows
    finally:
        serve.terminate()
        serve.wait(DEADLINE_SECONDS)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def test_open_streams_delay_neither_a_restart_nor_the_end(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("there", runtime=QUICK)
    plugvisor.up()
    with many(plugvisor, 50) as listeners:
        before = plugvisor.service_pid
        plugvisor.ctl("restart", "plugvisor")
        assert OVERDUE not in plugvisor.service_log
        assert plugvisor.service_pid != before
        wait_for(lambda: all(listener.ended for listener in listeners))
        assert {listener.ended for listener in listeners} == {"cleanly"}
    wait_for(plugvisor.is_ready)
    with many(plugvisor, 50) as listeners:
        plugvisor.start_running("there")
        for listener in listeners:
            listener.wait("status", plugin_id="there", state="RUNNING")
        assert plugvisor.process is not None
        plugvisor.process.send_signal(signal.SIGTERM)
        plugvisor.process.wait(DEADLINE_SECONDS)
        assert OVERDUE not in plugvisor.service_log
        wait_for(lambda: all(listener.ended for listener in listeners))
        assert {listener.ended for listener in listeners} == {"cleanly"}
    assert "Traceback" not in plugvisor.service_log


def test_clients_that_do_not_read_delay_no_end_either(plugvisor: PlugvisorStack) -> None:
    """Their streams are full, so that nothing more can be sent to them, not even the end."""
    text = "x" * 2000
    for number in range(100):
        folder = plugvisor.write_plugin(f"plugin{number}", runtime="auto_start = false")
        manifest = (folder / "plugin.toml").read_text()
        (folder / "plugin.toml").write_text(manifest.replace("[plugin]\n", f'[plugin]\ndescription = "{text}"\n'))
    plugvisor.up()
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            deaf = stack.enter_context(socket.socket())
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(("127.0.0.1", plugvisor.port))
            deaf.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with open_events(plugvisor.port) as listener:
            listener.wait("snapshot")
            for _ in range(40):  # 200 kB each
                assert plugvisor.post("/plugins/refresh").status_code == 200
            wait_for(lambda: listener.kinds.count("plugins") + listener.kinds.count("snapshot") >= 2)
            plugvisor.ctl("restart", "plugvisor")
            assert OVERDUE not in plugvisor.service_log
            wait_for(lambda: listener.ended)
            # its response is complete; a browser drops an event of which it has only a part
            assert listener.ended in ("cleanly", "in the middle of an event")
    wait_for(plugvisor.is_ready)


@pytest.fixture(scope="module")
def crowded() -> Iterator[PlugvisorStack]:
    """Not `shared`: five hundred streams are for our own supervisord to bear."""
    with run_stack() as made:
        made.write_plugin("there", runtime=QUICK)
        made.up()
        yield made


def test_five_hundred_streams_cost_supervisord_nothing(crowded: PlugvisorStack) -> None:
    with many(crowded, 500) as listeners:
        before, began = cpu_seconds(crowded.supervisord_pid), time.monotonic()
        while time.monotonic() - began < 3:
            assert crowded.http.get("/plugins").status_code == 200
        assert cpu_seconds(crowded.supervisord_pid) - before < 0.3
        pid = crowded.start_running("there")
        for listener in listeners:
            listener.wait("status", plugin_id="there", pid=pid, state="RUNNING")
        crowded.post("/plugin/there/stop")
    service = crowded.service_pid
    wait_for(lambda: len(os.listdir(f"/proc/{service}/fd")) < 50, "the streams to be closed on the other side too")
