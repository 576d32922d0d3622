"""The size of a process tree."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from plugvisor.metrics.tree_size import measure_tree

from tests.helpers.processes import kill_all, list_children
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIB = 2**20
SHARING = """\
import mmap, os, signal
shared = mmap.mmap(-1, 64 * 2**20)
shared[:] = b"x" * len(shared)
for _ in range(3):
    if os.fork() == 0:
        signal.pause()
        os._exit(0)
print("ready", flush=True)
signal.pause()
"""
IN_A_THREAD = """\
import os, signal, threading
def fork():
    if os.fork() == 0:
        signal.pause()
        os._exit(0)
    print("ready", flush=True)
    threading.Event().wait()
threading.Thread(target=fork).start()
signal.pause()
"""
CROWD = """\
import os, signal
for _ in range(900):
    if os.fork() == 0:
        signal.pause()
        os._exit(0)
print("ready", flush=True)
signal.pause()
"""


@pytest.fixture
def run() -> Iterator[Callable[[str], int]]:
    """Runs code until it has printed a line; returns its process id."""
    started: list[subprocess.Popen[bytes]] = []

    def run_code(code: str) -> int:
        process = subprocess.Popen([sys.executable, "-I", "-S", "-c", code], stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return process.pid

    yield run_code
    for process in started:
        kill_all([*list_children(process.pid), process.pid])
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_shared_memory_counts_once_if_the_resident_memory_is_above_the_limit(run: Callable[[str], int]) -> None:
    pid = run(SHARING)
    wait_for(lambda: len(list_children(pid)) == 3)
    # a child has no page of the mapping until it touches it; those of the interpreter are shared too
    size, exact = measure_tree(pid), measure_tree(pid, 1)
    assert size is not None
    assert exact is not None
    assert 64 * MIB < exact.memory < size.memory
    assert size.processes == exact.processes == 4


def test_children_of_every_thread_are_found(run: Callable[[str], int]) -> None:
    size = measure_tree(run(IN_A_THREAD))
    assert size is not None
    assert size.processes == 3


def test_every_child_of_many_is_found(run: Callable[[str], int]) -> None:
    size = measure_tree(run(CROWD))
    assert size is not None
    assert size.processes == 901


def test_a_process_that_has_ended_has_no_size() -> None:
    pid = os.fork()
    if not pid:
        os._exit(0)
    wait_for(lambda: measure_tree(pid) is None)
    os.waitpid(pid, 0)
    assert measure_tree(pid) is None
