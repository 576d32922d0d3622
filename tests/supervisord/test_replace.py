"""`plugins.replace`, `plugins.remove` and `plugins.settle`: one program is swapped, and nothing starts by that."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import OBEDIENT, is_alive, wait_for
from tests.supervisord.lone import BACKOFF, EXITED, FATAL, RUNNING, STARTING, STOPPED, InternalError, make_lone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.supervisord.lone import Lone

CRASHING = "import time\nprint('ready', flush=True)\ntime.sleep(0.05)\nraise SystemExit(3)\n"


@pytest.fixture(scope="module")
def lone() -> Iterator[Lone]:
    """One supervisord for the file; a test adds its own programs to it."""
    with make_lone() as made:
        made.add("bystander")
        made.start()
        pid = made.states["bystander"][1]
        yield made
        assert made.states["bystander"] == (RUNNING, pid)


def info(lone: Lone, name: str) -> dict[str, Any]:
    """What supervisord tells of a program, without what passes by itself."""
    told: dict[str, Any] = lone.rpc("supervisor.getProcessInfo", name)
    return {key: value for key, value in told.items() if key not in ("now", "description")}


def history(lone: Lone, name: str) -> dict[str, Any]:
    """What the stream tells of a program, without what passes by itself."""
    lone.hang_up()
    told = lone.follow().picture[name]
    return {key: value for key, value in told.items() if key != "uptime"}


def pass_rounds(lone: Lone, seconds: float = 1.3) -> None:
    """Let supervisord go more rounds than it needs to start whatever it wants to."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        lone.rpc("supervisor.getState")


def test_a_new_program_is_stopped_whatever_its_autostart(lone: Lone, add_program: Callable[..., str]) -> None:
    name = add_program("fresh", autostart="true", autorestart="true")
    for _ in range(3):
        assert info(lone, name)["state"] == STOPPED
        assert info(lone, name)["start"] == 0
        pass_rounds(lone, 0.4)
        assert lone.rpc("plugins.replace", name) is True
    pass_rounds(lone)
    assert info(lone, name)["state"] == STOPPED
    assert lone.count_ready(name) == 0
    lone.start_ready(name)
    assert lone.rpc("supervisor.stopProcess", name) is True


def test_a_stopped_program_keeps_its_state_and_history(lone: Lone, add_program: Callable[..., str]) -> None:
    name = add_program("kept", OBEDIENT.replace("sys.exit(0)", "sys.exit(4)"), autorestart="true")
    os.kill(lone.start_ready(name), signal.SIGKILL)
    wait_for(lambda: history(lone, name)["restarts"] == 1)
    wait_for(lambda: lone.count_ready(name) == 2)
    lone.rpc("supervisor.stopProcess", name)
    told, shown = history(lone, name), info(lone, name)
    assert (told["state"], told["last_exit"]["code"], told["restarts"]) == (STOPPED, 4, 1)
    lone.add(name, autorestart="true", autostart="true", priority=7)
    assert lone.rpc("plugins.replace", name) is True
    assert history(lone, name) == told
    assert info(lone, name) == shown
    pass_rounds(lone)
    assert info(lone, name) == shown
    os.kill(lone.start_ready(name), signal.SIGKILL)  # by the new code
    wait_for(lambda: history(lone, name)["restarts"] == 2)


ENDED = {
    "exited": (EXITED, "print('ready', flush=True)\n", {"autorestart": "unexpected"}),
    "exited-badly": (EXITED, "print('ready', flush=True)\nraise SystemExit(3)\n", {"autorestart": "false"}),
    "fatal": (FATAL, "print('ready', flush=True)\nraise SystemExit(3)\n", {"startsecs": 5, "startretries": 0}),
}


