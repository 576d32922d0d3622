"""`plugins.add`, `start`, `stop`, `restart` and `remove`, in every state that a program may be in."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import xmlrpc.client
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.plugin_code import CRASHING, HESITANT, OBEDIENT
from tests.helpers.ports import find_free_port
from tests.helpers.processes import is_alive
from tests.helpers.supervisord import (
    AT_ONCE,
    BACKOFF,
    EXITED,
    FATAL,
    RUNNING,
    STARTING,
    STOPPED,
    STOPPING,
    InternalError,
    make_supervisord,
)
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.helpers.supervisord import StreamReader, Supervisord

FAILS = "print('ready', flush=True)\nraise SystemExit(3)\n"
SETTLED = {
    "stopped": (STOPPED, OBEDIENT, {}),
    "starting": (STARTING, OBEDIENT, {"startsecs": 60}),
    "running": (RUNNING, OBEDIENT, {}),
    "backoff": (BACKOFF, FAILS, {"startsecs": 60, "startretries": 99}),
    "exited": (EXITED, "print('ready', flush=True)\n", {}),
    "exited badly": (EXITED, FAILS, {}),
    "fatal": (FATAL, FAILS, {"startsecs": 60, "startretries": 0}),
    "stopping": (STOPPING, HESITANT, {}),
}
"""How a program gets into each state that it stays in."""
ALIVE = ("starting", "running", "stopping")


class InState:
    """A plugin in one of the states above."""

    def __init__(self, shared: Supervisord, name: str, how: str) -> None:
        self.shared, self.name = shared, name
        self.state = SETTLED[how][0]
        self.go = shared.root / f"go-{name}"
        if how != "stopped":
            shared.rpc("plugins.start", name)
            wait_for(lambda: shared.count_ready(name), "it to be ready")
        if how == "stopping":
            shared.rpc("plugins.stop", name)
        wait_for(lambda: shared.states[name][0] == self.state, how)
        self.pid = shared.states[name][1]
        self.launches: int = shared.describe(name)["launches"]

    def wait_for_next(self) -> dict[str, Any]:
        """Wait until it was started once more; returns what the stream reports of it."""
        process: dict[str, Any] = wait_for(
            lambda: (found := self.shared.describe(self.name))["launches"] > self.launches and found, "another start"
        )
        assert process["launches"] == self.launches + 1
        return process


@pytest.fixture
def put(shared: Supervisord, add: Callable[..., str]) -> Iterator[Callable[[str], InState]]:
    """Adds a plugin and brings it into a state."""
    made: list[InState] = []

    def make(how: str) -> InState:
        _, code, options = SETTLED[how]
        name = add(code.replace('"go"', f"{str(shared.root)!r} + '/go-' + sys.argv[0].split('/')[-1][:-3]"), **options)
        made.append(InState(shared, name, how))
        return made[-1]

    yield make
    for plugin in made:
        plugin.go.touch()


def options_of(shared: Supervisord, name: str) -> dict[str, Any]:
    """What supervisord reports of a program, without what changes by itself."""
    info: dict[str, Any] = shared.rpc("supervisor.getProcessInfo", name)
    return {key: value for key, value in info.items() if key not in ("now", "description")}


def never(condition: Callable[[], Any], seconds: float = 0.4) -> bool:
    """Whether a condition stays false for a while in which supervisord goes many rounds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return False
    return True


# -- add


def test_what_is_added_is_stopped_whatever_its_autostart(shared: Supervisord, add: Callable[..., str]) -> None:
    name = add(autostart="true", autorestart="true")
    for _ in range(2):
        assert never(lambda: shared.states[name] != (STOPPED, 0))
        assert options_of(shared, name)["start"] == 0
        shared.rpc("plugins.add", name)
    assert shared.count_ready(name) == 0
    shared.start_ready(name)


