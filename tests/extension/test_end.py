"""`plugins.end`: a process that does not work is ended, and restarted or not."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.helpers.plugin_code import HESITANT, IGNORES_SIGTERM, OBEDIENT
from tests.helpers.processes import is_alive
from tests.helpers.supervisord import AT_ONCE, EXITED, FATAL, RUNNING, STARTING, STOPPED, STOPPING
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.helpers.supervisord import StreamReader, Supervisord

REASON = "the check 'web' failed 3 times"
SLOW = {"delay": 300, "max_delay": 3600}


def end(shared: Supervisord, name: str, restart: str, launches: int | None = None) -> int:
    """End a plugin's present launch, or another one."""
    launches = shared.describe(name)["launches"] if launches is None else launches
    sequence: int = shared.rpc("plugins.end", name, launches, REASON, restart)
    return sequence


@pytest.mark.parametrize("startsecs", [0, 60])
@pytest.mark.parametrize(
    ("options", "is_restarted"),
    [
        ("false always", True),
        ("unexpected always", True),
        ("true never", False),
        ("unexpected policy", True),
        ("false policy", False),
    ],
)
def test_what_it_is_then(
    shared: Supervisord,
    add: Callable[..., str],
    reader: StreamReader,
    *,
    options: str,
    is_restarted: bool,
    startsecs: int,
) -> None:
    """EXITED unexpectedly, although it obeys and exits with 0, and although it may still have been STARTING."""
    autorestart, restart = options.split()
    name = add(autorestart=autorestart, restart=SLOW, startsecs=startsecs)
    pid = shared.start_ready(name)
    assert reader.wait_for(name, pid=pid)["state"] == (STARTING if startsecs else RUNNING)
    since = len(reader.messages)
    end(shared, name, restart)
    process = reader.wait_for(name, state=EXITED)
    assert not is_alive(pid)
    assert (process["last_exit"]["code"], process["last_exit"]["reason"]) == (0, REASON)
    assert process["spawn_error"]
    assert (process["retry_at"] is not None) is is_restarted
    assert reader.list_states(name, since)[-1] == EXITED
    assert STOPPED not in reader.list_states(name, since)
    assert shared.fault("plugins.stop", name) == (None if is_restarted else "NOT_RUNNING")


def test_it_is_restarted_as_often_as_the_policy_says(
    shared: Supervisord, add: Callable[..., str], reader: StreamReader
) -> None:
    name = add(restart=AT_ONCE | {"max_restarts": 2})
    shared.start_ready(name)
    for restarts in (1, 2):
        end(shared, name, "always")
        process = reader.wait_for(name, state=RUNNING, restarts=restarts)
        assert process["last_exit"]["reason"] == REASON
        wait_for(lambda restarts=restarts: shared.count_ready(name) == restarts + 1)
    end(shared, name, "always")
    assert "it was restarted 2 times" in reader.wait_for(name, state=FATAL)["spawn_error"]
    shared.start_ready(name)
    os.kill(reader.wait_for(name, state=RUNNING)["pid"], signal.SIGKILL)
    assert "reason" not in reader.wait_for(name, state=EXITED)["last_exit"], "that was another one's end"


def test_one_that_ignores_sigterm(shared: Supervisord, add: Callable[..., str], reader: StreamReader) -> None:
    name = add(IGNORES_SIGTERM, stopwaitsecs=1, restart=AT_ONCE)
    pid = shared.start_ready(name)
    end(shared, name, "always")
    process = reader.wait_for(name, state=RUNNING, restarts=1)
    assert (process["last_exit"]["signal"], process["last_exit"]["reason"]) == ("SIGKILL", REASON)
    assert not is_alive(pid)


def test_orphans_end_before_the_restart(shared: Supervisord, add: Callable[..., str], reader: StreamReader) -> None:
    code = f"import os, signal\nif not os.fork():\n    os.setsid()\n    signal.sigwait([signal.SIGUSR1])\n{OBEDIENT}"
    name = add(code, restart=AT_ONCE)
    shared.start_ready(name)
    family = wait_for(lambda: len(found := shared.find(name)) == 2 and found)
    end(shared, name, "always")
    reader.wait_for(name, state=RUNNING, restarts=1)
    assert not [pid for pid in family if is_alive(pid)]