@pytest.mark.parametrize("how", ENDED)
def test_a_program_that_has_ended_by_itself_keeps_its_state(
    lone: Lone, add_program: Callable[..., str], how: str
) -> None:
    state, code, options = ENDED[how]
    name = add_program(how, code, **options)
    lone.fault("supervisor.startProcess", name, False)
    wait_for(lambda: info(lone, name)["state"] == state)
    told, shown = history(lone, name), info(lone, name)
    lone.add(name, code, autostart="true", **options)
    assert lone.rpc("plugins.replace", name) is True
    pass_rounds(lone)
    assert info(lone, name) == shown
    assert history(lone, name) == told


@pytest.mark.parametrize("method", ["plugins.replace", "plugins.remove"])
def test_a_living_program_is_not_touched(lone: Lone, add_program: Callable[..., str], method: str) -> None:
    for name, code, options, state in (
        ("running", OBEDIENT, {}, RUNNING),
        ("starting", OBEDIENT, {"startsecs": 60}, STARTING),
        ("trying", "raise SystemExit(3)\n", {"startsecs": 60, "startretries": 99}, BACKOFF),
    ):
        add_program(name, code, **options)
        lone.fault("supervisor.startProcess", name, False)
        wait_for(lambda name=name, state=state: info(lone, name)["state"] == state)
        told = history(lone, name)
        lone.add(name, code, priority=1)
        assert lone.fault(method, name) == "STILL_RUNNING"
        if state != BACKOFF:
            assert history(lone, name) == told
            assert is_alive(told["pid"])
        assert lone.rpc("supervisor.stopProcess", name) is True
        if method == "plugins.replace":
            assert f"{name}: changed" in lone.ctl("reread"), "the old one is still what runs"


BAD_FILES = {
    "empty": "",
    "no-section": "priority=1\n",
    "another-section": "[program:other]\ncommand=true\n",
    "two-sections": "[program:{name}]\ncommand=true\n[program:other]\ncommand=true\n",
    "an-interface": "[program:{name}]\ncommand=true\n[rpcinterface:x]\nsupervisor.rpcinterface_factory=x:y\n",
    "no-command": "[program:{name}]\npriority=1\n",
    "no-number": "[program:{name}]\ncommand=true\nstartsecs=soon\n",
    "no-signal": "[program:{name}]\ncommand=true\nstopsignal=LOUD\n",
    "no-expansion": "[program:{name}]\ncommand=%(ENV_THERE_IS_NO_SUCH_VARIABLE)s\n",
    "a-group": "[group:{name}]\nprograms=bystander\n",
    "several": "[program:{name}]\ncommand=true\nnumprocs=2\nprocess_name=%(process_num)d\n",
    "another-name": "[program:{name}]\ncommand=true\nprocess_name=other\n",
    "not-text": "[program:{name}]\ncommand=\udcff\n",
}


@pytest.mark.parametrize("bad", BAD_FILES)
def test_a_bad_file_changes_nothing(lone: Lone, add_program: Callable[..., str], bad: str) -> None:
    name = add_program(f"bad-{bad}")
    lone.start_ready(name)
    lone.rpc("supervisor.stopProcess", name)
    told = history(lone, name)
    path = lone.root / "conf.d" / f"{name}.conf"
    good = path.read_text()
    path.write_text(BAD_FILES[bad].format(name=name), errors="surrogateescape")
    assert lone.fault("plugins.replace", name) == "CANT_REREAD"
    assert lone.fault("plugins.replace", f"{name}-new") == "BAD_NAME"  # there is no file at all
    assert history(lone, name) == told
    path.write_text(good)
    assert "No config updates" in lone.ctl("reread")
    lone.start_ready(name)
    lone.rpc("supervisor.stopProcess", name)


@pytest.mark.parametrize(
    "name", ["../x", "a;b", "", ".", "a/b", "x.conf", "-x", "_x", "a\nb", "a ", "%(here)s", "*", "bystander\n", "ä"]
)
def test_no_other_name_is_taken(lone: Lone, name: str) -> None:
    (lone.root / "x.conf").write_text("[program:x]\ncommand=true\n")
    before = lone.states
    assert lone.fault("plugins.replace", name) == "BAD_NAME"
    for method in ("remove", "settle"):
        assert lone.fault(f"plugins.{method}", name) == "BAD_NAME"
    assert lone.states == before


