"""The event loop in place of supervisord's: signals, logs, sockets, and that it does not spin."""

from __future__ import annotations

import os
import signal
import socket
import time
import xmlrpc.client
from typing import TYPE_CHECKING

import pytest

from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.processes import cpu_seconds, is_alive
from tests.helpers.supervisord import RUNNING, STOPPED
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.supervisord import Supervisord

PRINTS = f"import os, signal\nsignal.signal(signal.SIGUSR1, lambda *_: os.write(1, b'more\\n'))\n{OBEDIENT}"

CLOSES_ITS_OUTPUT = """\
import os, signal
print("ready", flush=True)
os.close(1)
os.close(2)
signal.pause()
"""


def test_a_pipe_gets_the_number_of_a_socket_that_was_just_closed(shared: Supervisord, add: Callable[..., str]) -> None:
    """Connections end, and a plugin starts, in one round of the loop."""
    names = [add(f"print('x' * 5000, flush=True)\n{OBEDIENT}") for _ in range(3)]
    for _ in range(5):
        before = [shared.read_output(name) for name in names]
        clients = [socket.socket(socket.AF_UNIX) for _ in range(20)]
        for client in clients:
            client.connect(str(shared.root / "rpc.sock"))
        caller = clients.pop(0)
        shared.rpc("supervisor.getState")  # they are accepted
        os.kill(shared.pid, signal.SIGSTOP)
        for client in clients:
            client.close()
        calls = [{"methodName": "plugins.start", "params": [name]} for name in names]
        body = xmlrpc.client.dumps((calls,), "system.multicall")
        caller.sendall(f"POST /RPC2 HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        os.kill(shared.pid, signal.SIGCONT)
        assert b"200 OK" in caller.recv(1000)
        caller.close()
        for name, output in zip(names, before, strict=True):
            wait_for(
                lambda name=name, output=output: shared.read_output(name).removeprefix(output).count("ready"),
                f"what {name} prints",
            )
            shared.stop_plugin(name)
    assert shared.is_up


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_signal_ends_it(own: Supervisord, number: signal.Signals) -> None:
    own.write_plugin("x")
    own.start()
    pid = own.start_ready("x")
    assert own.stop(number) == 0
    assert not is_alive(pid)


def test_sigusr2_reopens_every_log(own: Supervisord) -> None:
    own.write_plugin("plugin", PRINTS)
    (own.root / "foreign.py").write_text(PRINTS)
    own.write_program("foreign")
    own.start()
    pids = {"plugin": own.start_ready("plugin"), "foreign": own.states["foreign"][1]}
    wait_for(lambda: own.count_ready("foreign"))
    for name in (*pids, "supervisord"):
        (own.root / f"{name}.log").rename(own.root / f"{name}.old")
    os.kill(own.pid, signal.SIGUSR2)
    for name, pid in pids.items():
        wait_for(lambda name=name: (own.root / f"{name}.log").exists())
        os.kill(pid, signal.SIGUSR1)
        wait_for(lambda name=name: own.read_output(name) == "more\n")
    own.stop_plugin("plugin")
    assert "stopped: plugin" in own.log


def test_it_does_not_spin(own: Supervisord) -> None:
    """Nor after a plugin has closed its output."""
    own.write_plugin("silent", CLOSES_ITS_OUTPUT)
    for number in range(10):
        own.write_plugin(f"idle{number}", autostart="true")
    (own.root / "foreign.py").write_text(OBEDIENT)
    own.write_program("foreign")
    own.start()
    own.start_ready("silent")
    readers = [own.follow() for _ in range(5)]
    used, lines, began = cpu_seconds(own.pid), len(readers[0].lines), time.monotonic()
    wait_for(lambda: len(readers[0].lines) >= lines + 3, "three heartbeats")
    assert cpu_seconds(own.pid) - used < 0.1 * (time.monotonic() - began)


def test_a_closed_output_keeps_nobody_from_ending(shared: Supervisord, add: Callable[..., str]) -> None:
    name = add(CLOSES_ITS_OUTPUT)
    for _ in range(3):
        shared.start_ready(name)
        shared.stop_plugin(name)
    assert shared.states[name] == (STOPPED, 0)


def test_programs_in_the_folder_are_added_at_the_start(own: Supervisord) -> None:
    """Those that supervisord's own configuration does not include, as `plugvisor up` has it."""
    configuration = own.root / "supervisord.conf"
    configuration.write_text(configuration.read_text().replace("files=", "files=%(ENV_PLUGVISOR_PROGRAMS)s ;"))
    for number in range(30):
        own.write_plugin(f"x{number}", autostart="true" if number % 2 else "false")
    (own.root / "conf.d" / "bad.conf").write_text("[program:bad]\nstartsecs=soon\n")
    own.start(PLUGVISOR_PROGRAMS="/nowhere/*.conf")
    wait_for(lambda: sum(state == RUNNING for state, _ in own.states.values()) == 15, "half of them to run")
    assert len(own.states) == 30
    assert "a program was not added" in own.log
    (own.root / "conf.d" / "bad.conf").unlink()
    assert "No config updates" in own.ctl("reread")
