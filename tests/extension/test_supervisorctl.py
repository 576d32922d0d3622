"""supervisorctl on plugins, and on programs that are no plugins beside them."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import xmlrpc.client
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.helpers.plugin_code import CRASHING, HESITANT, OBEDIENT
from tests.helpers.processes import is_alive
from tests.helpers.supervisord import EXITED, FATAL, RUNNING, STOPPED, RpcClient, make_supervisord
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.helpers.supervisord import StreamReader, Supervisord

LISTENER = """\
import sys
while True:
    print("READY", flush=True)
    header = dict(token.split(":") for token in sys.stdin.readline().split())
    payload = sys.stdin.read(int(header["len"]))
    sys.stderr.write(f"{header['eventname']} {payload}\\n")
    sys.stderr.flush()
    sys.stdout.write("RESULT 2\\nOK")
    sys.stdout.flush()
"""
ACCEPTS = """\
import socket, sys
listener = socket.socket(fileno=0)
print("ready", flush=True)
while True:
    connection, _ = listener.accept()
    connection.sendall(b"hello")
    connection.close()
"""
ECHOES = """\
import sys
print("ready", flush=True)
for line in sys.stdin:
    print("got " + line, end="", flush=True)
"""
READS_LATE = f"""\
import sys, time
print("ready", flush=True)
time.sleep(0.1)
print(len(sys.stdin.readline()), flush=True)
{OBEDIENT}"""
HAS_A_DEAF_ORPHAN = f"""\
import os, signal
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        signal.pause()
{OBEDIENT}"""


@pytest.fixture(params=["plugin", "foreign"])
def program(request: pytest.FixtureRequest, shared: Supervisord) -> Iterator[Callable[..., str]]:
    """Adds a stopped program as an operator does, as a plugin or as an ordinary program; returns its name."""
    names: list[str] = []

    def add(code: str = OBEDIENT, **options: object) -> str:
        name = f"{request.param}-{len(names)}-{abs(hash(request.node.name))}"
        names.append(name)
        if request.param == "plugin":
            shared.write_plugin(name, code, **options)
        else:
            (shared.root / f"{name}.py").write_text(code)
            shared.write_program(name, **{"autostart": "false", "autorestart": "false"} | options)
        assert f"{name}: available" in shared.ctl("reread")
        assert f"{name}: added process group" in shared.ctl("add", name)
        return name

    yield add
    for name in names:
        shared.ctl("stop", name)
        shared.ctl("remove", name)
        for file in (*shared.root.glob(f"*/{name}.*"), *shared.root.glob(f"{name}.*")):
            file.unlink()
    shared.ctl("reread")


def test_start_status_restart_stop(shared: Supervisord, program: Callable[..., str], reader: StreamReader) -> None:
    name = program()
    assert re.search(rf"^{name} +STOPPED", shared.ctl("status"), re.MULTILINE)
    assert shared.ctl("start", name) == f"{name}: started\n"
    pid = reader.wait_for(name, state=RUNNING)["pid"]
    assert f"pid {pid}" in shared.ctl("status", name)
    assert shared.ctl("start", name) == f"{name}: ERROR (already started)\n"
    wait_for(lambda: shared.count_ready(name))
    assert f"{name}: started" in shared.ctl("restart", name)
    again = reader.wait_for(name, state=RUNNING)["pid"]
    assert again != pid
    assert not is_alive(pid)
    assert shared.ctl("stop", name) == f"{name}: stopped\n"
    assert reader.wait_for(name, state=STOPPED)["pid"] == 0
    assert not is_alive(again)
    assert shared.ctl("stop", name) == f"{name}: ERROR (not running)\n"


def test_start_waits_for_startsecs(shared: Supervisord, program: Callable[..., str]) -> None:
    assert ": started" in shared.ctl("start", program(startsecs=1))
    assert "(spawn error)" in shared.ctl("start", program(CRASHING, startsecs=1, startretries=0))


def test_a_program_that_keeps_failing(shared: Supervisord, program: Callable[..., str], reader: StreamReader) -> None:
    name = program("raise SystemExit(3)\n", startsecs=5, startretries=1, autorestart="true")
    shared.ctl("start", name)
    reader.wait_for(name, state=FATAL)
    assert re.search(rf"^{name} +FATAL +Exited too quickly", shared.ctl("status"), re.MULTILINE)


def test_it_is_restarted(shared: Supervisord, program: Callable[..., str], reader: StreamReader) -> None:
    name = program(autorestart="true")
    shared.ctl("start", name)
    pid = reader.wait_for(name, state=RUNNING)["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: (reader.processes or {})[name]["pid"] not in (0, pid), "the next process")


def test_signal(shared: Supervisord, program: Callable[..., str]) -> None:
    name = program(f"import os, signal\nsignal.signal(signal.SIGUSR1, lambda *_: os.write(1, b'usr1'))\n{OBEDIENT}")
    shared.start_ready(name, "supervisor.startProcess")
    assert shared.ctl("signal", "USR1", name) == f"{name}: signalled\n"
    wait_for(lambda: "usr1" in shared.read_output(name))
    assert shared.states[name][0] == RUNNING
    shared.ctl("signal", "KILL", name)
    wait_for(lambda: shared.states[name][0] == EXITED)


def test_tail_and_clear(shared: Supervisord, program: Callable[..., str]) -> None:
    name = program(f"print('你好 🐼', flush=True)\n{OBEDIENT}", environment="")
    shared.start_ready(name, "supervisor.startProcess")
    assert "ready\n" in shared.ctl("tail", name)
    assert shared.ctl("clear", name) == f"{name}: cleared\n"
    assert "ready" not in shared.ctl("tail", name)


def test_fg_types_into_it(shared: Supervisord, program: Callable[..., str]) -> None:
    name = program(ECHOES)
    shared.start_ready(name, "supervisor.startProcess")
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "supervisor.supervisorctl", "-c", str(shared.root / "supervisord.conf")]
    process = subprocess.Popen([*command, "fg", name], stdin=terminal, stdout=subprocess.DEVNULL)
    try:
        os.write(controller, b"one line\n")
        wait_for(lambda: "got one line" in shared.read_output(name))
    finally:
        process.kill()
        process.wait()
        os.close(controller)
        os.close(terminal)


def test_more_on_standard_input_than_a_pipe_holds(shared: Supervisord, program: Callable[..., str]) -> None:
    name = program(READS_LATE)
    shared.start_ready(name, "supervisor.startProcess")
    shared.rpc("supervisor.sendProcessStdin", name, "x" * 60_000)
    shared.rpc("supervisor.sendProcessStdin", name, "y" * 60_000 + "\n")
    wait_for(lambda: "120001" in shared.read_output(name))


def test_update_applies_what_has_changed(shared: Supervisord, program: Callable[..., str]) -> None:
    changed, untouched, removed = program(), program(), program()
    pids = {name: shared.start_ready(name, "supervisor.startProcess") for name in (changed, untouched, removed)}
    path = shared.root / "conf.d" / f"{changed}.conf"
    path.write_text(path.read_text() + "priority=5\n")
    (shared.root / "conf.d" / f"{removed}.conf").unlink()
    assert shared.ctl("reread").splitlines() == [f"{changed}: changed", f"{removed}: disappeared"]
    update = shared.ctl("update")
    assert f"{changed}: updated process group" in update
    assert f"{removed}: removed process group" in update
    assert untouched not in update
    assert removed not in shared.states
    assert shared.states[untouched] == (RUNNING, pids[untouched])
    assert not is_alive(pids[changed])
    assert not is_alive(pids[removed])
    shared.start_ready(changed, "supervisor.startProcess")


def test_update_sees_no_difference_in_what_the_extension_has_read(shared: Supervisord, add: Callable[..., str]) -> None:
    names = [
        add(environment={}, umask="022", stopsignal="INT"),
        add(priority=3),
        add(autostart="true"),
    ]
    shared.start_ready(names[0])
    before = shared.states
    assert "No config updates" in shared.ctl("reread")
    assert shared.ctl("update") == ""
    assert shared.states == before


def test_all_at_once(shared: Supervisord, program: Callable[..., str]) -> None:
    names = [program() for _ in range(3)]
    output = shared.ctl("start", *names)
    assert sorted(output.splitlines()) == sorted(f"{name}: started" for name in names)
    wait_for(lambda: all(shared.count_ready(name) for name in names))
    output = shared.ctl("stop", *names)
    assert sorted(output.splitlines()) == sorted(f"{name}: stopped" for name in names)


def test_what_supervisorctl_removes_does_not_come_back(shared: Supervisord, add: Callable[..., str]) -> None:
    """Though its start is pending until its orphans have ended."""
    name = add(HAS_A_DEAF_ORPHAN)
    pid = shared.start_ready(name)
    wait_for(lambda: len(shared.find(name)) == 2)
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: shared.states[name] == (EXITED, 0))
    shared.rpc(
        "system.multicall",
        [
            {"methodName": "plugins.restart", "params": [name]},
            {"methodName": "supervisor.removeProcessGroup", "params": [name]},
        ],
    )
    wait_for(lambda: not shared.find(name), "the end of the orphan")
    assert name not in shared.states
    assert shared.log.count(f"spawned: '{name}'") == 1


# -- programs that are no plugins


def test_a_foreign_program_is_reported_as_such(shared: Supervisord, reader: StreamReader) -> None:
    (shared.root / "foreign.py").write_text(OBEDIENT)
    shared.write_program("foreign")
    shared.ctl("update")
    process = reader.wait_for("foreign", state=RUNNING, is_foreign=True)
    wait_for(lambda: shared.count_ready("foreign"))
    environ = Path(f"/proc/{process['pid']}/environ").read_text()
    assert "SUPERVISOR_PROCESS_NAME=foreign\0" in environ
    assert "OF_SUPERVISORD=1\0" in environ
    assert "PLUGVISOR_PLUGIN" not in environ
    for method, fault in (("start", "ALREADY_ADDED"), ("stop", "BAD_NAME"), ("remove", "BAD_NAME")):
        assert shared.fault(f"plugins.{method}", "foreign") == fault
    (shared.root / "conf.d" / "foreign.conf").unlink()
    shared.ctl("update")
    wait_for(lambda: "foreign" not in (reader.processes or {}))


def test_a_group_of_several_processes(shared: Supervisord) -> None:
    (shared.root / "several.py").write_text(OBEDIENT)
    shared.write_program("several", numprocs=3, process_name="several_%(process_num)d")
    shared.ctl("update")
    wait_for(lambda: shared.count_ready("several") == 3)
    assert len(re.findall(r"^several:several_\d +RUNNING", shared.ctl("status"), re.MULTILINE)) == 3
    assert shared.ctl("stop", "several:*").count("stopped") == 3
    (shared.root / "conf.d" / "several.conf").unlink()
    shared.ctl("update")


def test_an_event_listener_hears_of_plugins(own: Supervisord) -> None:
    (own.root / "listener.py").write_text(LISTENER)
    own.write_program(
        "listener",
        kind="eventlistener",
        events="PROCESS_STATE,TICK_5",
        redirect_stderr="false",
        stdout_logfile="",
        stderr_logfile=own.root / "heard.log",
    )
    own.write_plugin("x")
    own.start()
    pid = own.start_ready("x")
    own.stop_plugin("x")

    def read_heard() -> list[str]:
        return [line.split()[0] for line in own.read_output("heard").splitlines() if "processname:x " in line]

    expected = ["STARTING", "RUNNING", "STOPPING", "STOPPED"]
    wait_for(lambda: len(read_heard()) >= len(expected), "every event")
    assert read_heard() == [f"PROCESS_STATE_{state}" for state in expected]
    assert f"pid:{pid}" in own.read_output("heard")
    wait_for(lambda: "TICK_5" in own.read_output("heard"), "a tick")


def test_an_fcgi_program(own: Supervisord) -> None:
    (own.root / "fcgi.py").write_text(ACCEPTS)
    own.write_program("fcgi", kind="fcgi-program", socket=f"unix://{own.root}/fcgi.sock")
    own.start()
    wait_for(lambda: own.count_ready("fcgi"))
    for round_ in (1, 2):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(own.root / "fcgi.sock"))
            assert client.recv(10) == b"hello"
        if round_ == 1:
            own.ctl("restart", "fcgi")
            wait_for(lambda: own.count_ready("fcgi") == 2)


def test_the_socket_of_a_service_is_kept(own: Supervisord) -> None:
    """An operator's own `[fcgi-program:plugvisor]`: supervisor would close the socket while no process of it runs."""
    path = own.root / "service.sock"
    (own.root / "serve.py").write_text(ACCEPTS)
    command = f"{sys.executable} -I -S {own.root}/serve.py"
    own.write_program("plugvisor", kind="fcgi-program", command=command, socket=f"unix://{path}")
    own.start()
    wait_for(lambda: own.count_ready("plugvisor"))
    descriptors = own.count_descriptors()
    for round_ in (1, 2):
        own.ctl("stop", "plugvisor")
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(DEADLINE_SECONDS)
            client.connect(str(path))
            own.ctl("start", "plugvisor")
            assert client.recv(10) == b"hello", "it has waited"
        if round_ == 1:
            own.ctl("reload")
            own.rpc.close()
            wait_for(lambda: own.count_ready("plugvisor") == 3)
            wait_for(own.answers)
    wait_for(lambda: own.count_descriptors() <= descriptors, "nothing to be leaked")
    own.ctl("stop", "plugvisor")
    own.ctl("remove", "plugvisor")
    with socket.socket(socket.AF_UNIX) as client, pytest.raises(OSError, match="refused"):
        client.connect(str(path))
    assert "Traceback" not in own.log