@pytest.mark.parametrize("name", [5, True, ["x"], {"x": 1}], ids=repr)
def test_what_is_no_name_harms_nobody(lone: Lone, name: object) -> None:
    before = lone.states
    for method in ("replace", "remove", "settle"):
        with contextlib.suppress(InternalError):
            assert lone.fault(f"plugins.{method}", name) in ("BAD_NAME", "INCORRECT_PARAMETERS")
    assert lone.states == before


def test_supervisorctl_sees_no_difference(lone: Lone, add_program: Callable[..., str]) -> None:
    """What was replaced is exactly what supervisord itself would have read: no update stops or starts anything."""
    full = {"environment": 'A="1",B="%%x"', "user": "", "umask": "022", "stopsignal": "INT", "directory": "%(here)s"}
    full = {key: value for key, value in full.items() if value}
    names = [
        add_program("alike-1", **full),
        add_program("alike-2", priority=3),
        add_program("alike-3", autostart="true"),
    ]
    pid = lone.start_ready(names[0])
    environ = (lone.root.parent / f"/proc/{pid}/environ").read_text()
    assert "OF_SUPERVISORD=1\0" in environ
    assert "B=%x\0" in environ
    assert os.readlink(f"/proc/{pid}/cwd") == str(lone.root / "conf.d")
    before = lone.states
    assert "No config updates" in lone.ctl("reread")
    assert lone.ctl("update") == ""
    assert lone.states == before
    assert lone.rpc("supervisor.stopProcess", names[0]) is True
    (lone.root / "conf.d" / f"{names[1]}.conf").unlink()
    assert lone.rpc("plugins.remove", names[1]) is True
    assert "No config updates" in lone.ctl("reread")
    assert not re.search(names[1], lone.ctl("status"))


@pytest.mark.parametrize("method", ["replace", "remove", "settle"])
def test_what_was_about_to_be_restarted_does_not_come_back(
    lone: Lone, add_program: Callable[..., str], method: str
) -> None:
    name = add_program(f"looping-{method}", CRASHING, autorestart="true")
    for round_ in range(3):
        if method == "remove" and round_ > 0:
            lone.rpc("plugins.replace", name)
        lone.rpc("supervisor.startProcess", name)
        wait_for(lambda: lone.count_ready(name) >= 1)

        def caught() -> bool:
            """Between its exit and its restart: supervisord is there for a moment only."""
            if method == "settle":
                return lone.rpc("plugins.settle", name) is True
            return lone.fault(f"plugins.{method}", name) is None

        wait_for(caught)
        count = lone.count_ready(name)
        pass_rounds(lone, 0.5)
        assert lone.find(name) == []
        assert lone.count_ready(name) == count
        assert lone.states.get(name, (STOPPED, 0)) == (STOPPED, 0)
        assert (name in lone.states) == (method != "remove")
        if method == "replace":  # one family, and no more
            lone.start_ready(name)
            wait_for(lambda: len(lone.find(name)) <= 1)
            lone.rpc("system.multicall", [{"methodName": "supervisor.stopProcess", "params": [name, False]}])
            wait_for(lambda: lone.fault("plugins.settle", name) is None and lone.states[name][0] == STOPPED)
    if method == "remove":
        assert lone.fault("plugins.remove", name) == "BAD_NAME"


def test_settle_leaves_alone_what_supervisord_does_not_restart(lone: Lone, add_program: Callable[..., str]) -> None:
    running, ended = add_program("runs"), add_program("ended", "pass\n", autorestart="unexpected")
    lone.start_ready(running)
    lone.fault("supervisor.startProcess", ended)
    wait_for(lambda: lone.states[ended][0] == EXITED)
    before = lone.states
    assert lone.rpc("plugins.settle", running) is False
    assert lone.rpc("plugins.settle", ended) is False
    assert lone.states == before
