"""The state stream: what it reports and how soon, and that no reader can make supervisord wait or grow."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
import xmlrpc.client
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.plugin_code import CRASHING, OBEDIENT
from tests.helpers.supervisord import (
    AT_ONCE,
    BACKOFF,
    EXITED,
    FATAL,
    RUNNING,
    STARTING,
    STOPPED,
    STOPPING,
    make_supervisord,
)
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.helpers.supervisord import StreamReader, Supervisord

SMALL_BACKLOG = """\
from plugvisor.engines.supervisord.extension import stream
from plugvisor.engines.supervisord.extension.rpcinterface import make_rpcinterface
stream.LARGEST_BACKLOG_BYTES = 200_000
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[Supervisord]:
    """One supervisord for the whole file, which keeps little for a reader that does not read."""
    with make_supervisord("small_backlog") as made:
        (made.root / "small_backlog.py").write_text(SMALL_BACKLOG)
        made.start()
        yield made


# -- what it reports


def test_it_begins_with_a_snapshot_and_reports_every_change(
    shared: Supervisord, reader: StreamReader, add: Callable[..., str]
) -> None:
    name = add(startsecs=1)
    process = reader.wait_for(name, state=STOPPED)
    assert process == {
        "name": name,
        "state": STOPPED,
        "pid": 0,
        "started": 0.0,
        "exit_status": 0,
        "spawn_error": "",
        "retry_at": None,
        "restarts": 0,
        "last_exit": None,
        "flapping": False,
        "launches": 0,
        "start_pending": False,
        "orphans": False,
        "stop_seconds": 20,
        "log_begin": None,
    }
    shared.rpc("plugins.start", name)
    reader.wait_for(name, state=RUNNING)
    shared.rpc("plugins.stop", name)
    reader.wait_for(name, state=STOPPED, orphans=False)
    second = shared.follow()
    assert [message["type"] for message in second.messages] == ["snapshot"]
    assert second.processes is not None
    assert reader.processes is not None
    assert second.processes[name] == reader.processes[name]
    shared.rpc("plugins.remove", name)
    wait_for(lambda: name not in (reader.processes or {}))
    assert [message["type"] for message in reader.messages] == [
        "snapshot",
        *["process"] * (len(reader.messages) - 2),
        "removed",
    ]
    assert list(dict.fromkeys(reader.list_states(name)[1:])) == [STARTING, RUNNING, STOPPING, STOPPED]
    numbers = [message["seq"] for message in reader.messages]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_a_heartbeat_if_nothing_changes(shared: Supervisord, reader: StreamReader) -> None:
    wait_for(lambda: [message["type"] for _, message in reader.lines].count("heartbeat") >= 3)
    beats = [message for _, message in reader.lines if message["type"] == "heartbeat"]
    assert {message["seq"] for message in beats} == {reader.messages[-1]["seq"]}


def test_how_it_ended_and_who_started_it_again(
    shared: Supervisord, reader: StreamReader, add: Callable[..., str]
) -> None:
    name = add(OBEDIENT.replace("sys.exit(0)", "sys.exit(7)"), autorestart="unexpected", exitcodes=7, restart=AT_ONCE)
    shared.start_ready(name)
    for round_ in (1, 2):  # supervisord's own restarts
        pid = reader.wait_for(name, state=RUNNING)["pid"]
        before = time.time()
        os.kill(pid, signal.SIGKILL)
        process = reader.wait_for(name, restarts=round_, state=RUNNING)
        assert process["last_exit"]["signal"] == "SIGKILL"
        assert before - 1 <= process["last_exit"]["at"] <= time.time() + 1
        assert process["pid"] != pid
        wait_for(lambda round_=round_: shared.count_ready(name) == round_ + 1)
    os.kill(process["pid"], signal.SIGTERM)  # an expected exit: it is not restarted
    process = reader.wait_for(name, state=EXITED)
    assert (process["last_exit"]["code"], process["exit_status"]) == (7, 7)
    shared.start_ready(name)
    assert reader.wait_for(name, state=RUNNING)["restarts"] == 2
    shared.rpc("supervisor.signalProcess", name, "USR1")
    assert reader.wait_for(name, restarts=3)["last_exit"]["signal"] == "SIGUSR1"


