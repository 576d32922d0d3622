"""The extension harms nobody: whatever fails in it supervisord goes on, and no reader is left with an old state."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.helpers.plugin_code import CRASHING, OBEDIENT
from tests.helpers.processes import is_alive
from tests.helpers.supervisord import AT_ONCE, BACKOFF, RUNNING, STOPPED, UNKNOWN, InternalError, make_supervisord
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.helpers.supervisord import StreamReader, Supervisord

FAULTY = '''\
"""The extension, of which each part can be made to raise by writing its name into a file."""
import sys
from pathlib import Path
from supervisor.options import ServerOptions
from supervisor.process import ProcessGroup
from plugvisor.engines.supervisord.extension.limits import launch_limits
from plugvisor.engines.supervisord.extension.patches import clock, event_loop
from plugvisor.engines.supervisord.extension import changes, reporter, shutdown
from plugvisor.engines.supervisord.extension.processes import orphans, plugin_process, restarting_process
from plugvisor.engines.supervisord.extension.processes import variable_reader
from plugvisor.engines.supervisord.extension import rpcinterface, stream

HERE = Path(__file__).parent

def fail(name, error=RuntimeError):
    if name in (HERE / "faults").read_text().split():
        with (HERE / "failed").open("a") as failed:
            failed.write(name + "\\n")
        raise error("injected: " + name)

def inject(owner, *names, error=RuntimeError):
    for attribute in names:
        name = f"{owner.__name__.rpartition('.')[2]}.{attribute}"
        def call(*args, _original=getattr(owner, attribute), _name=name, **kwargs):
            fail(_name, error)
            return _original(*args, **kwargs)
        setattr(owner, attribute, call)

class Logger:
    def __init__(self, logger):
        self.logger = logger
    def __getattr__(self, attribute):
        fail("logger")
        return getattr(self.logger, attribute)

class FaultyJson:
    __name__ = "json"
    dumps = staticmethod(reporter.json.dumps)

reporter.json = FaultyJson()
inject(reporter.json, "dumps")
inject(reporter.StateReporter, "_describe", "_write", "_make_snapshot")
inject(clock.SteadyClock, "follow")
inject(reporter, "describe_process")
inject(plugin_process.PluginProcess, "_launch")
inject(restarting_process.Subprocess, "finish")
inject(variable_reader.VariableReader, "handle_read_event")
inject(orphans.Orphans, "step", "note_spawned", "note_ended", "note_descendants", "kill_now", "end_all")
inject(changes.Changes, "start_cleared", "_start_pending", error=OSError)
inject(event_loop.EventLoop, "update_groups", "close")
inject(launch_limits.LaunchLimits, "__init__", error=OSError)
inject(stream.Reader, "recv", "__init__", "close")
inject(stream.Reader, "send", error=OSError)
inject(stream.StateStream, "accept", error=OSError)
inject(stream.StateStream, "write", "close")
inject(ServerOptions, "kill", error=PermissionError)

flush = reporter.StateReporter.flush
def flush_or_lose(state_reporter):
    changed, state_reporter._changed = state_reporter._changed, {}  # as it does first: it is not called for them again
    fail("StateReporter.flush")
    state_reporter._changed = changed
    return flush(state_reporter)
reporter.StateReporter.flush = flush_or_lose

stop_all = ProcessGroup.stop_all
def stop_all_for_the_extension(group):
    if sys._getframe(1).f_globals["__name__"] == shutdown.__name__:
        fail("stop_all")
    stop_all(group)
ProcessGroup.stop_all = stop_all_for_the_extension

def make_rpcinterface(supervisord, **options):
    namespace = rpcinterface.make_rpcinterface(supervisord, **options)
    [(_, it)] = rpcinterface._instances
    it.logger = it._shutdown.logger = it.reporter.logger = it.reporter.stream.logger = Logger(it.logger)
    return namespace
'''
WHILE_IT_RUNS = [
    *("json.dumps", "StateReporter.flush", "StateReporter._describe", "StateReporter._write"),
    *("StateReporter._make_snapshot", "SteadyClock.follow", "reporter.describe_process"),
    *("Orphans.step", "Orphans.note_spawned", "Orphans.note_ended", "Orphans.note_descendants"),
    *("Reader.recv", "Reader.__init__", "Reader.close", "Reader.send", "StateStream.accept", "StateStream.write"),
    *("logger+reporter.describe_process", "VariableReader.handle_read_event"),
]
AT_THE_END = [
    *("stop_all", "StateStream.close", "Reader.close", "logger", "stop_all+logger", "StateReporter.flush"),
    *("Orphans.end_all", "Orphans.step", "EventLoop.close", "reporter.describe_process", "Orphans.note_descendants"),
]
SILENCE_SECONDS = 2.5
"""A reader that hears nothing for so long takes what it knows for outdated."""


def inject(supervisord: Supervisord, *faults: str) -> None:
    """Make these fail from now on, and no others."""
    (supervisord.root / "faults.new").write_text(" ".join(faults))
    (supervisord.root / "faults.new").rename(supervisord.root / "faults")


def write_programs(supervisord: Supervisord) -> None:
    (supervisord.root / "faulty.py").write_text(FAULTY)
    inject(supervisord)
    (supervisord.root / "value").touch()
    files = {"KEY": str(supervisord.root / "value")}
    steady = {"autostart": "true", "autorestart": "true", "restart": AT_ONCE}
    supervisord.write_plugin("steady", environment_files=files, **steady)
    supervisord.write_plugin("other")
    supervisord.write_plugin("crashing", CRASHING, autostart="true", autorestart="true", restart=AT_ONCE)


@pytest.fixture(scope="module")
def get_faulty() -> Iterator[Callable[[], Supervisord]]:
    """Gives a running supervisord into which faults can be injected: one for all, or a new one if it has died."""
    with contextlib.ExitStack() as stack:
        made: list[Supervisord] = []

        def get() -> Supervisord:
            if not made or not made[-1].is_up:
                made.append(stack.enter_context(make_supervisord("faulty")))
                write_programs(made[-1])
                made[-1].start()
            return made[-1]

        yield get


def knows(supervisord: Supervisord, reader: StreamReader) -> bool:
    """Whether a reader knows the true state of what does not change all the time."""
    states, processes = supervisord.states, reader.processes
    return processes is not None and all(
        (processes.get(name, {}).get("state"), processes.get(name, {}).get("pid")) == states[name]
        for name in ("steady", "other")
    )


def is_silent(reader: StreamReader) -> bool:
    """Whether a reader has heard nothing for long."""
    return not reader.lines or time.monotonic() - reader.lines[-1][0] > SILENCE_SECONDS


@pytest.mark.parametrize("fault", WHILE_IT_RUNS)
def test_supervisord_goes_on_and_no_reader_is_deceived(get_faulty: Callable[[], Supervisord], fault: str) -> None:
    supervisord = get_faulty()
    inject(supervisord)  # if the test before has failed
    supervisord.close_readers()
    supervisord.fault("supervisor.stopProcess", "other")
    before, leaving = supervisord.follow(), supervisord.follow()
    (supervisord.root / "failed").write_text("")
    inject(supervisord, *fault.split("+"))
    during = supervisord.follow(synced=False)
    with contextlib.suppress(OSError):  # it may be disconnected already
        before.socket.sendall(b"what readers say is ignored\n")
    leaving.close()

    pid = wait_for(lambda: supervisord.states["steady"][0] == RUNNING and supervisord.states["steady"][1])
    os.kill(pid, signal.SIGKILL)
    if fault != "Orphans.step":  # without it nothing knows that the orphans are gone
        wait_for(lambda: supervisord.states["steady"][1] not in (0, pid), "it to be restarted")
    assert supervisord.rpc("supervisor.startProcess", "other") is True
    other = supervisord.states["other"][1]
    assert is_alive(other)
    with contextlib.suppress(InternalError):
        supervisord.rpc("plugins.sync")
    for reader in (before, during):
        wait_for(
            lambda reader=reader: reader.is_closed or is_silent(reader) or knows(supervisord, reader),
            "a reader to learn that what it knows is outdated",
        )
    assert supervisord.rpc("supervisor.stopProcess", "other") is True
    assert not is_alive(other)
    wait_for((supervisord.root / "failed").read_text, "the fault to occur")

    inject(supervisord)
    wait_for(lambda: supervisord.states["steady"][0] == RUNNING, "it to run")
    reader = supervisord.follow()
    wait_for(lambda: knows(supervisord, reader), "a new reader to know the truth")
    for reader in (before, during):  # what it has missed meanwhile is not forgotten
        wait_for(lambda reader=reader: reader.is_closed or knows(supervisord, reader))
        assert not reader.lines or reader.lines[0][1]["type"] == "snapshot"
    assert supervisord.is_up


@pytest.mark.parametrize("fault", ["Changes.start_cleared", "Changes._start_pending"])
def test_a_pending_restart_outlives_an_os_error(get_faulty: Callable[[], Supervisord], fault: str) -> None:
    supervisord = get_faulty()
    inject(supervisord)
    supervisord.fault("supervisor.stopProcess", "other")
    before = supervisord.start_ready("other")
    (supervisord.root / "failed").write_text("")
    inject(supervisord, fault)
    with contextlib.suppress(InternalError):  # it tries to start it at once
        supervisord.rpc("plugins.restart", "other")
    wait_for(lambda: fault in (supervisord.root / "failed").read_text(), "the fault to occur")
    assert supervisord.answers()
    inject(supervisord)
    wait_for(lambda: supervisord.states["other"][1] not in (0, before), "the restart")
    assert supervisord.describe("other")["start_pending"] is False


def test_a_defect_in_a_start_is_a_failed_start(get_faulty: Callable[[], Supervisord]) -> None:
    """One that supervisord makes by itself; it would end supervisord, and with it everything."""
    supervisord = get_faulty()
    inject(supervisord)
    supervisord.add("defective", autorestart="true", restart=AT_ONCE, startretries=999)
    before = supervisord.start_ready("defective")
    inject(supervisord, "PluginProcess._launch")
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: supervisord.states["defective"][0] == BACKOFF, "the start to fail")
    inject(supervisord)
    wait_for(lambda: supervisord.states["defective"][0] == RUNNING, "it to run again")
    assert supervisord.is_up
    assert "injected: PluginProcess._launch" in supervisord.log
    supervisord.rpc("plugins.stop", "defective")


def test_limits_for_which_there_is_no_memory_are_a_failed_start(get_faulty: Callable[[], Supervisord]) -> None:
    supervisord = get_faulty()
    inject(supervisord)
    options = {"limits": {"open_files": 99}, "restart": AT_ONCE, "startretries": 999}
    supervisord.add("limited", autorestart="true", **options)
    before = supervisord.start_ready("limited")
    inject(supervisord, "LaunchLimits.__init__")
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: supervisord.states["limited"][0] == BACKOFF, "the start to fail")
    inject(supervisord)
    wait_for(lambda: supervisord.states["limited"][0] == RUNNING, "it to run again")
    assert supervisord.is_up
    supervisord.rpc("plugins.stop", "limited")


def test_a_process_that_may_not_be_signalled(get_faulty: Callable[[], Supervisord]) -> None:
    """Such as one that `sudo` runs as root; by itself, supervisor would end when that process does."""
    supervisord = get_faulty()
    inject(supervisord)
    pid = supervisord.start_ready(supervisord.add("privileged"))
    inject(supervisord, "ServerOptions.kill")
    for method in ("stop", "restart", "stop"):
        assert supervisord.fault(f"plugins.{method}", "privileged") == "FAILED"
        assert supervisord.states["privileged"] == (UNKNOWN, pid)
    assert supervisord.fault("plugins.start", "privileged") == "ALREADY_STARTED"
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: supervisord.states["privileged"] == (STOPPED, 0), "its end to be noticed")
    assert supervisord.is_up

    pid = supervisord.start_ready("privileged")
    assert supervisord.fault("plugins.stop", "privileged") == "FAILED"
    inject(supervisord)
    supervisord.stop_plugin("privileged")
    assert not is_alive(pid)
    supervisord.remove("privileged")


def test_a_process_whose_end_cannot_be_noted_is_stopped() -> None:
    with make_supervisord("faulty") as supervisord:
        write_programs(supervisord)
        supervisord.start()
        pid = supervisord.start_ready("other")
        inject(supervisord, "Subprocess.finish")
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: supervisord.states["other"] == (STOPPED, 0), "it to count as stopped")
        assert "injected: Subprocess.finish" in supervisord.log
        inject(supervisord)
        assert is_alive(supervisord.start_ready("other"))


@pytest.mark.parametrize("fault", AT_THE_END)
def test_it_ends_in_order_whatever_fails(fault: str) -> None:
    with make_supervisord("faulty") as supervisord:
        write_programs(supervisord)
        code = OBEDIENT.replace("sys.exit(0)", "(__import__('os').write(1, b'asked\\n'), sys.exit(0))")
        supervisord.write_plugin("asked", code, autostart="true")
        supervisord.start()
        wait_for(lambda: supervisord.count_ready("asked"))
        supervisord.follow()
        (supervisord.root / "failed").write_text("")
        inject(supervisord, *fault.split("+"))
        assert supervisord.stop() == 0
        assert supervisord.read_output("asked") == "ready\nasked\n"
        assert (supervisord.root / "failed").read_text()
        # in a round of the loop, of which there are few until the plugins have ended
        assert supervisord.log.count("Traceback") < 50, "what fails is logged, and not again and again"
