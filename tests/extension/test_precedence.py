"""Plugins are killed first when memory runs out, and run last when CPU time does."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from plugvisor.engines.supervisord.extension.processes.precedence import NICE_INCREMENT, OOM_SCORE_ADJ, put_behind

from tests.helpers.supervisord import make_supervisord
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.helpers.supervisord import Supervisord

HAS_A_CHILD = """\
import os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
child = os.fork()
if child:
    print(child, "ready", flush=True)
while True:
    signal.pause()
"""
TAKES_IT_BACK = """\
import signal
try:
    open("/proc/self/oom_score_adj", "w").write("0")
except OSError as error:
    print(error.strerror)
print("ready", flush=True)
signal.pause()
"""
STARTS_A_GRANDCHILD = "sh -c 'sleep 1000 & echo $!; wait' & echo $!; wait"
LIMITED = (OOM_SCORE_ADJ, NICE_INCREMENT)


def read_values(pid: int, *, beyond: int = 0) -> tuple[int, int]:
    """A process's value for the OOM killer, and how much nicer it is than this process or `beyond`."""
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text()), os.getpriority(os.PRIO_PROCESS, pid) - beyond


def has_sys_resource() -> bool:
    status = Path("/proc/self/status").read_text()
    return any(line.startswith("CapEff") and int(line.split()[1], 16) >> 24 & 1 for line in status.splitlines())


@pytest.fixture
def tree() -> Iterator[list[int]]:
    """A process group that nobody has put behind: a shell, its child and its grandchild."""
    with subprocess.Popen(
        ["/bin/sh", "-c", STARTS_A_GRANDCHILD], stdout=subprocess.PIPE, text=True, process_group=0
    ) as process:
        assert process.stdout is not None
        yield [process.pid, int(process.stdout.readline()), int(process.stdout.readline())]
        os.killpg(process.pid, signal.SIGKILL)


def test_a_plugin_and_its_children(shared: Supervisord, add: Callable[..., str]) -> None:
    own = read_values(shared.pid)
    name = add(HAS_A_CHILD)
    pid = shared.start_ready(name)
    child = int(shared.read_output(name).split()[0])
    for process in (pid, child):
        assert read_values(process, beyond=own[1]) == LIMITED
    assert read_values(shared.pid) == own == read_values(os.getpid())


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
@pytest.mark.parametrize("capabilities", ["", "--bounding-set=-dac_override,-sys_ptrace,-sys_nice"])
def test_a_plugin_of_another_user(capabilities: str) -> None:
    """Also if root may not open files of other users, as in a container."""
    with make_supervisord() as own:
        own.root.chmod(0o755)
        own.write_plugin("theirs", arguments=["/bin/sh", "-c", "echo ready; sleep 1000"], user="nobody")
        if capabilities:
            own.command = ("setpriv", capabilities, "--inh-caps=-all", *own.command)
        own.start()
        pid = own.start_ready("theirs")
        assert os.stat(f"/proc/{pid}").st_uid == pwd.getpwnam("nobody").pw_uid
        assert read_values(pid, beyond=read_values(own.pid)[1]) == LIMITED


@pytest.mark.skipif(not has_sys_resource(), reason="needs CAP_SYS_RESOURCE")
def test_a_plugin_cannot_take_it_back() -> None:
    """Without that capability it can."""
    with make_supervisord() as own:
        own.write_plugin("theirs", arguments=["python3", "-c", TAKES_IT_BACK], user="nobody")
        own.root.chmod(0o755)
        own.start()
        own.start_ready("theirs")
        assert own.read_output("theirs") == "Permission denied\nready\n"


def test_children_that_were_there_before(tree: list[int]) -> None:
    """A program may run, and start others, before supervisord gets a processor again."""
    own = read_values(os.getpid())
    assert {read_values(pid) for pid in tree} == {own}
    put_behind(tree[0], None)
    assert {read_values(pid, beyond=own[1]) for pid in tree} == {LIMITED}


def test_a_process_that_has_ended() -> None:
    """Nothing is raised."""
    with subprocess.Popen(["/bin/true"], process_group=0) as process:
        wait_for(lambda: "Z" in Path(f"/proc/{process.pid}/stat").read_text().split(), "its end")
        put_behind(process.pid, None)
    put_behind(process.pid, None)
