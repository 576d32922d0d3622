"""A command on a terminal of its own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from typing import TYPE_CHECKING, Any

from tests.helpers.stack import ROOT
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.helpers.stack import PlugvisorStack

CONTROLS = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[=>]")


class Terminal:
    """A pseudo-terminal, and the command that runs there."""

    def __init__(self, descriptor: int, process: subprocess.Popen[bytes], other_end: int) -> None:
        self.process = process
        self._descriptor = descriptor
        self._other_end = other_end
        self._output = b""
        self.modes = self.read_modes()
        """Those that it had at the beginning."""

    @property
    def output(self) -> str:
        """All that was written to it until now."""
        while select.select([self._descriptor], [], [], 0)[0]:
            self._output += os.read(self._descriptor, 65536)
        return self._output.decode(errors="replace")

    @property
    def text(self) -> str:
        """The same without colours and other controls."""
        return CONTROLS.sub("", self.output).replace("\r\n", "\n")

    @property
    def screen(self) -> list[str]:
        """The lines of the last picture, of a command that draws each from the top left corner."""
        return [line.rstrip() for line in CONTROLS.sub("", self.output.rpartition("\x1b[H")[2]).split("\r\n")]

    def wait_for(self, text: str) -> None:
        """Wait until a text was written."""
        wait_for(lambda: text in self.text, f"{text!r} on the terminal; there is: {self.text[-2000:]}")

    def type(self, keys: str) -> None:
        """Type keys; `\\x03` is Ctrl-C."""
        os.write(self._descriptor, keys.encode())

    def resize(self, lines: int, columns: int) -> None:
        """Give it another size."""
        fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read_modes(self) -> list[Any]:
        """Its modes, such as whether it shows what is typed."""
        return termios.tcgetattr(self._other_end)

    def wait(self) -> int:
        """Wait for the end of the command; returns its exit status."""
        wait_for(lambda: self.output is not None and self.process.poll() is not None, "the end of the command")
        return self.process.returncode


@contextlib.contextmanager
def open_terminal(
    plugvisor: PlugvisorStack, *arguments: str, lines: int = 24, columns: int = 100, **environ: str
) -> Iterator[Terminal]:
    """Run `plugvisor …` on a terminal until the end of the block."""
    descriptor, other_end = pty.openpty()
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    process = subprocess.Popen(
        # otherwise Ctrl-C would be a character
        ["setsid", "--ctty", sys.executable, "-m", "plugvisor", *arguments],
        env=plugvisor.environ | {"TERM": "xterm-256color"} | environ,
        cwd=ROOT,
        stdin=other_end,
        stdout=other_end,
        stderr=other_end,
    )
    try:
        yield Terminal(descriptor, process, other_end)
    finally:
        process.kill()
        process.wait(DEADLINE_SECONDS)
        os.close(other_end)
        os.close(descriptor)
