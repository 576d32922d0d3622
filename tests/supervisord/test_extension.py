"""The extension harms nobody: whatever fails in it supervisord goes on, and no reader is left with an old picture."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import OBEDIENT, is_alive, wait_for
from tests.supervisord.lone import RUNNING, STOPPED, Caller, InternalError, make_lone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.supervisord.lone import Follower, Lone

SPOILT = '''\
"""Our extension, of which each part can be made to raise by writing its name into a file."""
import os, sys
from pathlib import Path
from supervisor.process import ProcessGroup
from plugvisor.engines.supervisord.extension import alarm, histories, stream
from plugvisor.engines.supervisord.extension import rpcinterface as extension

HERE = Path(__file__).parent

def fail(name, error=RuntimeError):
    if name in (HERE / "faults").read_text().split():
        with (HERE / "failed").open("a") as failed:
            failed.write(name + "\\n")
        raise error("spoilt: " + name)

def spoil(owner, attribute, name, error=RuntimeError):
    original = getattr(owner, attribute)
    def spoilt(*args, **kwargs):
        fail(name, error)
        return original(*args, **kwargs)
    setattr(owner, attribute, spoilt)

class Module:
    """A module as the extension alone sees it."""
    def __init__(self, module, *names):
        self.module, self.names = module, names
    def __getattr__(self, attribute):
        name = f"{self.module.__name__}.{attribute}"
        if name in self.names:
            def spoilt(*args, **kwargs):
                fail(name)
                return getattr(self.module, attribute)(*args, **kwargs)
            return spoilt
        return getattr(self.module, attribute)

class Statuses(dict):
    def __setitem__(self, pid, status):
        fail("statuses")
        dict.__setitem__(self, pid, status)

class Logger:
    def __init__(self, logger):
        self.logger = logger
    def __getattr__(self, attribute):
        fail("logger")
        return getattr(self.logger, attribute)

for attribute in ("flush", "_find", "_describe", "_write", "_make_snapshot", "_set_timer"):
    spoil(extension.Extension, attribute, attribute)
for attribute in ("note_state", "end_flapping"):
    spoil(histories.Histories, attribute, attribute)
spoil(alarm, "_due_at", "_due_at")
for attribute in ("restarts_by_itself", "_note_death", "_describe_exit", "signame", "History"):
    spoil(histories, attribute, attribute)
spoil(stream.Reader, "send", "send-oserror", OSError)
spoil(stream.Reader, "send", "send")
spoil(stream.Reader, "recv", "recv")
spoil(stream.Reader, "__init__", "Reader")
spoil(stream.Reader, "close", "Reader.close")
spoil(stream.StateStream, "accept", "accept", OSError)
spoil(stream.StateStream, "write", "StateStream.write")
spoil(stream.StateStream, "close", "StateStream.close")
spoil(stream.Waker, "recv", "Waker.recv")
spoil(stream.Waker, "close", "Waker.close")
extension.time = histories.time = Module(extension.time, "time.time", "time.monotonic")
extension.json = Module(extension.json, "json.dumps")
histories.os = Module(histories.os, "os.WIFSIGNALED")
alarm.signal = Module(alarm.signal, "signal.setitimer")
extension.signal = Module(extension.signal)
set_wakeup_fd = extension.signal.set_wakeup_fd
def unset_wakeup_fd(descriptor, **options):
    if descriptor == -1:
        fail("signal.set_wakeup_fd")
    return set_wakeup_fd(descriptor, **options)
extension.signal.set_wakeup_fd = unset_wakeup_fd

stop_all = ProcessGroup.stop_all
def stop_all_for_the_extension(group):
    if sys._getframe(1).f_globals["__name__"] == extension.__name__:
        fail("stop_all")
    stop_all(group)
ProcessGroup.stop_all = stop_all_for_the_extension

def make_rpcinterface(supervisord, **options):
    namespace = extension.make_rpcinterface(supervisord, **options)
    it = namespace._extension
    it._wait_statuses = Statuses()
    it.logger = it._stream.logger = it._waker.logger = Logger(it.logger)
    return namespace
'''
WHILE_IT_RUNS = [
    *("flush", "_find", "_describe", "_write", "_make_snapshot", "note_state", "end_flapping", "_set_timer"),
    *("_note_death", "restarts_by_itself", "_due_at", "_describe_exit", "signame", "History", "json.dumps", "statuses"),
    *("send-oserror", "send", "recv", "Reader", "Reader.close", "accept", "StateStream.write", "Waker.recv"),
    *("time.time", "time.monotonic", "os.WIFSIGNALED", "signal.setitimer"),
    *("logger+_describe", "logger+json.dumps"),
]
AT_THE_END = [
    *("stop_all", "signal.setitimer", "StateStream.close", "Reader.close", "logger", "stop_all+logger"),
    *("_describe", "statuses", "time.monotonic"),
    *("signal.set_wakeup_fd", "Waker.close"),  # which are asked for at a reload alone
]


def spoil(lone: Lone, *faults: str) -> None:
    """Make these fail from now on, and no others."""
    (lone.root / "faults.new").write_text(" ".join(faults))
    (lone.root / "faults.new").rename(lone.root / "faults")


def add_programs(lone: Lone) -> None:
    lone.add("steady", autorestart="true")
    lone.add("other", autostart="false")
    lone.add("crashing", "import time\ntime.sleep(0.2)\nraise SystemExit(3)\n", autorestart="true")


@pytest.fixture(scope="module")
def spoilt() -> Iterator[Callable[[], Lone]]:
    """Gives a supervisord whose extension can be spoilt: one for all, and a new one where it has died."""
    with contextlib.ExitStack() as stack:
        made: list[Lone] = []

        def get() -> Lone:
            if not made or not made[-1].is_up:
                lone = stack.enter_context(make_lone("spoilt"))
                (lone.root / "spoilt.py").write_text(SPOILT)
                spoil(lone)
                add_programs(lone)
                lone.start()
                made.append(lone)
            return made[-1]

        yield get


def is_true(lone: Lone, follower: Follower, names: set[str]) -> bool:
    """Whether a reader knows the truth of these programs, or knows that it does not."""
    told = follower.states
    truth = lone.states
    return told is not None and all(told.get(name) == truth.get(name) for name in names)


@pytest.mark.parametrize("fault", WHILE_IT_RUNS)
def test_supervisord_goes_on_and_no_reader_believes_an_old_picture(spoilt: Callable[[], Lone], fault: str) -> None:
    lone = spoilt()
    steady = {"steady", "other"}  # the third one changes all the time
    spoil(lone)  # where the test before has failed
    lone.hang_up()
    lone.fault("supervisor.stopProcess", "other")
    before = lone.follow()
    leaving = lone.follow()
    (lone.root / "failed").write_text("")
    spoil(lone, *fault.split("+"))
    during = lone.follow(synced=False)
    with contextlib.suppress(OSError):  # where it is disconnected already
        before.socket.sendall(b"what readers say is of no account\n")
    leaving.close()  # may be noticed by a write to it, and not by a read

    pid = wait_for(lambda: lone.states["steady"][0] == RUNNING and lone.states["steady"][1])
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: lone.states["steady"][0] == RUNNING and lone.states["steady"][1] != pid, "it is reaped, restarted")
    assert not is_alive(pid)
    assert lone.rpc("supervisor.startProcess", "other") is True
    other = lone.states["other"][1]
    assert is_alive(other)
    with contextlib.suppress(InternalError):
        lone.rpc("plugins.sync")
    wait_for((lone.root / "failed").read_text, "the fault to occur")
    for follower in (before, during):
        wait_for(
            lambda follower=follower: follower.is_closed or follower.is_silent or is_true(lone, follower, steady),
            f"a reader to learn that its picture is old: {follower.lines[-3:]}",
            seconds=8,
        )
    assert lone.rpc("supervisor.stopProcess", "other") is True
    assert not is_alive(other)

    spoil(lone)
    follower = lone.follow()
    wait_for(lambda: is_true(lone, follower, steady), "a new reader to know the truth")
    for follower in (before, during):  # what it has missed meanwhile is not forgotten
        wait_for(lambda follower=follower: follower.is_closed or is_true(lone, follower, steady), seconds=3)
        assert not follower.lines or follower.lines[0][1]["type"] == "snapshot"
    assert lone.is_up


@pytest.mark.parametrize("fault", AT_THE_END)
def test_it_shuts_down_in_order_whatever_fails(fault: str) -> None:
    with make_lone("spoilt") as lone:
        (lone.root / "spoilt.py").write_text(SPOILT)
        spoil(lone)
        add_programs(lone)
        said = OBEDIENT.replace("sys.exit(0)", "(print('told', flush=True), sys.exit(0))")
        lone.add("telling", said)
        lone.start()
        wait_for(lambda: lone.count_ready("telling"))
        lone.follow()
        spoil(lone, *fault.split("+"))
        if fault in ("signal.set_wakeup_fd", "Waker.close"):
            os.kill(lone.pid, signal.SIGHUP)
            wait_for(lambda: lone.count_ready("telling") == 2, "everything to be back")
            spoil(lone)
            wait_for(lambda: is_true(lone, lone.follow(), {"telling"}))
        assert lone.stop(15) == 0
        told = (lone.root / "telling.log").read_text()
        assert told.count("told") == told.count("ready"), "every process had its SIGTERM"
        assert (lone.root / "failed").read_text()
        assert lone.log.count("Traceback") < 20, "what fails is told, and not again and again"


def test_two_http_servers_share_one_stream() -> None:
    with make_lone(tcp=True) as lone:
        lone.add("crashing", "import time\ntime.sleep(0.1)\nraise SystemExit(3)\n", autorestart="true")
        lone.add("still", autostart="false")
        lone.start()
        follower = lone.follow()
        with contextlib.closing(Caller(port=lone.port)) as ask:
            numbers = [call("plugins.sync") for call in (lone.rpc, ask) * 10]
            assert numbers == sorted(numbers)
            assert ask("plugins.replace", "still") is True
            assert lone.rpc("plugins.replace", "still") is True
            lone.add("more", autostart="false")
            assert ask("plugins.replace", "more") is True
            follower.wait_for("more", state=STOPPED)
            assert lone.rpc("plugins.remove", "more") is True
            wait_for(lambda: "more" not in follower.picture)
        wait_for(lambda: follower.picture["crashing"]["restarts"] >= 5)
        told = [
            m["process"] for m in follower.messages if m["type"] == "process" and m["process"]["name"] == "crashing"
        ]
        restarts = [process["restarts"] for process in told]
        assert {later - earlier for earlier, later in pairwise(restarts)} == {0, 1}
        assert len(told) == len({(process["state"], process["pid"], process["restarts"]) for process in told})


def test_supervisord_does_not_spin() -> None:
    with make_lone() as lone:
        for number in range(10):
            lone.add(f"idle{number}")
        lone.start()
        followers = [lone.follow() for _ in range(5)]

        def used() -> float:
            return sum(map(int, Path(f"/proc/{lone.pid}/stat").read_text().rpartition(")")[2].split()[11:13])) / 100

        before, began, lines = used(), time.monotonic(), len(followers[0].lines)
        wait_for(lambda: time.monotonic() - began > 3)
        assert used() - before < 0.5
        assert 2 <= len(followers[0].lines) - lines <= 8
