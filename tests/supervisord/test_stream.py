"""The state stream: what it tells, how soon, and that no reader can make supervisord wait or grow."""

from __future__ import annotations

import os
import select
import signal
import socket
import statistics
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import OBEDIENT, wait_for
from tests.supervisord.lone import BACKOFF, EXITED, FATAL, RUNNING, STARTING, STOPPED, STOPPING, make_lone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.supervisord.lone import Follower, Lone

SMALL_LIMITS = """\
from plugvisor.engines.supervisord.extension import stream
from plugvisor.engines.supervisord.extension.rpcinterface import make_rpcinterface
stream.LARGEST_BACKLOG_BYTES = 200_000
"""


@pytest.fixture(scope="module")
def lone() -> Iterator[Lone]:
    """One supervisord for the file; a test adds its own programs to it."""
    with make_lone("limited") as made:
        (made.root / "limited.py").write_text(SMALL_LIMITS)
        made.start()
        yield made


@pytest.fixture
def follower(lone: Lone) -> Iterator[Follower]:
    lone.hang_up()
    yield lone.follow()
    lone.hang_up()


def test_it_begins_with_a_snapshot_and_tells_every_change(
    lone: Lone, follower: Follower, add_program: Callable[..., str]
) -> None:
    name = add_program("told", startsecs=1)
    told = follower.wait_for(name, state=STOPPED, pid=0, restarts=0, last_exit=None, retry_at=None, flapping=False)
    assert set(told) >= {"uptime", "exit_status", "spawn_error"}
    lone.rpc("supervisor.startProcess", name)
    assert lone.rpc("supervisor.stopProcess", name) is True
    follower.wait_for(name, state=STOPPED)
    second = lone.follow()
    assert [message["type"] for message in second.messages] == ["snapshot"]
    assert second.picture[name] == follower.picture[name]
    assert lone.rpc("plugins.remove", name) is True
    wait_for(lambda: name not in (follower.picture or {}))
    kinds = [message["type"] for message in follower.messages]
    assert kinds[0] == "snapshot"
    assert kinds[-1] == "removed"
    assert set(kinds[1:-1]) == {"process"}
    states = [message["process"]["state"] for message in follower.messages[1:-1]]
    assert [state for state in states if state != STOPPING] == [STOPPED, STARTING, RUNNING, STOPPED]
    numbers = [message["seq"] for message in follower.messages]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert follower.messages[0]["processes"] == [] or name not in str(follower.messages[0])


def test_a_heartbeat_each_second_when_nothing_changes(lone: Lone, follower: Follower) -> None:
    wait_for(lambda: [message["type"] for _, message in follower.lines].count("heartbeat") >= 4, seconds=8)
    beats = [(moment, message) for moment, message in follower.lines if message["type"] == "heartbeat"]
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(beats)]
    assert max(gaps) < 1.9, "the board takes a stream that is silent for two seconds for broken"
    assert statistics.median(gaps) > 0.4
    assert {message["seq"] for _, message in beats} == {follower.messages[-1]["seq"]}


def test_how_it_ended_and_who_restarted_it(lone: Lone, follower: Follower, add_program: Callable[..., str]) -> None:
    exits = OBEDIENT.replace("sys.exit(0)", "sys.exit(7)")
    name = add_program("ending", exits, autorestart="unexpected", exitcodes=7)
    lone.rpc("supervisor.startProcess", name)
    for round_ in range(1, 4):  # supervisord's own restarts
        pid = follower.wait_for(name, state=RUNNING)["pid"]
        before = time.time()
        os.kill(pid, signal.SIGKILL)
        told = follower.wait_for(name, restarts=round_, state=RUNNING)
        assert told["last_exit"]["signal"] == "SIGKILL"
        assert before - 1 <= told["last_exit"]["at"] <= time.time() + 1
        assert told["pid"] != pid
    lone.rpc("supervisor.stopProcess", name)  # a person's
    lone.start_ready(name)
    told = follower.wait_for(name, state=RUNNING)
    assert told["restarts"] == 3
    os.kill(told["pid"], signal.SIGTERM)  # its exit is expected: nobody restarts it, and a person starts it
    told = follower.wait_for(name, state=EXITED)
    assert told["last_exit"]["code"] == 7
    assert told["exit_status"] == 7
    lone.rpc("supervisor.startProcess", name)
    assert follower.wait_for(name, state=RUNNING)["restarts"] == 3
    lone.rpc("supervisor.signalProcess", name, "USR1")
    assert follower.wait_for(name, restarts=4)["last_exit"]["signal"] == "SIGUSR1"