@pytest.mark.parametrize("how", SETTLED)
def test_add_changes_no_state(shared: Supervisord, put: Callable[[str], InState], how: str) -> None:
    plugin = put(how)
    before, shown = shared.describe(plugin.name), options_of(shared, plugin.name)
    shared.write_program(plugin.name, command=f"/bin/sh {shared.root}/launch/{plugin.name}.sh", autostart="true")
    shared.rpc("plugins.add", plugin.name)
    if how != "backoff":
        after = shared.describe(plugin.name)
        assert {**after, "stop_seconds": 0} == {**before, "stop_seconds": 0}
        assert never(lambda: options_of(shared, plugin.name) != shown)
    if plugin.pid:
        assert is_alive(plugin.pid)


def test_what_is_added_while_it_runs_is_applied_at_the_next_start(shared: Supervisord, add: Callable[..., str]) -> None:
    name = add(stopwaitsecs=7)
    pid = shared.start_ready(name)
    shared.write_plugin(name, f"print('new', flush=True)\n{OBEDIENT}", stopwaitsecs=8)
    shared.rpc("plugins.add", name)
    assert shared.states[name] == (RUNNING, pid)
    assert shared.describe(name)["stop_seconds"] == 7
    assert f"{name}: changed" in shared.ctl("reread"), "the old one is still what runs"
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: shared.states[name][0] == EXITED)
    shared.start_ready(name)
    assert shared.describe(name)["stop_seconds"] == 8
    assert "new" in shared.read_output(name)
    assert f"{name}:" not in shared.ctl("reread")


def test_it_keeps_its_history(shared: Supervisord, add: Callable[..., str]) -> None:
    name = add(OBEDIENT.replace("sys.exit(0)", "sys.exit(4)"), autorestart="true")
    os.kill(shared.start_ready(name), signal.SIGKILL)
    wait_for(lambda: shared.count_ready(name) == 2)
    shared.stop_plugin(name)
    before = shared.describe(name)
    assert (before["state"], before["last_exit"]["code"], before["restarts"]) == (STOPPED, 4, 1)
    shared.write_plugin(name, autorestart="true", priority=7)
    shared.rpc("plugins.add", name)
    assert shared.describe(name) == before


BAD_FILES = {
    "empty": "",
    "no section": "priority=1\n",
    "another section": "[program:other]\ncommand=true\n",
    "two sections": "[program:{name}]\ncommand=true\n[program:other]\ncommand=true\n",
    "an interface": "[program:{name}]\ncommand=true\n[rpcinterface:x]\nsupervisor.rpcinterface_factory=x:y\n",
    "no command": "[program:{name}]\npriority=1\n",
    "no number": "[program:{name}]\ncommand=true\nstartsecs=soon\n",
    "no signal": "[program:{name}]\ncommand=true\nstopsignal=LOUD\n",
    "no such variable": "[program:{name}]\ncommand=%(ENV_THERE_IS_NO_SUCH_VARIABLE)s\n",
    "a group": "[group:{name}]\nprograms=bystander\n",
    "several": "[program:{name}]\ncommand=true\nnumprocs=2\nprocess_name=%(process_num)d\n",
    "another name": "[program:{name}]\ncommand=true\nprocess_name=other\n",
    "not text": "[program:{name}]\ncommand=\udcff\n",
}


@pytest.mark.parametrize("bad", BAD_FILES)
@pytest.mark.parametrize("method", ["add", "start", "restart"])
def test_a_bad_file_changes_nothing(shared: Supervisord, add: Callable[..., str], method: str, bad: str) -> None:
    name = add()
    pid = shared.start_ready(name) if method != "start" else 0
    before = shared.describe(name)
    path = shared.root / "conf.d" / f"{name}.conf"
    good = path.read_text()
    path.write_text(BAD_FILES[bad].format(name=name), errors="surrogateescape")
    assert shared.fault(f"plugins.{method}", name) == "CANT_REREAD"
    assert shared.describe(name) == before
    assert not pid or is_alive(pid)
    path.write_text(good)
    shared.rpc("plugins.add", name)
    shared.rpc("plugins.restart", name)


