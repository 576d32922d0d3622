"""A wall clock that is set while supervisord runs: what it counts goes on, and what it shows is right."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.helpers.plugin_code import HESITANT, IGNORES_SIGTERM
from tests.helpers.processes import is_alive
from tests.helpers.supervisord import BACKOFF, EXITED, FATAL, RUNNING, STARTING, STOPPED, STOPPING
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.supervisord import Supervisord

HOUR = 3600
JUMPS = pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forward", "back"])
ANOTHER_CLOCK = """\
import os, time
_time = time.time
def _shifted():
    try:
        with open(os.environ["TEST_CLOCK_OFFSET"]) as file:
            return _time() + float(file.read())
    except OSError:
        return _time()
time.time = _shifted
"""
"""What supervisord's Python imports at its start."""
PATIENT = """\
import os, signal, time
def stop(*_):
    while not os.path.exists("may-end"):
        time.sleep(0.01)
    os._exit(0)
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
while True:
    signal.pause()
"""
"""Obeys SIGTERM as soon as there is a file."""
LOOSE_SECONDS = 60.0
"""Far less than the jump, far more than a test takes."""


@pytest.fixture
def set_clock(own: Supervisord) -> Callable[[float], None]:
    """Starts supervisord with a clock of its own, and sets that: seconds from the machine's."""
    (own.root / "sitecustomize.py").write_text(ANOTHER_CLOCK)
    offset = own.root / "offset"
    own.start(TEST_CLOCK_OFFSET=str(offset))

    def set_offset(seconds: float) -> None:
        before = own.log.count("the clock was set")
        offset.with_suffix(".new").write_text(str(seconds))
        os.replace(offset.with_suffix(".new"), offset)
        wait_for(lambda: own.log.count("the clock was set") > before, "supervisord to notice")

    return set_offset


@JUMPS
def test_what_runs_goes_on(own: Supervisord, set_clock: Callable[[float], None], jump: float) -> None:
    pid = own.start_ready(own.add("x", autorestart="true"))
    before = own.describe("x")["started"]
    set_clock(jump)
    assert own.states["x"] == (RUNNING, pid)
    assert own.describe("x")["started"] == before
    info = own.rpc("supervisor.getProcessInfo", "x")
    assert abs(info["now"] - time.time() - jump) < LOOSE_SECONDS
    assert 0 <= info["now"] - info["start"] < LOOSE_SECONDS
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: own.states["x"][1] not in (0, pid), "it to be restarted")
    own.stop_plugin("x")
    assert abs(own.rpc("supervisor.getProcessInfo", "x")["stop"] - time.time() - jump) < LOOSE_SECONDS
    set_clock(0)  # and back
    assert abs(own.rpc("supervisor.getProcessInfo", "x")["stop"] - time.time()) < LOOSE_SECONDS


@JUMPS
def test_a_start_is_neither_hurried_nor_hung(own: Supervisord, set_clock: Callable[[float], None], jump: float) -> None:
    own.start_ready(own.add("slow", startsecs=3))
    began = own.describe("slow")["started"]
    set_clock(jump)
    reader = own.follow()
    assert reader.wait_for("slow")["state"] == STARTING or time.monotonic() > began + 3
    reader.wait_for("slow", state=RUNNING)
    assert time.monotonic() - began >= 3


def test_a_stop_gets_all_its_time(own: Supervisord, set_clock: Callable[[float], None]) -> None:
    """A supervisord without the extension kills at once what is stopping while the clock jumps forward."""
    pid = own.start_ready(own.add("slow", HESITANT, stopwaitsecs=600))
    own.rpc("plugins.stop", "slow")
    wait_for(lambda: "asked to stop" in own.read_output("slow"))
    for jump in (HOUR, -HOUR, 2 * HOUR):
        set_clock(jump)
        assert own.states["slow"] == (STOPPING, pid)
        assert is_alive(pid)
    (own.root / "go").touch()
    own.wait_until_gone("slow")
    assert "SIGKILL" not in own.log


@JUMPS
def test_a_stop_ends_in_time(own: Supervisord, set_clock: Callable[[float], None], jump: float) -> None:
    own.start_ready(own.add("deaf", IGNORES_SIGTERM, stopwaitsecs=2))
    began = time.monotonic()
    own.rpc("plugins.stop", "deaf")
    set_clock(jump)
    own.wait_until_gone("deaf")
    assert 1.9 <= time.monotonic() - began < LOOSE_SECONDS
    assert own.states["deaf"] == (STOPPED, 0)


@JUMPS
def test_retries_go_on(own: Supervisord, set_clock: Callable[[float], None], jump: float) -> None:
    own.add("failing", arguments=[sys.executable, "/nowhere"], startsecs=5, startretries=2)
    own.fault("plugins.start", "failing")
    reader = own.follow()
    reader.wait_for_report("failing", state=BACKOFF, restarts=1)
    set_clock(jump)
    retry_at = own.describe("failing")["retry_at"]
    assert retry_at is None or abs(retry_at - time.time() - jump) < LOOSE_SECONDS, "by the clock as it is now"
    assert reader.wait_for("failing", state=FATAL)["restarts"] == 2


@JUMPS
def test_the_time_before_a_restart_goes_on(own: Supervisord, set_clock: Callable[[float], None], jump: float) -> None:
    pid = own.start_ready(own.add("x", autorestart="true", restart={"delay": 3}))
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    own.follow().wait_for("x", state=EXITED)
    set_clock(jump)
    retry_at = own.describe("x")["retry_at"]
    assert retry_at is None or abs(retry_at - time.time() - jump) < LOOSE_SECONDS, "by the clock as it is now"
    wait_for(lambda: own.states["x"][0] == RUNNING, "the restart")
    assert 3 <= time.monotonic() - began < LOOSE_SECONDS


def test_a_pending_restart_is_never_forgotten(own: Supervisord, set_clock: Callable[[float], None]) -> None:
    pid = own.start_ready(own.add("slow", PATIENT, stopwaitsecs=60))
    own.rpc("plugins.restart", "slow")
    for offset in (3 * HOUR, -3 * HOUR, 24 * HOUR, -24 * HOUR, 0):
        set_clock(offset)
        process = own.describe("slow")
        assert (process["state"], process["pid"], process["start_pending"]) == (STOPPING, pid, True)
    (own.root / "may-end").touch()
    wait_for(lambda: own.states["slow"][0] == RUNNING and own.states["slow"][1] != pid, "the next process")
    assert not is_alive(pid)
    wait_for(lambda: own.count_ready("slow") == 2)


def test_everything_ends_in_time(own: Supervisord, set_clock: Callable[[float], None]) -> None:
    own.start_ready(own.add("x"))
    set_clock(-HOUR)
    assert own.ctl("restart", "x").count("started") == 1, "it waits by supervisord's own clock"
    assert own.stop() == 0