def test_backoff_tells_the_next_try_and_giving_up(
    lone: Lone, follower: Follower, add_program: Callable[..., str]
) -> None:
    name = add_program("failing", "raise SystemExit(5)\n", startsecs=5, startretries=2, autorestart="true")
    lone.fault("supervisor.startProcess", name, False)
    follower.wait_for(name, state=FATAL)
    told = [
        (moment, message["process"])
        for moment, message in follower.lines
        if message["type"] == "process" and message["process"]["name"] == name
    ]
    tries = [(moment, process) for moment, process in told if process["state"] == STARTING]
    waits = [(moment, process) for moment, process in told if process["state"] == BACKOFF]
    assert len(waits) == 3
    offset = time.time() - time.monotonic()
    for (_, waiting), (begun, _) in zip(waits, tries[-2:], strict=False):
        assert -0.1 < begun + offset - waiting["retry_at"] < 1
        assert waiting["pid"] == 0
        assert waiting["last_exit"]["code"] == 5
        assert "too quickly" in waiting["spawn_error"]
    assert all(process["retry_at"] is None for _, process in told if process["state"] != BACKOFF)
    assert told[-1][1]["restarts"] == 2
    assert not told[-1][1]["flapping"], "it never lived for its startsecs"


def test_a_start_after_a_stop_has_every_try_again(
    lone: Lone, follower: Follower, add_program: Callable[..., str]
) -> None:
    name = add_program("retrying", "raise SystemExit(5)\n", startsecs=5, startretries=1)
    lone.fault("supervisor.startProcess", name, False)
    follower.wait_for(name, state=BACKOFF)
    lone.rpc("supervisor.stopProcess", name)
    follower.wait_for(name, state=STOPPED)
    before = len(follower.messages)
    lone.fault("supervisor.startProcess", name, False)
    follower.wait_for(name, state=FATAL)
    states = [m["process"]["state"] for m in follower.messages[before:] if m["process"]["name"] == name]
    assert states.count(BACKOFF) == 2, "the first and one more, as after any start"


def test_a_plugin_that_dies_again_and_again_is_flapping(
    lone: Lone, follower: Follower, add_program: Callable[..., str]
) -> None:
    code = "import time\ntime.sleep(0.2)\nraise SystemExit(1)\n"
    name = add_program("flapping", code, autorestart="unexpected")
    lone.rpc("supervisor.startProcess", name)
    assert follower.wait_for(name, flapping=True, state=RUNNING)["restarts"] == 3
    told = follower.wait_for(name, restarts=6, state=RUNNING)
    assert told["flapping"]
    assert told["last_exit"]["code"] == 1
    while lone.fault("supervisor.stopProcess", name):  # it may have exited just now
        pass
    lone.rpc("supervisor.startProcess", name)
    assert not follower.wait_for(name, state=RUNNING)["flapping"], "a person's start is a new beginning"


def test_uptime_is_that_of_the_process(lone: Lone, follower: Follower, add_program: Callable[..., str]) -> None:
    name = add_program("lasting", autorestart="true")
    began = time.monotonic()
    lone.rpc("supervisor.startProcess", name)
    started = time.monotonic()
    wait_for(lambda: time.monotonic() - started > 1.2)
    asked = time.monotonic()
    picture = lone.follow().picture
    assert asked - started <= picture[name]["uptime"] <= time.monotonic() - began
    os.kill(picture[name]["pid"], signal.SIGKILL)
    assert follower.wait_for(name, restarts=1, state=RUNNING)["uptime"] < 1