def test_a_new_program_must_be_a_plugin(shared: Supervisord) -> None:
    shared.write_program("ordinary", autostart="false")
    assert shared.fault("plugins.add", "ordinary") == "CANT_REREAD"
    shared.write_program("ordinary", command=f"/bin/sh {shared.root}/launch/another.sh", autostart="false")
    assert shared.fault("plugins.add", "ordinary") == "CANT_REREAD"
    assert "ordinary" not in shared.states
    (shared.root / "conf.d" / "ordinary.conf").unlink()


METHODS = ("add", "start", "stop", "restart", "remove")


@pytest.mark.parametrize(
    "name", ["../x", "a;b", "", ".", "a/b", "x.conf", "-x", "_x", "a\nb", "a ", "%(here)s", "*", "bystander\n", "ä"]
)
def test_no_other_name_is_taken(shared: Supervisord, name: str) -> None:
    (shared.root / "x.conf").write_text("[program:x]\ncommand=true\n")
    before = shared.states
    for method in METHODS:
        assert shared.fault(f"plugins.{method}", name) == "BAD_NAME"
    assert shared.states == before


@pytest.mark.parametrize("name", [5, True, ["x"], {"x": 1}], ids=repr)
def test_what_is_no_name_harms_nobody(shared: Supervisord, name: object) -> None:
    before = shared.states
    for method in METHODS:
        with contextlib.suppress(InternalError):
            assert shared.fault(f"plugins.{method}", name) in ("BAD_NAME", "INCORRECT_PARAMETERS")
    assert shared.states == before


# -- start


@pytest.mark.parametrize("how", SETTLED)
def test_start(shared: Supervisord, put: Callable[[str], InState], how: str) -> None:
    plugin = put(how)
    if how in ("running", "starting"):
        assert shared.fault("plugins.start", plugin.name) == "ALREADY_STARTED"
        assert shared.states[plugin.name] == (plugin.state, plugin.pid)
        return
    assert shared.fault("plugins.start", plugin.name) is None
    if how == "stopping":
        process = shared.describe(plugin.name)
        assert (process["state"], process["pid"], process["start_pending"]) == (STOPPING, plugin.pid, True)
        assert is_alive(plugin.pid)
        plugin.go.touch()
    process = plugin.wait_for_next()
    assert not process["start_pending"]
    assert process["restarts"] == 0 or how == "backoff", "an operator's start is no restart by supervisord"
    assert not plugin.pid or not is_alive(plugin.pid)


def test_start_applies_a_changed_file(shared: Supervisord, add: Callable[..., str]) -> None:
    name = add(stopwaitsecs=7)
    shared.write_plugin(name, stopwaitsecs=8)
    shared.start_ready(name)
    assert shared.describe(name)["stop_seconds"] == 8


def test_start_adds_what_is_new(shared: Supervisord, add: Callable[..., str]) -> None:
    shared.remove(name := add())
    shared.write_plugin(name)
    shared.start_ready(name)
    shared.remove(name)


# -- stop


@pytest.mark.parametrize("how", SETTLED)
def test_stop(shared: Supervisord, put: Callable[[str], InState], how: str) -> None:
    plugin = put(how)
    if how in ("stopped", "exited", "exited badly", "fatal"):
        assert shared.fault("plugins.stop", plugin.name) == "NOT_RUNNING"
        assert shared.states[plugin.name] == (plugin.state, 0)
        return
    assert shared.fault("plugins.stop", plugin.name) is None
    plugin.go.touch()
    wait_for(lambda: shared.states[plugin.name] == (STOPPED, 0), "it to be stopped")
    assert not shared.find(plugin.name)
    assert shared.describe(plugin.name)["launches"] == plugin.launches


