"""When a process that has ended is started again, on a real supervisord."""

from __future__ import annotations

import itertools
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.processes import is_alive
from tests.helpers.supervisord import AT_ONCE, BACKOFF, EXITED, FATAL, RUNNING, STOPPED
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.supervisord import StreamReader, Supervisord

ENDS = "print('ready', flush=True)\nraise SystemExit(3)\n"
SLOW = {"delay": 300, "max_delay": 3600}
"""Longer than a test takes."""


@pytest.fixture
def waiting(shared: Supervisord, add: Callable[..., str], reader: StreamReader) -> str:
    """A plugin that was killed and waits for its restart."""
    name = add(autorestart="unexpected", restart=SLOW)
    os.kill(shared.start_ready(name), signal.SIGKILL)
    reader.wait_for(name, state=EXITED)
    return name


def list_delays(reader: StreamReader, name: str, state: int) -> list[float]:
    """The time from each end to the next start, as the stream says."""
    lines = [message["process"] for message in reader.messages if message["type"] == "process"]
    found = {
        process["last_exit"]["at"]: process["retry_at"]
        for process in lines
        if (process["name"], process["state"]) == (name, state) and process["retry_at"] is not None
    }
    return [retry_at - at for at, retry_at in found.items()]


def assert_delays(found: list[float], *expected: float) -> None:
    """Check delays, each less than the next step: a supervisord reads the clock twice, and may wait for the CPU."""
    assert len(found) >= len(expected)
    for delay, seconds in zip(found, expected, strict=False):
        assert seconds - 0.001 <= delay < 2 * seconds, found


def find_delay(shared: Supervisord, name: str) -> float:
    """The time from the last end to the next start."""
    process = shared.describe(name)
    return float(process["retry_at"] - process["last_exit"]["at"])


def test_the_delays_of_a_crash_loop(shared: Supervisord, add: Callable[..., str], reader: StreamReader) -> None:
    name = add(ENDS, autorestart="unexpected", restart={"delay": 0.2, "max_delay": 0.8})
    shared.rpc("plugins.start", name)
    wait_for(lambda: len(list_delays(reader, name, EXITED)) >= 5, "five ends")
    assert_delays(list_delays(reader, name, EXITED), 0.2, 0.4, 0.8, 0.8, 0.8)
    lines = [message["process"] for message in reader.messages if message["type"] == "process"]
    started = sorted({process["started"] for process in lines if process["name"] == name and process["started"]})
    assert all(later - sooner >= 0.2 for sooner, later in itertools.pairwise(started)), "never sooner"
    assert shared.fault("plugins.stop", name) is None


def test_a_crash_loop_in_compressed_time(shared: Supervisord, add: Callable[..., str], reader: StreamReader) -> None:
    """At most as many restarts as the delays allow: 0.05 + 0.1 + 0.2 + 0.4 + 0.4 … seconds."""
    name = add(ENDS, autorestart="unexpected", restart={"delay": 0.05, "max_delay": 0.4})
    shared.rpc("plugins.start", name)
    first = reader.wait_for_report(name, restarts=1, state=RUNNING)["started"]
    last = reader.wait_for_report(name, restarts=8, state=RUNNING)["started"]
    assert last - first >= 0.1 + 0.2 + 5 * 0.4
    shared.stop_plugin(name)
    assert shared.count_ready(name) <= shared.describe(name)["restarts"] + 1


def test_the_delays_between_failed_starts(shared: Supervisord, add: Callable[..., str], reader: StreamReader) -> None:
    name = add(ENDS, startsecs=5, startretries=3, restart={"delay": 0.2, "max_delay": 0.4})
    shared.rpc("plugins.start", name)
    assert reader.wait_for(name, state=FATAL)["restarts"] == 3
    assert_delays(list_delays(reader, name, BACKOFF), 0.2, 0.4, 0.4)


def test_a_long_delay_between_failed_starts_is_kept(shared: Supervisord, add: Callable[..., str]) -> None:
    """supervisor takes a delay of more than `backoff` seconds for a clock that was set back."""
    name = add(ENDS, startsecs=5, restart=SLOW)
    shared.rpc("plugins.start", name)
    wait_for(lambda: shared.states[name][0] == BACKOFF)
    assert find_delay(shared, name) == pytest.approx(300, abs=10)
    assert shared.fault("supervisor.startProcess", name) == "ALREADY_STARTED"
    assert shared.rpc("supervisor.stopProcess", name) is True
    assert shared.states[name] == (STOPPED, 0)


def test_one_that_has_run_for_long_begins_anew(
    shared: Supervisord, add: Callable[..., str], reader: StreamReader
) -> None:
    code = "import time\nprint('ready', flush=True)\ntime.sleep(0.3)\nraise SystemExit(3)\n"
    name = add(code, autorestart="unexpected", restart={"delay": 0.2, "factor": 10, "reset_after": 0.25})
    shared.rpc("plugins.start", name)
    reader.wait_for(name, restarts=3)
    assert_delays(list_delays(reader, name, EXITED), 0.2, 0.2, 0.2)


