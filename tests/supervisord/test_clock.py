"""A clock that jumps an hour while supervisord runs: what it counts, and what it shows."""

from __future__ import annotations

import os
import re
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.conftest import HESITANT, Plugvisor, is_alive, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

HOUR = 3600
JUMPS = pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["forward", "back"])
ANOTHER_CLOCK = """\
import os, time
_time = time.time
def _shifted():
    try:
        with open(os.environ["TEST_CLOCK_OFFSET"]) as file:
            return _time() + float(file.read())
    except (OSError, KeyError):
        return _time()
time.time = _shifted
"""
"""What Python imports by itself at its start, in supervisord and in the service: plugins do not get the variable."""
DEAF = 'import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint("ready", flush=True)\nsignal.pause()\n'
LOOSE_SECONDS = 60.0
"""Far less than the jump, far more than a test takes."""


@pytest.fixture
def set_clock(plugvisor: Plugvisor) -> Callable[[float], None]:
    """Sets supervisord's and the service's wall clock: so many seconds from the machine's, which nobody touches."""
    folder = plugvisor.root / "clock"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(ANOTHER_CLOCK)
    offset = folder / "offset"
    plugvisor.environ |= {"PYTHONPATH": str(folder), "TEST_CLOCK_OFFSET": str(offset)}

    def set_offset(seconds: float) -> None:
        before = plugvisor.read_log("_supervisord").count("the clock was set")
        offset.with_suffix(".new").write_text(str(seconds))
        os.replace(offset.with_suffix(".new"), offset)
        wait_for(lambda: plugvisor.read_log("_supervisord").count("the clock was set") > before, "it to be noticed")

    return set_offset


@JUMPS
def test_what_runs_goes_on(plugvisor: Plugvisor, set_clock: Callable[[float], None], jump: float) -> None:
    plugvisor.write_plugin("runs", runtime='[plugin_runtime.supervisor]\nautorestart = "true"')
    plugvisor.up()
    pid = plugvisor.wait_for_status("runs", "running")["pid"]
    set_clock(jump)
    told = plugvisor.status("runs")
    assert (told["status"], told["pid"]) == ("running", pid)
    assert 0 <= told["uptime"] < LOOSE_SECONDS
    assert abs(datetime.fromisoformat(told["time"]).timestamp() - time.time() - jump) < LOOSE_SECONDS
    assert 0 <= plugvisor.rpc("getProcessInfo", "runs")["now"] - plugvisor.rpc("getProcessInfo", "runs")["start"] < 60
    assert re.search(r"runs +RUNNING +pid \d+, uptime 0:00:\d\d", plugvisor.ctl("status", "runs"))
    # it dies, and supervisord's arithmetic must not end supervisord
    os.kill(pid, 9)
    wait_for(lambda: plugvisor.status("runs").get("pid", pid) != pid, "it to be started again")
    told = plugvisor.wait_for_status("runs", "running")
    assert told["restarts"] == 1
    # what an operator is shown is by the clock as it is now
    assert plugvisor.post("/plugin/runs/stop").status_code == 200
    stopped = plugvisor.rpc("getProcessInfo", "runs")["stop"]
    assert abs(stopped - time.time() - jump) < LOOSE_SECONDS
    set_clock(0)  # and back
    assert abs(plugvisor.rpc("getProcessInfo", "runs")["stop"] - time.time()) < LOOSE_SECONDS


@JUMPS
def test_a_start_is_neither_hurried_nor_hung(
    plugvisor: Plugvisor, set_clock: Callable[[float], None], jump: float
) -> None:
    plugvisor.write_plugin("slow", runtime="auto_start = false\n[plugin_runtime.supervisor]\nstartsecs = 4")
    plugvisor.up()
    began = time.monotonic()
    assert plugvisor.post("/plugin/slow/start").json()["status"] == "starting"
    set_clock(jump)
    plugvisor.wait_for_status("slow", "running")
    assert time.monotonic() - began >= 3.9
    response = plugvisor.post("/plugin/slow/reload?wait=20")
    assert (response.status_code, response.json()["status"]) == (200, "running")


def test_a_stop_gets_all_its_time(plugvisor: Plugvisor, set_clock: Callable[[float], None]) -> None:
    """supervisord, as it comes, kills at once whatever is stopping while the clock jumps forward."""
    options = "auto_start = false\n[plugin_runtime.supervisor]\nstopwaitsecs = 600"
    folder = plugvisor.write_plugin("slow", HESITANT, runtime=options)
    plugvisor.up()
    pid = plugvisor.start_running("slow")
    assert plugvisor.post("/plugin/slow/stop?wait=0").status_code == 202
    wait_for(lambda: "asked to stop" in plugvisor.read_log("slow"))
    for jump in (HOUR, -HOUR, 2 * HOUR):
        set_clock(jump)
        plugvisor.rpc("getState")  # a whole round
        assert is_alive(pid)
        assert plugvisor.status("slow")["status"] == "stopping"
    (folder / "go").touch()
    plugvisor.wait_for_status("slow", "stopped")
    assert "SIGKILL" not in plugvisor.read_log("_supervisord")


@JUMPS
def test_a_stop_ends_in_time(plugvisor: Plugvisor, set_clock: Callable[[float], None], jump: float) -> None:
    plugvisor.write_plugin("deaf", DEAF, runtime="auto_start = false\n[plugin_runtime.supervisor]\nstopwaitsecs = 4")
    plugvisor.up()
    pid = plugvisor.start_running("deaf")
    began = time.monotonic()
    assert plugvisor.post("/plugin/deaf/stop?wait=0").status_code == 202
    set_clock(jump)
    plugvisor.wait_for_status("deaf", "stopped")
    assert 3.9 <= time.monotonic() - began < LOOSE_SECONDS
    assert not is_alive(pid)


@JUMPS
def test_retries_go_on(plugvisor: Plugvisor, set_clock: Callable[[float], None], jump: float) -> None:
    options = "auto_start = false\n[plugin_runtime.supervisor]\nstartretries = 3"
    plugvisor.write_plugin("fails", "raise SystemExit(3)", runtime=options)
    plugvisor.up()
    assert plugvisor.post("/plugin/fails/start").status_code in (200, 500)
    wait_for(lambda: plugvisor.status("fails").get("restarts") == 1, "the second try")
    set_clock(jump)
    retry_at = plugvisor.status("fails").get("retry_at")
    if retry_at is not None:  # by the clock as it is now
        told = datetime.fromisoformat(retry_at)
        assert abs(told.timestamp() - time.time() - jump) < LOOSE_SECONDS, timedelta(seconds=jump)
    wait_for(lambda: plugvisor.status("fails")["state"] == "FATAL", "supervisord to give up")
    assert plugvisor.status("fails")["restarts"] == 3


def test_everything_ends_in_time(plugvisor: Plugvisor, set_clock: Callable[[float], None]) -> None:
    plugvisor.write_plugin("runs")
    plugvisor.up()
    plugvisor.wait_for_status("runs", "running")
    set_clock(-HOUR)
    assert plugvisor.ctl("restart", "runs").count("started") == 1  # waits by supervisord's own clock
    process = plugvisor.process
    assert process is not None
    plugvisor.down()
    assert process.returncode == 0
