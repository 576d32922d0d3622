"""A command that runs while a test does something else, and whose output is kept."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.helpers.stack import ROOT
from tests.helpers.waiting import DEADLINE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.helpers.stack import PlugvisorStack


class RunningCommand:
    """`plugvisor …`, whose output goes to files."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process = process
        self._folder = folder

    @property
    def lines(self) -> list[str]:
        """The lines that it has printed."""
        return (self._folder / "command.out").read_text().splitlines()

    @property
    def words(self) -> str:
        """What it has said on standard error."""
        return (self._folder / "command.err").read_text()


@contextlib.contextmanager
def run_command(plugvisor: PlugvisorStack, folder: Path, *arguments: str, **environ: str) -> Iterator[RunningCommand]:
    """Run `plugvisor …` until the end of the block; its output is kept in the folder."""
    with (folder / "command.out").open("wb") as output, (folder / "command.err").open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "plugvisor", *arguments],
            env=plugvisor.environ | environ,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
        )
    try:
        yield RunningCommand(process, folder)
    finally:
        process.kill()
        process.wait(DEADLINE_SECONDS)


def run_unread(plugvisor: PlugvisorStack, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run `plugvisor …` to its end with a standard output that nobody reads, as with `| head`."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        return subprocess.run(
            [sys.executable, "-m", "plugvisor", *arguments],
            env=plugvisor.environ,
            cwd=ROOT,
            stdout=writing,
            stderr=subprocess.PIPE,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
    finally:
        os.close(writing)
