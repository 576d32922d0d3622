"""A command of a build: it is bounded in time and memory, and nothing of its process group outlives it."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import IO

    from plugvisor.installer.build_output import BuildOutput

MEMORY_BYTES = 512 * 1024**2
"""Of the command itself: `uv` keeps in memory all that the build of a source distribution prints."""

_POLL_SECONDS = 0.1
_PIECE_BYTES = 64 * 1024
_REST_BYTES = 1024 * 1024


class BuildStopped(Exception):
    """The command was killed; the message says why."""


def run_command(
    command: Sequence[str],
    folder: str,
    environment: Mapping[str, str],
    output: BuildOutput,
    deadline: float,
    *,
    is_cancelled: Callable[[], bool],
) -> int:
    """Run a command in a process group of its own, and return its exit status.

    Args:
        deadline: by `time.monotonic()`; all of the group is killed then.
        is_cancelled: is asked ten times a second.

    Raises:
        BuildStopped: it took too long or too much memory, or was cancelled.
    """
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # no terminal either, on which git or ssh could ask for a password
        bufsize=0,
    )
    assert process.stdout is not None
    with process.stdout as pipe:
        try:
            _read_until_exit(process, pipe, deadline, output, is_cancelled)
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        _read_rest(pipe, output)
    return process.returncode


def _read_until_exit(
    process: subprocess.Popen[bytes],
    pipe: IO[bytes],
    deadline: float,
    output: BuildOutput,
    is_cancelled: Callable[[], bool],
) -> None:
    """Return once the command has ended: a process that it has left may keep the pipe open for ever."""
    os.set_blocking(pipe.fileno(), False)
    checked = 0.0
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while process.poll() is None:
            if not selector.get_map():  # it has closed its output, and ends now or later
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_POLL_SECONDS)
            elif selector.select(_POLL_SECONDS):
                piece = os.read(pipe.fileno(), _PIECE_BYTES)
                output.feed(piece)
                if not piece:
                    selector.unregister(pipe)
            now = time.monotonic()
            if now - checked < _POLL_SECONDS:
                continue  # a flood: the checks cost more than a read
            checked = now
            if now > deadline:
                raise BuildStopped("it takes too long")
            if is_cancelled():
                raise BuildStopped("it was cancelled")
            if _read_memory(process.pid) > MEMORY_BYTES:
                raise BuildStopped("it takes too much memory, as when the build of a requirement floods its output")


def _read_rest(pipe: IO[bytes], output: BuildOutput) -> None:
    for _ in range(_REST_BYTES // _PIECE_BYTES):
        try:
            piece = os.read(pipe.fileno(), _PIECE_BYTES)
        except BlockingIOError:
            return
        if not piece:
            return
        output.feed(piece)


def _read_memory(pid: int) -> int:
    """The memory that is a process's own, in bytes; 0 if this system does not show it."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            _, resident, shared, *_ = map(int, file.read().split())
    except (OSError, ValueError):
        return 0
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")
