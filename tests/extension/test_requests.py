"""What operators ask for by supervisor's own interface is reported as such, and nothing else is."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.engines.supervisord.extension.intents.request_file import REQUESTS_FILE

from tests.helpers.plugin_code import CRASHING, HESITANT, IGNORES_SIGTERM, OBEDIENT
from tests.helpers.supervisord import AT_ONCE, BACKOFF, EXITED, FATAL, RUNNING, STOPPED, STOPPING
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.supervisord import StreamReader, Supervisord


def read_asked(supervisord: Supervisord, name: str) -> dict[str, Any] | None:
    """The last request for a plugin, as a new reader of the state stream sees it."""
    asked: dict[str, Any] | None = supervisord.describe(name).get("asked")
    return asked


def read_wanted(supervisord: Supervisord, name: str) -> str | None:
    """What is wanted of a plugin by its last request."""
    asked = read_asked(supervisord, name)
    return asked["wanted"] if asked is not None else None


def wait_wanted(supervisord: Supervisord, name: str, wanted: str) -> None:
    """Wait until the last request for a plugin wants that."""
    wait_for(lambda: read_wanted(supervisord, name) == wanted, f"{name} to be asked to be {wanted}")


# -- each way of asking


WAYS: dict[str, tuple[str, Callable[[str], list[Any]], str, Callable[[str], list[Any]]]] = {
    "process": ("startProcess", lambda name: [name], "stopProcess", lambda name: [name]),
    "process, not waiting": ("startProcess", lambda name: [name, False], "stopProcess", lambda name: [name, False]),
    "group by process": ("startProcess", lambda name: [f"{name}:*"], "stopProcess", lambda name: [f"{name}:*"]),
    "group": ("startProcessGroup", lambda name: [name], "stopProcessGroup", lambda name: [name]),
    "all": ("startAllProcesses", lambda _: [], "stopAllProcesses", lambda _: []),
}


def test_a_request_is_kept_before_it_is_answered(shared: Supervisord, add: Callable[..., str]) -> None:
    name = add()
    kept = shared.root / REQUESTS_FILE
    for _ in range(5):
        shared.rpc("supervisor.startProcess", name, False)
        assert json.loads(kept.read_text())[name]["wanted"] == "running"
        wait_for(lambda: shared.describe(name)["state"] == RUNNING)
        shared.rpc("supervisor.stopProcess", name, False)
        assert json.loads(kept.read_text())[name]["wanted"] == "stopped"
        wait_for(lambda: shared.describe(name)["state"] == STOPPED)


@pytest.mark.parametrize("way", WAYS)
def test_a_start_and_a_stop(shared: Supervisord, add: Callable[..., str], reader: StreamReader, way: str) -> None:
    start, start_arguments, stop, stop_arguments = WAYS[way]
    name = add()
    before = time.time()
    assert read_asked(shared, name) is None
    shared.rpc(f"supervisor.{start}", *start_arguments(name))
    started = reader.wait_for(name, state=RUNNING)["asked"]
    assert started["wanted"] == "running"
    assert before <= started["at"] <= time.time()
    wait_for(lambda: shared.count_ready(name))
    shared.rpc(f"supervisor.{stop}", *stop_arguments(name))
    after = time.time()
    wait_wanted(shared, name, "stopped")
    stopped = read_asked(shared, name)
    assert stopped is not None
    assert stopped["token"] != started["token"]
    assert started["at"] <= stopped["at"] <= after
    reader.wait_for(name, asked=stopped, state=STOPPED)


def test_supervisorctl(shared: Supervisord, add: Callable[..., str]) -> None:
    name = add()
    tokens = set()
    for verb, wanted in (("start", "running"), ("restart", "running"), ("stop", "stopped"), ("restart", "running")):
        shared.ctl(verb, name)
        asked = read_asked(shared, name)
        assert asked is not None
        assert asked["wanted"] == wanted, verb
        tokens.add(asked["token"])
    assert len(tokens) == 4


def test_supervisorctl_restarts_a_group(shared: Supervisord, add: Callable[..., str], reader: StreamReader) -> None:
    """The stop is not taken for one that stays."""
    name, other = add(), add()
    shared.ctl("start", name, other)
    asked_at = time.time()
    shared.ctl("restart", f"{name}:*")
    shared.ctl("stop", f"{other}:*")  # afterwards: when it has become a request, the other one would have too
    wait_wanted(shared, other, "stopped")
    assert read_wanted(shared, name) == "running"
    wanted = [
        message["process"]["asked"]["wanted"]
        for message in reader.messages
        if message["type"] == "process"
        and message["process"]["name"] == name
        and message["process"].get("asked", {}).get("at", 0) >= asked_at
    ]
    assert set(wanted) == {"running"}


def test_a_group_that_is_stopped_and_started_by_the_service(shared: Supervisord, add: Callable[..., str]) -> None:
    name, other = add(), add()
    shared.ctl("start", name, other)
    shared.ctl("stop", f"{name}:*")
    shared.start_ready(name)
    shared.stop_plugin(name)
    shared.ctl("stop", f"{other}:*")
    wait_wanted(shared, other, "stopped")
    assert read_wanted(shared, name) == "running"


def test_a_group_that_takes_its_time_to_stop(shared: Supervisord, add: Callable[..., str]) -> None:
    name, other = add(IGNORES_SIGTERM, stopwaitsecs=600), add()
    pid = shared.start_ready(name, "supervisor.startProcess")
    shared.ctl("start", other)
    shared.rpc("supervisor.stopProcessGroup", other, False)
    shared.rpc("supervisor.stopProcess", f"{name}:*", False)
    wait_wanted(shared, other, "stopped")
    assert (read_wanted(shared, name), shared.states[name][0]) == ("running", STOPPING)
    os.kill(pid, signal.SIGKILL)
    wait_wanted(shared, name, "stopped")
    assert shared.states[name] == (STOPPED, 0)


def test_a_start_that_fails(shared: Supervisord, add: Callable[..., str]) -> None:
    """The operator wants it to run all the same."""
    name = add(arguments=["/nonexistent"], restart={"delay": 1000, "max_delay": 1000})
    assert shared.fault("supervisor.startProcess", name) == "SPAWN_ERROR"
    process = shared.describe(name)
    assert (process["state"], process["asked"]["wanted"]) == (BACKOFF, "running")
    assert shared.fault("supervisor.startProcess", name) == "ALREADY_STARTED"
    assert shared.describe(name)["asked"] == process["asked"]
    shared.ctl("stop", name)
    assert read_wanted(shared, name) == "stopped"


def test_a_stop_cancels_a_restart(shared: Supervisord, add: Callable[..., str]) -> None:
    name = add(CRASHING, autorestart="true", restart={"delay": 1000, "max_delay": 1000})
    shared.rpc("plugins.start", name)
    wait_for(lambda: shared.describe(name)["retry_at"])
    assert shared.ctl("stop", name) == f"{name}: stopped\n"
    assert read_wanted(shared, name) == "stopped"


def test_one_that_is_queued(shared: Supervisord, add: Callable[..., str]) -> None:
    started, stopped = add(), add()
    shared.rpc("plugins.queue", [started, stopped], "")
    shared.ctl("start", started)
    shared.ctl("stop", stopped)
    assert (read_wanted(shared, started), read_wanted(shared, stopped)) == ("running", "stopped")


# -- what is no request


def test_a_request_that_fails(shared: Supervisord, add: Callable[..., str]) -> None:
    name = add()
    assert shared.fault("supervisor.stopProcess", name) == "NOT_RUNNING"
    shared.rpc("supervisor.stopProcessGroup", name)
    shared.start_ready(name)
    assert shared.fault("supervisor.startProcess", name) == "ALREADY_STARTED"
    shared.rpc("supervisor.startProcessGroup", name)
    shared.rpc("supervisor.startAllProcesses")
    assert shared.fault("supervisor.startProcess", f"{name}:other") == "BAD_NAME"
    assert shared.fault("supervisor.stopProcess", f"{name}:other") == "BAD_NAME"
    assert read_asked(shared, name) is None


def test_a_start_of_one_that_is_stopping(shared: Supervisord, add: Callable[..., str]) -> None:
    """supervisord reports success, and starts nothing."""
    name = add(HESITANT, directory=str(shared.root))
    shared.start_ready(name)
    shared.rpc("supervisor.stopProcess", name, False)
    try:
        shared.fault("supervisor.startProcess", name, False)
        assert read_wanted(shared, name) == "stopped"
    finally:
        (shared.root / "go").touch()
        shared.wait_until_gone(name)
        (shared.root / "go").unlink()
    assert shared.describe(name)["launches"] == 1


def test_what_the_service_asks_for(shared: Supervisord, add: Callable[..., str]) -> None:
    name = add()
    shared.start_ready(name)
    shared.start_ready(name, "plugins.restart")
    shared.rpc("plugins.end", name, shared.describe(name)["launches"], "a check has failed", "never")
    wait_for(lambda: shared.states[name][0] == EXITED)
    shared.rpc("plugins.queue", [name], "")
    shared.rpc("plugins.fail", name, "it was not started")
    assert shared.states[name][0] == FATAL
    shared.start_ready(name)
    shared.stop_plugin(name)
    assert read_asked(shared, name) is None


def test_what_becomes_of_a_process(shared: Supervisord, add: Callable[..., str]) -> None:
    killed = add(autorestart="true", restart=AT_ONCE)
    failing = add("raise SystemExit(3)\n", startsecs=9, startretries=1, restart=AT_ONCE)
    pid = shared.start_ready(killed)
    shared.rpc("supervisor.signalProcess", killed, "KILL")
    wait_for(lambda: shared.states[killed][1] not in (0, pid), "the next process")
    shared.rpc("plugins.start", failing)
    wait_for(lambda: shared.states[failing][0] == FATAL)
    assert (read_asked(shared, killed), read_asked(shared, failing)) == (None, None)


@pytest.mark.parametrize("was_asked", [False, True])
def test_update(shared: Supervisord, add: Callable[..., str], was_asked: bool) -> None:
    """A changed, a removed and an added file; supervisorctl stops the first two as an operator does."""
    names = changed, removed, other = add(autostart="true"), add(), add()
    shared.write_plugin("added", autostart="true")
    try:
        for name in names:
            shared.start_ready(name, "supervisor.startProcess" if was_asked else "plugins.start")
        before = {name: read_asked(shared, name) for name in names}
        path = shared.root / "conf.d" / f"{changed}.conf"
        path.write_text(path.read_text() + "priority=5\n")
        conf = (shared.root / "conf.d" / f"{removed}.conf").rename(shared.root / "kept")
        update = shared.ctl("update")
        assert f"{changed}: updated process group" in update
        assert f"{removed}: removed process group" in update
        conf.rename(shared.root / "conf.d" / f"{removed}.conf")
        shared.rpc("plugins.add", removed)
        shared.ctl("stop", f"{other}:*")  # afterwards: when it has become a request, the others would have too
        wait_wanted(shared, other, "stopped")
        for name in (changed, removed):
            assert read_asked(shared, name) == before[name]
        assert read_asked(shared, "added") is None
    finally:
        shared.remove("added")


def test_signals_and_another_program(shared: Supervisord, add: Callable[..., str]) -> None:
    name = add(f"import signal\nsignal.signal(signal.SIGUSR1, signal.SIG_IGN)\n{OBEDIENT}")
    shared.start_ready(name)
    shared.ctl("signal", "USR1", name)
    shared.ctl("signal", "TERM", name)
    wait_for(lambda: shared.states[name][0] == EXITED)
    (shared.root / "foreign.py").write_text(OBEDIENT)
    shared.write_program("foreign", autostart="false")
    shared.ctl("update")
    try:
        shared.ctl("start", "foreign")
        shared.ctl("stop", "foreign")
        assert read_asked(shared, "foreign") is None
    finally:
        (shared.root / "conf.d" / "foreign.conf").unlink()
        shared.ctl("update")
    assert read_asked(shared, name) is None


# -- the end of supervisord


@pytest.mark.parametrize("how", ["shutdown", "signal"])
def test_the_end_of_supervisord_is_none(own: Supervisord, how: str) -> None:
    """But the stop of a group just before it is one: nothing is removed any more."""
    for name in ("runs", "stopped"):
        own.write_plugin(name)
    own.start()
    reader = own.follow()
    for name in ("runs", "stopped"):
        own.start_ready(name)
    own.ctl("stop", "stopped:*")
    own.ctl("shutdown") if how == "shutdown" else os.kill(own.pid, signal.SIGTERM)
    wait_for(lambda: reader.is_closed)
    lines = [message["process"] for message in reader.messages if message["type"] == "process"]
    last = {process["name"]: process.get("asked", {}).get("wanted") for process in lines}
    assert last == {"runs": None, "stopped": "stopped"}


@pytest.mark.parametrize("how", ["reload", "shutdown", "SIGKILL"])
def test_another_supervisord_reports_the_last_request(own: Supervisord, how: str) -> None:
    """No service may have been there to hear of it; a new request has another token."""
    own.write_plugin("x")
    own.write_plugin("never-asked-for")
    own.start()
    tokens = set()
    for _ in range(3):
        own.start_ready("x", "supervisor.startProcess")
        before = read_asked(own, "x")
        assert before is not None
        tokens.add(before["token"])
        wait_for((own.root / REQUESTS_FILE).exists)
        if how == "reload":
            own.ctl("reload")
        else:
            own.stop(signal.SIGTERM if how == "shutdown" else signal.SIGKILL)
            own.start()
        own.rpc.close()
        wait_for(own.answers)
        assert read_asked(own, "x") == before
        assert read_asked(own, "never-asked-for") is None
    assert len(tokens) == 3
    assert (own.root / REQUESTS_FILE).stat().st_mode & 0o777 == 0o600


def test_nothing_is_to_be_remembered(own: Supervisord) -> None:
    """A supervisord with other settings must not find what was asked of this one."""
    own.write_plugin("x")
    own.start(PLUGVISOR_REMEMBER="false")
    own.start_ready("x", "supervisor.startProcess")
    assert read_wanted(own, "x") == "running"
    own.stop()
    own.start()
    own.rpc.close()
    assert read_asked(own, "x") is None


GOOD = b'{"wanted": "running", "token": "a-1", "at": 1.5}'
DAMAGED = {
    "empty": b"",
    "half": b'{"x": ' + GOOD,
    "list": b"[]",
    "deep": b"[" * 500_000,
    "wanted": GOOD.replace(b"running", b"paused"),
    "no token": GOOD.replace(b'"a-1"', b"null"),
    "long token": GOOD.replace(b"a-1", b"a" * 65),
    "no time": GOOD.replace(b"1.5", b"true"),
    "infinite": GOOD.replace(b"1.5", b"Infinity"),
    "negative": GOOD.replace(b"1.5", b"-1"),
    "more": GOOD.replace(b"}", b', "more": 1}'),
    "too large": b'{"x": ' + GOOD + b"}" + b" " * 5_000_000,
}


@pytest.mark.parametrize("kind", [*DAMAGED, "pipe", "folder"])
def test_the_file_is_damaged(own: Supervisord, kind: str) -> None:
    """supervisord says so in its log, and nothing is reported that the service could not read."""
    path = own.root / REQUESTS_FILE
    if kind in DAMAGED:
        data = DAMAGED[kind]
        path.write_bytes(b'{"x": ' + data + b"}" if data.startswith(b'{"wanted') else data)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    own.write_plugin("x")
    own.start()
    assert read_asked(own, "x") is None
    assert own.log.count(f"cannot read {path}, which keeps what operators asked for") == 1
    own.ctl("start", "x")
    assert read_wanted(own, "x") == "running"
    assert (f"cannot write {path}, which keeps" in own.log) == (kind == "folder")


def test_a_good_file(own: Supervisord) -> None:
    (own.root / REQUESTS_FILE).write_bytes(b'{"x": ' + GOOD + b"}")
    own.write_plugin("x")
    own.start()
    assert read_asked(own, "x") == json.loads(GOOD)