def test_another_version_of_supervisor_is_refused() -> None:
    with make_supervisord("another_version") as own:
        (own.root / "another_version.py").write_text(
            "from plugvisor.engines.supervisord.extension import rpcinterface\n"
            "rpcinterface.VERSION = '4.4.0'\n"
            "make_rpcinterface = rpcinterface.make_rpcinterface\n"
        )
        with pytest.raises(AssertionError, match="Could not make plugins rpc interface"):
            own.start()
        assert own.process is not None
        assert own.process.wait(DEADLINE_SECONDS) != 0
        assert "tested with supervisor 4.3.0, and this is 4.4.0; install supervisor==4.3.0" in own.log


@pytest.mark.parametrize("attempt", range(8))
def test_a_stop_ends_if_somebody_starts_the_plugin_again(
    shared: Supervisord, add: Callable[..., str], attempt: int
) -> None:
    """supervisord looks whether it has ended, and in one attempt of three sees the new process alone."""
    name = add(HESITANT)
    shared.start_ready(name)
    output: list[str] = []
    stop = threading.Thread(target=lambda: output.append(shared.ctl("stop", name)))
    stop.start()
    wait_for(lambda: "asked to stop" in shared.read_output(name), "the stop to have begun")
    clients = [RpcClient(shared.root / "rpc.sock") for _ in range(2)]
    for client in clients:
        client("supervisor.getState")
    os.kill(shared.pid, signal.SIGSTOP)
    try:
        (shared.root / "go").touch()
        wait_for(lambda: not shared.find(name), "its end")
        # the first one has it reaped, the second one starts it
        starts = [threading.Thread(target=_start_directly, args=(client, name)) for client in clients]
        for start in starts:
            start.start()
    finally:
        os.kill(shared.pid, signal.SIGCONT)
    try:
        stop.join(5)
        is_over = not stop.is_alive()
    finally:
        for thread in (*starts, stop):
            shared.fault("plugins.stop", name)
            thread.join()
        (shared.root / "go").unlink()
    assert is_over, attempt
    assert output[0] in (f"{name}: stopped\n", f"FAILED: {name} was started again\n")


def _start_directly(client: RpcClient, name: str) -> None:
    with contextlib.suppress(xmlrpc.client.Fault):
        client("supervisor.startProcess", name, False)
    client.close()