def test_when_it_was_started(shared: Supervisord, reader: StreamReader, add: Callable[..., str]) -> None:
    """On the monotonic clock, which all processes share."""
    name, before = add(), time.monotonic()
    shared.rpc("plugins.start", name)
    assert before <= reader.wait_for(name, state=RUNNING)["started"] <= time.monotonic()
    shared.stop_plugin(name)
    assert reader.wait_for(name, state=STOPPED)["started"] == 0


def test_the_next_try_and_giving_up(shared: Supervisord, reader: StreamReader, add: Callable[..., str]) -> None:
    name = add("raise SystemExit(5)\n", startsecs=5, startretries=1, autorestart="true")
    shared.fault("plugins.start", name)
    waiting = reader.wait_for_report(name, state=BACKOFF)
    assert 0 < waiting["retry_at"] - waiting["last_exit"]["at"] < 2
    assert waiting["last_exit"]["code"] == 5
    assert "too quickly" in waiting["spawn_error"]
    last = reader.wait_for(name, state=FATAL)
    assert reader.list_states(name).count(BACKOFF) == 1, "only while it is going to be started again"
    assert (last["retry_at"], last["restarts"], last["launches"], last["flapping"]) == (None, 1, 2, False)
    # a start by somebody has every try again
    shared.fault("plugins.start", name)
    reader.wait_for_report(name, state=BACKOFF, launches=3)
    reader.wait_for(name, state=FATAL, launches=4)


def test_one_that_dies_again_and_again_is_flapping(
    shared: Supervisord, reader: StreamReader, add: Callable[..., str]
) -> None:
    name = add(CRASHING, autorestart="unexpected", restart=AT_ONCE)
    shared.rpc("plugins.start", name)
    wait_for(lambda: any(message.get("process", {}).get("restarts") == 3 for message in reader.messages))
    lines = [message["process"] for message in reader.messages if message["type"] == "process"]
    by_restarts = {process["restarts"]: process["flapping"] for process in lines if process["name"] == name}
    assert [by_restarts[number] for number in range(4)] == [False, False, False, True]
    shared.rpc("plugins.stop", name)
    shared.wait_until_gone(name)
    shared.write_plugin(name)
    shared.start_ready(name)
    assert not reader.wait_for(name, state=RUNNING)["flapping"], "a person's start is a new beginning"


def test_deaths_and_restarts_are_reported_at_once(
    shared: Supervisord, reader: StreamReader, add: Callable[..., str]
) -> None:
    """Far sooner than a heartbeat, which comes each second whatever happens."""
    name = add(autorestart="true", restart=AT_ONCE)
    shared.rpc("plugins.start", name)
    seconds = []
    for round_ in range(1, 8):
        pid = reader.wait_for(name, state=RUNNING)["pid"]
        killed = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        reader.wait_for(name, restarts=round_, state=RUNNING)
        seconds.append(
            next(at - killed for at, line in reader.lines if line.get("process", {}).get("restarts") == round_)
        )
    assert sorted(seconds)[2] < 0.5


# -- readers