# -- restart


@pytest.mark.parametrize("how", SETTLED)
def test_restart(shared: Supervisord, put: Callable[[str], InState], how: str) -> None:
    plugin = put(how)
    assert shared.fault("plugins.restart", plugin.name) is None
    plugin.go.touch()
    plugin.wait_for_next()
    assert not plugin.pid or not is_alive(plugin.pid)
    assert len(shared.find(plugin.name)) <= 1


def test_restart_applies_a_changed_file(shared: Supervisord, add: Callable[..., str]) -> None:
    name = add(HESITANT, directory=str(shared.root), stopwaitsecs=7)
    (shared.root / "go").unlink(missing_ok=True)
    shared.start_ready(name)
    shared.write_plugin(name, f"print('new', flush=True)\n{OBEDIENT}", stopwaitsecs=8)
    shared.rpc("plugins.restart", name)
    assert shared.describe(name)["stop_seconds"] == 7, "the old process is still being stopped"
    (shared.root / "go").touch()
    wait_for(lambda: "new" in shared.read_output(name), "the new one")
    assert shared.describe(name)["stop_seconds"] == 8


def test_restart_is_one_start_whoever_asks(shared: Supervisord, put: Callable[[str], InState]) -> None:
    plugin = put("stopping")
    for method in ("restart", "start", "restart", "start"):
        shared.rpc(f"plugins.{method}", plugin.name)
    plugin.go.touch()
    plugin.wait_for_next()
    assert never(lambda: shared.describe(plugin.name)["launches"] > plugin.launches + 1, 0.2)


# -- a pending start