def test_an_expected_end_is_restarted_after_the_delay_too(
    shared: Supervisord, add: Callable[..., str], reader: StreamReader
) -> None:
    name = add("print('ready', flush=True)\n", autorestart="true", restart=SLOW)
    shared.rpc("plugins.start", name)
    assert reader.wait_for(name, state=EXITED, exit_status=0)["retry_at"] is not None
    once = add("print('ready', flush=True)\n", autorestart="unexpected", restart=SLOW)
    shared.rpc("plugins.start", once)
    assert reader.wait_for(once, state=EXITED)["retry_at"] is None


def test_too_many_restarts(shared: Supervisord, add: Callable[..., str], reader: StreamReader) -> None:
    name = add(ENDS, autorestart="unexpected", restart=AT_ONCE | {"max_restarts": 2, "window": 100})
    for launches in (3, 6):  # a start by somebody has every restart again
        shared.rpc("plugins.start", name)
        process = reader.wait_for(name, state=FATAL, launches=launches)
        assert process["spawn_error"] == "it was restarted 2 times within 100 seconds"
        assert (process["last_exit"]["code"], process["retry_at"]) == (3, None)
    assert "it was restarted 2 times" in shared.ctl("status", name)
    assert f"gave up: {name} entered FATAL state" in shared.log


def test_failed_starts_count_as_restarts(shared: Supervisord, add: Callable[..., str], reader: StreamReader) -> None:
    name = add(ENDS, startsecs=5, startretries=99, restart=AT_ONCE | {"max_restarts": 2})
    shared.rpc("plugins.start", name)
    assert reader.wait_for(name, state=FATAL)["restarts"] == 2


@pytest.mark.parametrize("how", ["plugins.stop", "supervisor.stopProcess", "ctl stop", "ctl stop all"])
def test_a_stop_cancels_the_restart(shared: Supervisord, waiting: str, reader: StreamReader, how: str) -> None:
    verb, *words = how.split()
    if verb == "ctl":
        assert f"{waiting}: stopped" in shared.ctl(*words, *([] if words[-1] == "all" else [waiting]))
    else:
        shared.rpc(how, waiting)
    assert shared.states[waiting] == (STOPPED, 0)
    assert reader.wait_for(waiting, state=STOPPED)["retry_at"] is None
    assert shared.ctl("stop", waiting) == f"{waiting}: ERROR (not running)\n"
    shared.write_plugin(waiting)
    assert is_alive(shared.start_ready(waiting))


@pytest.mark.parametrize(
    "how", ["plugins.start", "plugins.restart", "supervisor.startProcess", "ctl restart", "ctl start all"]
)
def test_a_start_begins_anew(shared: Supervisord, waiting: str, reader: StreamReader, how: str) -> None:
    for _ in range(2):
        before = shared.count_ready(waiting)
        verb, *words = how.split()
        if verb == "ctl":
            assert f"{waiting}: started" in shared.ctl(*words, *([] if words[-1] == "all" else [waiting]))
        else:
            shared.rpc(how, waiting)
        wait_for(lambda before=before: shared.count_ready(waiting) > before, "the next process")
        process = reader.wait_for(waiting, state=RUNNING)
        assert process["restarts"] == 0
        os.kill(process["pid"], signal.SIGKILL)
        reader.wait_for(waiting, state=EXITED)
        assert find_delay(shared, waiting) == pytest.approx(300, abs=10)


def test_a_removal_is_for_good(shared: Supervisord, waiting: str) -> None:
    assert shared.fault("plugins.remove", waiting) == "STILL_RUNNING"
    shared.rpc("plugins.stop", waiting)
    shared.rpc("plugins.remove", waiting)
    assert waiting not in shared.states


def test_what_is_added_meanwhile_changes_no_restart(shared: Supervisord, add: Callable[..., str]) -> None:
    name = add(autorestart="false")
    os.kill(shared.start_ready(name), signal.SIGKILL)
    wait_for(lambda: shared.states[name][0] == EXITED)
    shared.write_plugin(name, autorestart="true", restart=AT_ONCE)
    shared.rpc("plugins.add", name)
    assert shared.describe(name)["retry_at"] is None
    assert shared.fault("plugins.stop", name) == "NOT_RUNNING"


def test_orphans_may_obey_while_it_waits(shared: Supervisord, add: Callable[..., str], reader: StreamReader) -> None:
    code = f"import os, time\nif not os.fork():\n    os.setsid()\n    time.sleep(600)\n{OBEDIENT}"
    name = add(code, autorestart="unexpected", restart=SLOW)
    pid = shared.start_ready(name)
    os.kill(pid, signal.SIGKILL)
    process: dict[str, Any] = reader.wait_for(name, state=EXITED, orphans=False)
    assert process["retry_at"] is not None
    assert shared.find(name) == []
    assert "(SIGTERM)" in shared.log.partition(f"ended the orphans of {name!r}")[2].partition("\n")[0]


def test_a_shutdown_restarts_nothing(own: Supervisord) -> None:
    own.start()
    own.add("x", ENDS, autorestart="true", restart={"delay": 1})
    own.start_ready("x")
    wait_for(lambda: own.states["x"][0] == EXITED)
    assert own.stop() == 0
    assert own.count_ready("x") == 1