def test_one_that_never_reads_is_disconnected(
    shared: Supervisord, reader: StreamReader, add: Callable[..., str]
) -> None:
    name = add()
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.connect(str(shared.root / "state.sock"))
        end = select.poll()
        end.register(deaf, 0)  # asks for POLLHUP alone, which comes whatever is unread
        numbers = [shared.rpc("plugins.sync")]
        call: dict[str, Any] = {"methodName": "plugins.add", "params": [name]}
        before = shared.read_resident_kilobytes()
        while not end.poll(0):
            shared.rpc("system.multicall", [call] * 200)
            numbers.append(shared.rpc("plugins.sync"))
            assert numbers[-1] - numbers[0] < 5_000, "it is not disconnected"
        assert numbers[1] - numbers[0] == 200
        assert shared.read_resident_kilobytes() - before < 10_000
    assert "does not keep up" in shared.log
    wait_for(lambda: reader.messages[-1]["seq"] == numbers[-1], "the other reader to have everything")
    seen = [message["seq"] for message in reader.messages]
    assert seen == list(range(seen[0], seen[0] + len(seen)))
    # it may connect anew, and begins with a snapshot
    assert shared.follow().messages[0]["seq"] == numbers[-1]


def test_many_come_and_go(shared: Supervisord, reader: StreamReader) -> None:
    descriptors, memory = shared.count_descriptors(), shared.read_resident_kilobytes()
    for number in range(300):
        with socket.socket(socket.AF_UNIX) as other:
            other.settimeout(20)
            other.connect(str(shared.root / "state.sock"))
            if number % 3 == 0:
                assert other.recv(20).startswith(b'{"type": "snapshot"')
            elif number % 3 == 1:
                other.sendall(b"x" * 1000)
    wait_for(lambda: shared.count_descriptors() <= descriptors)
    assert shared.read_resident_kilobytes() - memory < 5_000
    assert not reader.is_closed


def test_readers_that_leave_while_they_are_written_to(shared: Supervisord, add: Callable[..., str]) -> None:
    """A call that changes something, and the readers' ends, are in one round of supervisord's loop."""
    name, log_size = add(), len(shared.log)
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(20)
        caller.connect(str(shared.root / "rpc.sock"))
        caller.sendall(_make_call("supervisor.getState"))
        assert caller.recv(4096)  # the connection was accepted
        for _ in range(3):
            shared.follow()
        os.kill(shared.pid, signal.SIGSTOP)
        try:
            caller.sendall(_make_call("plugins.start", name))
            shared.close_readers()
        finally:
            os.kill(shared.pid, signal.SIGCONT)
        assert caller.recv(4096)
    assert shared.states[name][0] == RUNNING
    assert "Traceback" not in shared.log[log_size:]


def _make_call(method: str, *parameters: str) -> bytes:
    body = xmlrpc.client.dumps(parameters, method)
    return f"POST /RPC2 HTTP/1.1\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def test_what_they_send_is_ignored(shared: Supervisord, reader: StreamReader, add: Callable[..., str]) -> None:
    name, memory = add(), shared.read_resident_kilobytes()
    reader.socket.sendall(b'{"type": "snap')
    talker = shared.follow()
    for _ in range(50):
        talker.socket.sendall(b"\0" * 100_000)
    shared.start_ready(name)
    for each in (reader, talker):
        each.wait_for(name, state=RUNNING)
    assert shared.read_resident_kilobytes() - memory < 2_000


def test_at_most_64(shared: Supervisord, reader: StreamReader, add: Callable[..., str]) -> None:
    name = add()
    readers = [shared.follow(synced=False) for _ in range(100)]
    wait_for(lambda: all(other.is_closed or other.processes is not None for other in readers))
    accepted = [other for other in readers if not other.is_closed]
    assert len(accepted) == 63
    shared.start_ready(name)
    for other in (reader, *accepted):
        other.wait_for(name, state=RUNNING)
    for other in accepted:
        other.close()

    def is_accepted() -> bool:
        other = shared.follow(synced=False)
        wait_for(lambda: other.is_closed or other.processes is not None, "an answer")
        return not other.is_closed

    wait_for(is_accepted, "room for another one")
    shared.readers[-1].wait_for(name, state=RUNNING)


def test_nobody_else_may_connect(shared: Supervisord) -> None:
    assert (shared.root / "state.sock").stat().st_mode & 0o777 == 0o600