def test_it_survives_whoever_asked(shared: Supervisord, put: Callable[[str], InState]) -> None:
    plugin = put("stopping")
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
import os, pathlib, signal
from tests.helpers.supervisord import RpcClient
RpcClient(pathlib.Path({str(shared.root / "rpc.sock")!r}))("plugins.restart", {plugin.name!r})
os.kill(os.getpid(), signal.SIGKILL)
"""
    pid = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-c", code])
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    plugin.go.touch()
    plugin.wait_for_next()


def test_a_stop_cancels_it(shared: Supervisord, put: Callable[[str], InState]) -> None:
    plugin = put("stopping")
    shared.rpc("plugins.restart", plugin.name)
    reader = shared.follow()
    reader.wait_for(plugin.name, start_pending=True)
    shared.rpc("plugins.stop", plugin.name)
    reader.wait_for(plugin.name, state=STOPPING, start_pending=False)
    plugin.go.touch()
    reader.wait_for(plugin.name, state=STOPPED)
    assert never(lambda: shared.describe(plugin.name)["launches"] > plugin.launches, 0.2)
    shared.close_readers()


def test_the_end_of_supervisord_cancels_it(own: Supervisord) -> None:
    own.write_plugin("slow", HESITANT)
    own.start()
    own.start_ready("slow")
    own.rpc("plugins.restart", "slow")
    os.kill(own.pid, signal.SIGTERM)
    wait_for(lambda: "plugins: stopping every program at once" in own.log)
    (own.root / "go").touch()
    assert own.process is not None
    assert own.process.wait(DEADLINE_SECONDS) == 0
    assert own.log.count("spawned: 'slow'") == 1


def test_nothing_starts_once_supervisord_ends(own: Supervisord) -> None:
    own.write_plugin("slow", HESITANT)
    own.write_plugin("other")
    own.start()
    own.start_ready("slow")
    os.kill(own.pid, signal.SIGTERM)
    wait_for(lambda: "plugins: stopping every program at once" in own.log)
    for method in ("add", "start", "restart", "remove"):
        assert own.fault(f"plugins.{method}", "other") == "SHUTDOWN_STATE"
    (own.root / "go").touch()
    assert own.process is not None
    assert own.process.wait(DEADLINE_SECONDS) == 0


def test_a_refused_remove_does_not_cancel_it(shared: Supervisord, put: Callable[[str], InState]) -> None:
    plugin = put("stopping")
    shared.rpc("plugins.restart", plugin.name)
    assert shared.fault("plugins.remove", plugin.name) == "STILL_RUNNING"
    plugin.go.touch()
    plugin.wait_for_next()


# -- remove


@pytest.mark.parametrize("how", SETTLED)
def test_remove(shared: Supervisord, put: Callable[[str], InState], how: str) -> None:
    plugin = put(how)
    if how in (*ALIVE, "backoff"):
        assert shared.fault("plugins.remove", plugin.name) == "STILL_RUNNING"
        assert not plugin.pid or is_alive(plugin.pid)
        return
    (shared.root / "conf.d" / f"{plugin.name}.conf").unlink()
    reader = shared.follow()
    assert shared.fault("plugins.remove", plugin.name) is None
    wait_for(lambda: plugin.name not in (reader.processes or {}), "readers to know")
    assert plugin.name not in shared.states
    assert "No config updates" in shared.ctl("reread")
    for method in ("remove", "stop", "start", "restart"):
        assert shared.fault(f"plugins.{method}", plugin.name) == "BAD_NAME"
    shared.close_readers()


# -- what supervisord is about to restart


@pytest.mark.parametrize("method", ["stop", "start", "restart", "remove"])
def test_between_exit_and_restart(shared: Supervisord, add: Callable[..., str], method: str) -> None:
    """A program that exits again and again is EXITED for a moment each time, and then it is as good as running."""
    name = add(CRASHING, autorestart="true", restart=AT_ONCE)
    for _ in range(2):
        if shared.fault("plugins.add", name) is None:
            shared.fault("plugins.start", name)
        wait_for(lambda: shared.count_ready(name) > 1, "it to be restarted")
        if method in ("start", "restart"):
            for _ in range(10):
                assert shared.fault(f"plugins.{method}", name) in (None, "ALREADY_STARTED")
                assert len(shared.find(name)) <= 1
            shared.rpc("plugins.stop", name)
        elif method == "remove":
            wait_for(lambda: shared.fault("plugins.stop", name) is None)
            wait_for(lambda: shared.fault("plugins.remove", name) is None)
            assert name not in shared.states
        else:
            assert shared.fault("plugins.stop", name) is None
        wait_for(lambda: not shared.find(name), "nothing of it to be left")
        count = shared.count_ready(name)
        assert never(lambda count=count: shared.count_ready(name) > count, 0.1)


def test_each_returns_the_number_of_the_line_that_says_so(
    shared: Supervisord, add: Callable[..., str], reader: StreamReader
) -> None:
    name = add()
    for method, expected in (("start", RUNNING), ("restart", STOPPING), ("stop", STOPPING)):
        number = shared.rpc(f"plugins.{method}", name)
        wait_for(lambda number=number: reader.messages[-1]["seq"] >= number)
        [line] = [message for message in reader.messages if message["seq"] == number]
        assert line["process"]["name"] == name
        assert line["process"]["state"] == expected, method
        if method == "restart":
            reader.wait_for(name, state=RUNNING, launches=2)


def test_two_http_servers_share_one_extension() -> None:
    port = find_free_port()
    with make_supervisord(more=f"[inet_http_server]\nport=127.0.0.1:{port}\n") as own:
        own.write_plugin("x")
        own.start()
        with xmlrpc.client.ServerProxy(f"http://127.0.0.1:{port}") as other:
            reader = own.follow()
            numbers = [call() for call in (lambda: own.rpc("plugins.sync"), other.plugins.sync) * 5]
            assert numbers == sorted(numbers)
            assert other.plugins.start("x") > numbers[-1]
            assert reader.wait_for("x", state=RUNNING)["launches"] == 1
            assert len([message for message in reader.messages if message["type"] == "process"]) == 1