def test_what_is_no_longer_so_is_left_alone(shared: Supervisord, add: Callable[..., str]) -> None:
    name = add()
    end(shared, name, "always", 0)
    assert shared.states[name] == (STOPPED, 0)
    pid = shared.start_ready(name)
    end(shared, name, "always", 7)
    assert shared.states[name] == (RUNNING, pid)
    assert shared.fault("plugins.end", "nobody", 1, REASON, "always") is None


@pytest.fixture
def ending(shared: Supervisord, add: Callable[..., str], reader: StreamReader) -> Iterator[str]:
    """A plugin that is being ended, to be restarted then, and takes its time."""
    name = add(HESITANT.replace('"go"', "__file__ + '.go'"), restart=AT_ONCE)
    shared.start_ready(name)
    end(shared, name, "always")
    reader.wait_for(name, state=STOPPING)
    yield name
    let_go(shared, name)


def let_go(shared: Supervisord, name: str) -> None:
    """Let a process of `ending` obey."""
    (shared.root / f"{name}.py.go").touch()


def test_a_stop_meanwhile_applies(shared: Supervisord, ending: str, reader: StreamReader) -> None:
    shared.rpc("plugins.stop", ending)
    let_go(shared, ending)
    process = reader.wait_for(ending, state=STOPPED, orphans=False)
    assert (process["launches"], process["last_exit"].get("reason")) == (1, None)


def test_a_stop_by_an_operator_applies(shared: Supervisord, ending: str) -> None:
    assert shared.rpc("supervisor.stopProcess", ending, False) is True
    assert shared.fault("supervisor.stopProcess", ending) == "NOT_RUNNING", "it is a stop like any other now"
    let_go(shared, ending)
    wait_for(lambda: shared.states[ending] == (STOPPED, 0))


def test_a_stop_by_an_operator_waits_for_the_end(shared: Supervisord, ending: str) -> None:
    pid = shared.states[ending][1]
    let_go(shared, ending)
    answer = shared.ctl("stop", ending)
    assert answer == f"{ending}: stopped\n"
    assert not is_alive(pid)
    assert shared.states[ending] == (STOPPED, 0)


@pytest.mark.parametrize("is_ending", [False, True])
def test_supervisord_idles_while_an_operator_waits_for_a_stop(own: Supervisord, is_ending: bool) -> None:
    own.start()
    own.add("x", HESITANT)
    own.start_ready("x")
    if is_ending:
        end(own, "x", "always")
    assert own.process is not None
    supervisord = psutil.Process(own.process.pid)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(own.ctl, "stop", "x")
        wait_for(lambda: own.states["x"][0] == STOPPING)
        before, began = sum(supervisord.cpu_times()[:2]), time.monotonic()
        wait_for(lambda: time.monotonic() > began + 1)
        used_seconds = sum(supervisord.cpu_times()[:2]) - before
        (own.root / "go").touch()
        assert answer.result(DEADLINE_SECONDS) == "x: stopped\n"
    assert used_seconds < 0.2


@pytest.mark.parametrize("method", ["plugins.start", "plugins.restart"])
def test_a_start_meanwhile_applies(shared: Supervisord, ending: str, reader: StreamReader, method: str) -> None:
    shared.rpc(method, ending)
    let_go(shared, ending)
    process: dict[str, Any] = reader.wait_for(ending, state=RUNNING)
    assert (process["launches"], process["restarts"]) == (2, 0)


def test_a_second_end_changes_nothing(shared: Supervisord, ending: str, reader: StreamReader) -> None:
    end(shared, ending, "never")
    let_go(shared, ending)
    assert reader.wait_for(ending, state=RUNNING)["restarts"] == 1


def test_while_supervisord_shuts_down(own: Supervisord) -> None:
    own.start()
    own.add("x", HESITANT, restart=AT_ONCE)
    own.start_ready("x")
    end(own, "x", "always")
    assert own.process is not None
    own.process.terminate()
    wait_for(lambda: "stopping every program at once" in own.log)
    assert own.fault("plugins.end", "x", 1, REASON, "always") == "SHUTDOWN_STATE"
    (own.root / "go").touch()
    own.process.wait(DEADLINE_SECONDS)
    assert own.process.returncode == 0
    assert own.count_ready("x") == 1