def test_deaths_restarts_and_success_are_told_at_once(
    lone: Lone, follower: Follower, add_program: Callable[..., str]
) -> None:
    name = add_program("prompt", autorestart="true", startsecs=1)
    lone.rpc("supervisor.startProcess", name)
    deaths, restarts = [], []
    for round_ in range(1, 11):
        pid = follower.wait_for(name, state=RUNNING)["pid"]
        killed = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        follower.wait_for(name, restarts=round_)

        def when(killed: float = killed, **fields: Any) -> float:
            """Of the first line after the kill that tells this: how long after it."""
            return next(
                moment - killed
                for moment, message in follower.lines
                if moment > killed and fields.items() <= message.get("process", {}).items()
            )

        deaths.append(when(name=name, state=EXITED))
        restarts.append(when(name=name, state=STARTING))
        follower.wait_for(name, state=RUNNING)
        assert 0.9 < when(name=name, state=RUNNING) - restarts[-1] < 1.9
    assert statistics.median(deaths) < 0.1
    assert statistics.median(restarts) < 0.2


def test_a_reader_that_never_reads_is_disconnected(
    lone: Lone, follower: Follower, add_program: Callable[..., str]
) -> None:
    name = add_program("busy", autostart="false")
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.connect(str(lone.root / "state.sock"))
        end = select.poll()
        end.register(deaf, 0)  # asks for POLLHUP alone, which comes whatever is unread
        numbers = [lone.rpc("plugins.sync")]
        call = {"methodName": "plugins.replace", "params": [name]}
        before = lone.read_resident_kilobytes()
        while not end.poll(0):
            lone.rpc("system.multicall", [call] * 200)
            numbers.append(lone.rpc("plugins.sync"))
            assert numbers[-1] - numbers[0] < 5_000, "it is not disconnected"
        assert numbers[1] - numbers[0] == 200
        assert lone.read_resident_kilobytes() - before < 10_000
    assert "does not keep up" in lone.log
    assert "Traceback" not in lone.log
    wait_for(lambda: follower.messages[-1]["seq"] == numbers[-1], "the other reader to have everything")
    seen = [message["seq"] for message in follower.messages]
    assert seen == list(range(seen[0], seen[0] + len(seen)))


def test_a_thousand_readers_come_and_go(lone: Lone, follower: Follower) -> None:
    descriptors, memory = lone.count_descriptors(), lone.read_resident_kilobytes()
    for number in range(1000):
        with socket.socket(socket.AF_UNIX) as reader:
            reader.settimeout(10)
            reader.connect(str(lone.root / "state.sock"))
            if number % 3 == 0:
                assert reader.recv(20).startswith(b'{"type": "snapshot"')
            elif number % 3 == 1:
                reader.sendall(b"x" * 1000)
    wait_for(lambda: lone.count_descriptors() <= descriptors)
    assert lone.read_resident_kilobytes() - memory < 5_000
    assert lone.follow().picture is not None
    assert not follower.is_closed


def test_what_readers_send_is_of_no_account(lone: Lone, follower: Follower, add_program: Callable[..., str]) -> None:
    name = add_program("heard", autostart="false")
    memory = lone.read_resident_kilobytes()
    follower.socket.sendall(b'{"type": "snap')  # half a line, and never more
    talker = lone.follow()
    for _ in range(50):
        talker.socket.sendall(b"\0" * 100_000)
    for _ in range(3):
        lone.rpc("supervisor.startProcess", name)
        for reader in (follower, talker):
            reader.wait_for(name, state=RUNNING)
        lone.rpc("supervisor.stopProcess", name)
        for reader in (follower, talker):
            reader.wait_for(name, state=STOPPED)
    assert lone.read_resident_kilobytes() - memory < 2_000


def test_more_readers_than_it_takes(lone: Lone, follower: Follower, add_program: Callable[..., str]) -> None:
    name = add_program("crowded", autostart="false")
    readers = [lone.follow(synced=False) for _ in range(100)]
    wait_for(lambda: all(reader.is_closed or reader.picture is not None for reader in readers))
    taken = [reader for reader in readers if not reader.is_closed]
    assert 10 < len(taken) < 64
    lone.rpc("supervisor.startProcess", name)
    for reader in (follower, *taken):
        reader.wait_for(name, state=RUNNING)
    for reader in taken:
        reader.close()
    wait_for(lambda: lone.follow(synced=False).wait_for(name, 5, state=RUNNING))
