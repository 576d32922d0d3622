"""SIGHUP, which a terminal sends when it is closed: `up` in the foreground shuts down, under nohup it goes on."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.helpers.processes import find_processes, is_alive, read_command
from tests.helpers.stack import ROOT
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from tests.helpers.stack import PlugvisorStack

IN_A_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""
ENDS_ON_HANGUP = """\
import signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", signal.getsignal(signal.SIGHUP) == signal.SIG_DFL, flush=True)
while True:
    signal.pause()
"""
WITHOUT_DESCRIPTORS = """
import os, pty, resource, signal
from supervisor.options import ServerOptions
from plugvisor.engines.supervisord.extension.patches.hangup import install_hangup
output, (_, terminal) = os.dup(1), pty.openpty()
os.dup2(terminal, 1)
install_hangup()
options = ServerOptions()
options.setsignals()
os.dup2(output, 1)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
os.kill(os.getpid(), signal.SIGHUP)
print(options.get_signal() == signal.SIGTERM)
"""


def up_in_a_terminal(plugvisor: PlugvisorStack, *before: str) -> int:
    """Run `up` in a terminal of its own, as the foreground process; returns the descriptor that closes the terminal."""
    master, slave = pty.openpty()
    plugvisor.process = subprocess.Popen(
        [sys.executable, "-c", IN_A_TERMINAL, *before, sys.executable, "-m", "plugvisor", "up"],
        env=plugvisor.environ,
        cwd=ROOT,
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    plugvisor.output_path.touch()
    wait_for(plugvisor.is_ready, "the service")
    return master


def test_closing_the_terminal_stops_all(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("x")
    master = up_in_a_terminal(plugvisor)
    pids = [plugvisor.wait_for_status("x", "running")["pid"], plugvisor.service_pid]
    os.close(master)
    assert plugvisor.process
    assert plugvisor.process.wait(DEADLINE_SECONDS) == 0
    assert not any(is_alive(pid) for pid in pids)
    assert find_processes(plugvisor.root) == []
    assert "Traceback" not in plugvisor.read_log("_supervisord") + plugvisor.service_log


def test_nohup_keeps_all_running(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("x", ENDS_ON_HANGUP, runtime='[plugin_runtime.supervisor]\nstopsignal = "HUP"')
    # nohup redirects what goes to a terminal to a file; its name depends on the folder, so a shell does that first
    shell = ("sh", "-c", f'exec nohup "$@" >{plugvisor.output_path} 2>&1', "sh")
    master = up_in_a_terminal(plugvisor, *shell)
    pids = [plugvisor.wait_for_status("x", "running")["pid"], plugvisor.service_pid]
    os.close(master)
    assert plugvisor.process
    os.kill(plugvisor.supervisord_pid, signal.SIGHUP)
    answer = plugvisor.rpc("getAllProcessInfo")  # it has come back to its loop since
    assert sorted(process["pid"] for process in answer) == sorted(pids)
    assert all(is_alive(pid) for pid in pids)
    assert "extension" in read_command(plugvisor.supervisord_pid)
    assert plugvisor.is_ready()
    wait_for(lambda: "ready True" in plugvisor.read_log("x"), "the plugin, which does not ignore SIGHUP")
    plugvisor.down()
    assert plugvisor.read_log("_supervisord").count("supervisord started with pid") == 1


def test_a_hangup_of_an_up_in_the_background(plugvisor: PlugvisorStack) -> None:
    """It is not the terminal's closing that counts, but the signal."""
    plugvisor.write_plugin("x")
    plugvisor.up()
    assert plugvisor.process
    plugvisor.process.send_signal(signal.SIGHUP)
    assert plugvisor.process.wait(DEADLINE_SECONDS) == 0
    assert find_processes(plugvisor.root) == []


def test_a_hangup_without_a_free_descriptor() -> None:
    """A signal handler that raises would end supervisord where it is at that moment."""
    command = [sys.executable, "-c", WITHOUT_DESCRIPTORS]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False)
    assert (finished.stdout, finished.stderr) == ("True\n", "")
