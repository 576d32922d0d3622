"""What is found out about a plugin's processes, of real ones."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from plugvisor.manager.watch.writers import ProcessTree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
CHILD = """\
import subprocess, sys
{}
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[[str], int]]:
    """Runs Python code in a process of its own; returns its id when it is done and waits."""
    processes = []

    def start(code: str) -> int:
        command = [sys.executable, "-c", CHILD.format(code)]
        process = subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return process.pid

    yield start
    for process in processes:
        process.communicate()


def test_files_that_are_open_for_writing(tmp_path: Path, run: Callable[[str], int]) -> None:
    (tmp_path / "read").write_text("1")
    pid = run("files = open('read'), open('written', 'w'), open('appended', 'a'); open('closed', 'w').close()")
    paths = {str(tmp_path / name) for name in ("read", "written", "appended", "closed")}
    assert ProcessTree(pid).find_open(paths) == {str(tmp_path / "written"), str(tmp_path / "appended")}


def test_files_of_a_child(tmp_path: Path, run: Callable[[str], int]) -> None:
    pid = run(
        "child = subprocess.Popen(['sh', '-c', 'exec 3>log; echo; read line'], stdin=subprocess.PIPE, "
        "stdout=subprocess.PIPE); child.stdout.readline()"
    )
    assert ProcessTree(pid).find_open({str(tmp_path / "log")}) == {str(tmp_path / "log")}


def test_a_file_that_it_has_made_larger_without_writing(tmp_path: Path, run: Callable[[str], int]) -> None:
    pid = run("open('sparse', 'w').truncate(10**9)")
    assert not ProcessTree(pid).has_not_written({str(tmp_path / "sparse")})


def test_what_it_has_certainly_not_written(tmp_path: Path, run: Callable[[str], int]) -> None:
    pid = run("open('own', 'w').write('x' * 1000)")
    (tmp_path / "persons").write_text("x" * 5000)
    (tmp_path / "small").write_text("x")
    tree = ProcessTree(pid)
    assert tree.has_not_written({str(tmp_path / "persons"), str(tmp_path / "small")})
    assert not tree.has_not_written({str(tmp_path / "own")})
    assert not tree.has_not_written({str(tmp_path / "small")})
    assert not tree.has_not_written({str(tmp_path / "gone")})
    assert not tree.has_not_written(set())


def test_what_a_child_that_has_ended_has_written(tmp_path: Path, run: Callable[[str], int]) -> None:
    pid = run('subprocess.run([sys.executable, \'-c\', \'open("own", "w").write("x" * 1000)\'])')
    assert not ProcessTree(pid).has_not_written({str(tmp_path / "own")})


def test_without_a_process_nothing_is_known(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("1")
    for tree in (ProcessTree(0), ProcessTree(2**22 - 1)):
        assert tree.find_open({str(tmp_path / "file")}) == set()
        assert not tree.has_not_written({str(tmp_path / "file")})
