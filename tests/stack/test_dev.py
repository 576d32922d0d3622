"""`plugvisor dev`: in a terminal and without one."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.helpers.processes import find_processes
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

CODE = """\
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
print("\\033[32mversion {}\\033[0m \\033]0;title\\007", flush=True)
time.sleep(1000)
"""
MANIFEST = '[plugin]\nid = "made"\ncommand = ["python", "main.py"]\n[plugin_runtime]\nsupervisor.startsecs = 0\n'


class Dev:
    """One `plugvisor dev`, and what it has printed."""

    def __init__(self, root: Path, *, in_terminal: bool) -> None:
        self.root = root
        self.folder = root / "work" / "made"
        self.folder.mkdir(parents=True)
        (self.folder / "plugin.toml").write_text(MANIFEST)
        (self.folder / "main.py").write_text(CODE.format(1))
        self.temporary = root / "tmp"
        self.temporary.mkdir()
        self.output = ""
        self._in_terminal = in_terminal
        self._ours = -1
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def begin(self, *arguments: str) -> None:
        environ = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.root),
            "LANG": "C.UTF-8",
            "TERM": "xterm",
            "TMPDIR": str(self.temporary),
        }
        command = [sys.executable, "-m", "plugvisor", "dev", str(self.folder), *arguments]
        if self._in_terminal:
            self._ours, theirs = pty.openpty()
            ends = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        else:
            self._ours, theirs = os.pipe()
            ends = {"stdin": subprocess.PIPE, "stdout": theirs, "stderr": theirs}
        self._process = subprocess.Popen(command, env=environ, start_new_session=True, **ends)
        os.close(theirs)

    def type(self, text: str) -> None:
        """Type keys; without a terminal, each with Return."""
        if self._in_terminal:
            os.write(self._ours, text.encode())
        else:
            assert self.process.stdin is not None
            self.process.stdin.write("".join(f"{key}\n" for key in text).encode())
            self.process.stdin.flush()

    def wait_for(self, pattern: str, times: int = 1) -> str:
        """Wait until it has printed something so often; returns the last of it."""

        def look() -> list[str]:
            while select.select([self._ours], [], [], 0)[0]:
                data = b""
                with contextlib.suppress(OSError):  # the terminal is closed
                    data = os.read(self._ours, 65536)
                if not data:
                    break
                self.output += data.decode(errors="replace")
            found = [match[0] for match in re.finditer(pattern, self.output)]
            return found if len(found) >= times else []

        try:
            return wait_for(look, pattern)[-1]
        except pytest.fail.Exception as error:
            raise AssertionError(f"no {pattern!r} in:\n{self.output}") from error

    def save(self, version: int) -> None:
        (self.folder / "main.py").write_text(CODE.format(version))

    def end(self) -> list[int]:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        if self._ours >= 0:
            os.close(self._ours)
        with contextlib.suppress(BaseException):
            wait_for(lambda: not find_processes(self.root), "the end of everything")
        left = find_processes(self.root)
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        return left


@pytest.fixture(params=["terminal", "pipe"])
def dev(request: pytest.FixtureRequest) -> Iterator[Dev]:
    root = Path(tempfile.mkdtemp(prefix="pvd-"))  # a Unix socket's path must be short
    one = Dev(root, in_terminal=request.param == "terminal")
    yield one
    left = one.end()
    shutil.rmtree(root, ignore_errors=True)
    assert not left


def assert_nothing_is_left(dev: Dev) -> None:
    assert list(dev.temporary.iterdir()) == []
    wait_for(lambda: find_processes(dev.root) == [], "every process to have ended")


def test_a_session(dev: Dev) -> None:
    dev.begin()
    url = dev.wait_for(r"http://127\.0\.0\.1:\d+")
    dev.wait_for("version 1")
    dev.wait_for(r"· running")
    assert httpx.get(f"{url}/plugins").json()["plugins"][0]["id"] == "made"
    assert r"\x1b]0;title" in dev.output  # no plugin controls the terminal
    assert ("\x1b[32mversion" in dev.output) == dev._in_terminal
    dev.save(2)
    dev.wait_for("version 2")
    dev.wait_for("by watch, main.py changed")
    dev.type("r")
    dev.wait_for("version 2", times=2)
    dev.type("q")
    assert dev.process.wait(DEADLINE_SECONDS) == 0
    assert_nothing_is_left(dev)


def test_a_broken_manifest_and_the_way_back(dev: Dev) -> None:
    dev.begin()
    dev.wait_for("version 1")
    dev.wait_for("· running")
    (dev.folder / "plugin.toml").write_text(f"{MANIFEST}\n= 3")
    (dev.folder / "new.py").write_text("1")
    dev.wait_for(r"it keeps running as it was, but its manifest is invalid: plugin.toml line \d")
    dev.type("b")
    dev.wait_for(r"It changes new.py, plugin.toml \(y/n\)")
    dev.type("n")
    dev.wait_for("nothing was changed")
    dev.type("b")
    dev.wait_for(r"\(y/n\)", times=2)
    dev.type("y")
    dev.wait_for("the files are as they were")
    assert (dev.folder / "plugin.toml").read_text() == MANIFEST
    assert not (dev.folder / "new.py").exists()
    [replaced] = [path for path in dev.folder.parent.iterdir() if path != dev.folder]
    assert replaced.name.startswith(".")  # no plugin, should this be a folder of plugins
    assert (replaced / "new.py").read_text() == "1"
    dev.wait_for("version 1", times=2)
    dev.type("q")
    assert dev.process.wait(DEADLINE_SECONDS) == 0
    assert_nothing_is_left(dev)


def test_a_manifest_that_is_invalid_at_first(dev: Dev) -> None:
    (dev.folder / "plugin.toml").write_text("[plugin]\nid = 3\n")
    dev.begin()
    dev.wait_for("plugin.toml line 2: .*; waiting for a change")
    (dev.folder / "plugin.toml").write_text(MANIFEST)
    dev.wait_for("version 1")


def test_a_plugin_that_fails(dev: Dev) -> None:
    (dev.folder / "main.py").write_text("raise SystemExit('not yet')")
    dev.begin()
    dev.wait_for("not yet")
    dev.wait_for("· error")
    dev.save(2)
    dev.wait_for("version 2")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything(dev: Dev, number: signal.Signals) -> None:
    dev.begin()
    dev.wait_for("version 1")
    if number is signal.SIGINT and dev._in_terminal:
        dev.wait_for("q ends")  # by then keys arrive at once
    dev.process.send_signal(number)
    assert dev.process.wait(DEADLINE_SECONDS) == 130
    assert_nothing_is_left(dev)


def test_being_killed_leaves_no_process(dev: Dev) -> None:
    dev.begin()
    dev.wait_for("version 1")
    dev.process.kill()
    dev.process.wait()
    wait_for(lambda: find_processes(dev.root) == [], "every process to have ended")


def test_others_that_it_depends_on(dev: Dev) -> None:
    other = dev.root / "others" / "store"
    other.mkdir(parents=True)
    (other / "plugin.toml").write_text(MANIFEST.replace("made", "store"))
    (other / "main.py").write_text(CODE.format(7))
    (dev.folder / "plugin.toml").write_text(f"{MANIFEST}depends_on.store = {{}}\n")
    dev.begin("--with", str(other.parent))
    dev.wait_for("version 1")


@pytest.mark.parametrize("arguments", [["nowhere"], [".", "--port", "70000"], [".", "--with", "nowhere"]])
def test_bad_arguments(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "plugin.toml").write_text(MANIFEST)
    command = [sys.executable, "-m", "plugvisor", "dev", *arguments]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "cannot" in done.stderr
    assert "Traceback" not in done.stderr
