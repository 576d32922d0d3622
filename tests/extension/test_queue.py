"""Queued starts: `plugins.queue` and `fail`, and what is queued at boot."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.plugin_code import HESITANT, OBEDIENT
from tests.helpers.processes import is_alive
from tests.helpers.supervisord import BACKOFF, EXITED, FATAL, RUNNING, STARTING, STOPPED, STOPPING
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.supervisord import StreamReader, Supervisord

FAILS = "print('ready', flush=True)\nraise SystemExit(3)\n"
LEAVES_ORPHAN = f"""\
import subprocess, sys
code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('orphan', flush=True); signal.pause()"
subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
{OBEDIENT}"""
STATES: dict[str, tuple[int, str, dict[str, Any]]] = {
    "stopped": (STOPPED, OBEDIENT, {}),
    "exited": (EXITED, FAILS, {}),
    "fatal": (FATAL, FAILS, {"startsecs": 60, "startretries": 0}),
    "backoff": (BACKOFF, FAILS, {"startsecs": 60, "startretries": 99, "restart": {"delay": 1000, "max_delay": 1000}}),
    "about to be restarted": (EXITED, FAILS, {"autorestart": "true", "restart": {"delay": 1000, "max_delay": 1000}}),
}
"""How a program that does not run gets into each state."""


@pytest.fixture
def put(shared: Supervisord, add: Callable[..., str]) -> Callable[[str], str]:
    """Adds a plugin and brings it into a state."""

    def make(how: str) -> str:
        state, code, options = STATES[how]
        name = add(code, **options)
        if how != "stopped":
            shared.rpc("plugins.start", name)
            wait_for(lambda: shared.states[name][0] == state and shared.count_ready(name), how)
        return name

    return make


def is_queued(supervisord: Supervisord, name: str) -> str | None:
    """Why a program is queued, as a new reader of the state stream hears; None if it is not."""
    queued: str | None = supervisord.describe(name).get("queued")
    return queued


# -- queue and start


@pytest.mark.parametrize("how", STATES)
def test_what_is_queued_waits_for_its_start(shared: Supervisord, put: Callable[[str], str], how: str) -> None:
    name = put(how)
    launches = shared.describe(name)["launches"]
    shared.rpc("plugins.queue", [name], "")
    process = shared.describe(name)
    assert (process["queued"], process["state"], process["retry_at"]) == ("asked", STOPPED, None)
    shared.write_plugin(name)
    shared.start_ready(name)
    process = shared.describe(name)
    assert process["state"] == RUNNING
    assert process["launches"] == launches + 1
    assert "queued" not in process


@pytest.mark.parametrize("how", STATES)
def test_a_stop_cancels(shared: Supervisord, put: Callable[[str], str], how: str) -> None:
    name = put(how)
    shared.rpc("plugins.queue", [name], "")
    shared.rpc("plugins.stop", name)
    process = shared.describe(name)
    assert ("queued" in process, process["state"], process["retry_at"]) == (False, STOPPED, None)
    assert shared.fault("plugins.stop", name) == "NOT_RUNNING"


def test_supervisorctl_stops_and_starts_what_is_queued(shared: Supervisord, add: Callable[..., str]) -> None:
    names = [add() for _ in range(3)]
    shared.rpc("plugins.queue", names, "")
    assert shared.ctl("stop", names[0]) == f"{names[0]}: stopped\n"
    assert is_queued(shared, names[0]) is None
    shared.ctl("start", names[1])
    assert (is_queued(shared, names[1]), shared.states[names[1]][0]) == (None, RUNNING)
    assert shared.ctl("stop", f"{names[2]}:*") == f"{names[2]}: stopped\n"
    assert is_queued(shared, names[2]) is None
    assert shared.states[names[2]] == (STOPPED, 0)


@pytest.mark.parametrize("state", [STARTING, RUNNING])
def test_one_that_runs_is_left_alone(shared: Supervisord, add: Callable[..., str], state: int) -> None:
    name, other = add(startsecs=60 if state == STARTING else 0), add()
    pid = shared.start_ready(name)
    shared.rpc("plugins.queue", [name, other], "")
    assert (is_queued(shared, name), is_queued(shared, other)) == (None, "asked")
    assert shared.states[name] == (state, pid)


def test_all_or_nothing(shared: Supervisord, add: Callable[..., str]) -> None:
    name, running = add(), add()
    pid = shared.start_ready(running)
    assert shared.fault("plugins.queue", [name, "nobody"], running) == "BAD_NAME"
    assert shared.fault("plugins.queue", [name], "nobody") == "BAD_NAME"
    assert is_queued(shared, name) is None
    assert shared.states[running] == (RUNNING, pid)


def test_a_program_that_is_not_known_yet_is_added(shared: Supervisord) -> None:
    shared.write_plugin("new", autostart="true")
    try:
        shared.rpc("plugins.queue", ["new"], "")
        assert is_queued(shared, "new") == "asked"
        assert shared.rpc("plugins.remove", "new")
        assert "new" not in shared.states
    finally:
        shared.remove("new")


# -- queue and restart


def hesitant(shared: Supervisord, add: Callable[..., str]) -> tuple[str, Callable[[], None]]:
    """A plugin that runs and stops when the second value is called."""
    name = add(HESITANT.replace('"go"', 'sys.argv[0] + ".go"'))
    shared.start_ready(name)
    return name, (shared.root / f"{name}.py.go").touch


def test_a_restart_stops_the_process_and_waits(
    shared: Supervisord, add: Callable[..., str], reader: StreamReader
) -> None:
    name, go = hesitant(shared, add)
    shared.rpc("plugins.queue", [], name)
    reader.wait_for(name, state=STOPPING, queued="asked")
    shared.rpc("plugins.queue", [name], "")  # once more, by somebody else
    go()
    reader.wait_for(name, state=STOPPED, queued="asked", orphans=False)
    assert shared.describe(name)["launches"] == 1
    shared.start_ready(name)
    assert reader.list_states(name)[-2:] != [STOPPED, STOPPED]
    assert is_queued(shared, name) is None


def test_a_start_while_it_is_stopping_is_made_when_it_has_ended(
    shared: Supervisord, add: Callable[..., str], reader: StreamReader
) -> None:
    name, go = hesitant(shared, add)
    shared.rpc("plugins.queue", [name], name)
    shared.rpc("plugins.start", name)
    process = reader.wait_for(name, state=STOPPING, start_pending=True)
    assert "queued" not in process
    shared.rpc("plugins.queue", [name], "")
    assert is_queued(shared, name) is None, "its start is decided"
    shared.rpc("plugins.queue", [], name)
    assert is_queued(shared, name) == "asked", "it is to wait, and not to start"
    go()
    reader.wait_for(name, state=STOPPED, queued="asked", start_pending=False)
    assert shared.describe(name)["launches"] == 1


@pytest.mark.parametrize("how", ["plugins.stop", "supervisorctl"])
def test_a_stop_while_it_is_stopping_cancels(
    shared: Supervisord, add: Callable[..., str], reader: StreamReader, how: str
) -> None:
    name, go = hesitant(shared, add)
    shared.rpc("plugins.queue", [], name)
    if how == "supervisorctl":
        assert shared.rpc("supervisor.stopProcess", name, False)
    else:
        shared.rpc("plugins.stop", name)
    assert is_queued(shared, name) is None
    go()
    process = reader.wait_for(name, state=STOPPED, orphans=False)
    assert "queued" not in process


@pytest.mark.parametrize("who", ["x", "all"])
def test_supervisorctl_stops_what_is_being_restarted(own: Supervisord, who: str) -> None:
    own.start()
    own.add("x", HESITANT)
    own.start_ready("x")
    own.rpc("plugins.restart", "x")
    answer = (
        own.rpc("supervisor.stopProcess", "x", False) if who == "x" else own.rpc("supervisor.stopAllProcesses", False)
    )
    assert answer
    assert own.describe("x")["start_pending"] is False
    (own.root / "go").touch()
    wait_for(lambda: own.states["x"] == (STOPPED, 0))
    own.rpc("plugins.sync")
    assert own.describe("x")["launches"] == 1


def test_one_that_has_orphans(shared: Supervisord, add: Callable[..., str], reader: StreamReader) -> None:
    name = add(LEAVES_ORPHAN)
    shared.start_ready(name)
    wait_for(lambda: "orphan" in shared.read_output(name))
    processes = shared.find(name)
    shared.rpc("plugins.queue", [], name)
    reader.wait_for(name, state=STOPPED, queued="asked", orphans=True)
    shared.rpc("plugins.start", name)
    reader.wait_for(name, state=RUNNING, launches=2)
    assert not any(is_alive(pid) for pid in processes)


# -- fail


@pytest.mark.parametrize("how", STATES)
def test_a_start_that_is_given_up_is_fatal(shared: Supervisord, put: Callable[[str], str], how: str) -> None:
    name = put(how)
    shared.rpc("plugins.queue", [name], "")
    shared.rpc("plugins.fail", name, "its dependency 'db' was stopped")
    process = shared.describe(name)
    assert (process["state"], process["spawn_error"]) == (FATAL, "its dependency 'db' was stopped")
    assert "queued" not in process
    assert "its dependency 'db' was stopped" in shared.ctl("status", name)
    shared.write_plugin(name)
    shared.start_ready(name)
    assert shared.describe(name)["spawn_error"] == ""


def test_only_what_is_queued_is_given_up(shared: Supervisord, add: Callable[..., str]) -> None:
    name = add()
    pid = shared.start_ready(name)
    shared.rpc("plugins.fail", name, "late")
    shared.rpc("plugins.fail", "nobody", "late")
    assert shared.states[name] == (RUNNING, pid)
    shared.stop_plugin(name)
    shared.rpc("plugins.fail", name, "late")
    assert shared.states[name] == (STOPPED, 0)


@pytest.mark.parametrize("then", ["", "plugins.stop", "plugins.start"])
def test_given_up_while_it_is_stopping(
    shared: Supervisord, add: Callable[..., str], reader: StreamReader, then: str
) -> None:
    name, go = hesitant(shared, add)
    shared.rpc("plugins.queue", [], name)
    shared.rpc("plugins.fail", name, "late")
    assert shared.states[name][0] == STOPPING
    if then:
        shared.rpc(then, name)
    go()
    end = {"": FATAL, "plugins.stop": STOPPED, "plugins.start": RUNNING}[then]
    reader.wait_for(name, state=end, spawn_error="" if then else "late", start_pending=False)


# -- at boot


def write_pair(supervisord: Supervisord, **options: object) -> None:
    supervisord.write_plugin("db", autostart="true")
    supervisord.write_plugin("web", depends_on=["db"], autostart="true", **options)


def test_one_with_dependencies_waits_at_boot(own: Supervisord) -> None:
    write_pair(own)
    own.write_plugin("manual", depends_on=["db"])
    own.start()
    wait_for(lambda: own.count_ready("db"))
    for _ in range(2):
        assert (is_queued(own, "web"), own.states["web"]) == ("boot", (STOPPED, 0))
        assert is_queued(own, "manual") is None
        assert is_queued(own, "db") is None
        own.close_readers()  # a reader that has gone changes nothing
    own.rpc("plugins.queue", ["web"], "")
    assert is_queued(own, "web") == "asked"
    own.ctl("reload")
    wait_for(lambda: own.log.count("supervisord started with pid") == 2)
    own.rpc.close()
    wait_for(own.answers)
    wait_for(lambda: own.count_ready("db") == 2)
    assert (is_queued(own, "web"), own.count_ready("web")) == ("boot", 0)
    assert own.ctl("stop", "web") == "web: stopped\n"
    own.ctl("start", "web")
    assert own.states["web"][0] == RUNNING


def test_one_that_is_cancelled_or_given_up_at_boot_is_not_started(own: Supervisord) -> None:
    for name in ("x", "y", "z"):
        own.write_plugin(name, depends_on=["db"], autostart="true")
    own.write_plugin("last", autostart="true")
    own.start()
    own.rpc("plugins.stop", "x")
    own.rpc("plugins.fail", "y", "no")
    own.rpc("plugins.queue", ["z"], "")
    own.rpc("plugins.stop", "z")
    wait_for(lambda: own.count_ready("last"))
    os.kill(own.states["last"][1], signal.SIGKILL)
    wait_for(lambda: own.states["last"][0] == EXITED)
    assert [own.states[name][0] for name in ("x", "y", "z")] == [STOPPED, FATAL, STOPPED]
    assert not any(own.count_ready(name) for name in ("x", "y", "z"))


def test_supervisorctl_update_queues_and_add_does_not(own: Supervisord) -> None:
    own.start()
    write_pair(own)
    own.ctl("update")
    wait_for(lambda: own.count_ready("db"))
    assert (is_queued(own, "web"), own.states["web"]) == ("boot", (STOPPED, 0))
    own.rpc("plugins.start", "web")
    write_pair(own, stopwaitsecs=9)
    own.ctl("update")
    assert (is_queued(own, "web"), own.states["web"]) == ("boot", (STOPPED, 0))
    own.write_plugin("other", depends_on=["db"], autostart="true")
    own.rpc("plugins.add", "other")
    assert (is_queued(own, "other"), own.states["other"]) == (None, (STOPPED, 0))


def test_a_damaged_launch_file_is_reported_by_the_start(own: Supervisord) -> None:
    write_pair(own, startretries=0)
    (own.root / "launch" / "web.sh").write_text("#!/bin/sh\n{}\n")
    own.start()
    wait_for(lambda: own.states["web"][0] == FATAL)
    assert "damaged" in own.describe("web")["spawn_error"]


def test_one_whose_launch_file_is_missing_waits_at_boot(own: Supervisord) -> None:
    """It may depend on others, and supervisord repeats a start that fails: by then the file may be back."""
    write_pair(own)
    launch_file = own.root / "launch" / "web.sh"
    away = launch_file.rename(own.root / "away")
    own.start()
    away.rename(launch_file)
    wait_for(lambda: own.count_ready("db"))
    assert (is_queued(own, "web"), own.describe("web")["launches"]) == ("boot", 0)
    own.start_ready("web")


@pytest.mark.parametrize("change", ["", "plugins.stop", "plugins.queue"])
def test_programs_that_are_read_after_the_start(own: Supervisord, change: str) -> None:
    """As under `plugvisor up`, whose configuration has the service alone."""
    text = (own.root / "supervisord.conf").read_text()
    (own.root / "supervisord.conf").write_text(text.partition("[include]")[0])
    write_pair(own)
    own.start()
    if change:
        own.rpc(change, *([["web"], ""] if change == "plugins.queue" else ["web"]))
    wait_for(lambda: "db" in own.states and own.count_ready("db"))
    assert is_queued(own, "web") == {"": "boot", "plugins.stop": None, "plugins.queue": "asked"}[change]
    assert own.states["web"] == (STOPPED, 0)
