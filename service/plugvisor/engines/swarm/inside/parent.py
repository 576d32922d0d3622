"""Runs a plugin as a child if not every exit code means what it means to the swarm, for which 0 alone is success."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import zlib
from typing import TYPE_CHECKING

from plugvisor.engines.swarm.inside.launch import LaunchError
from plugvisor.variable_files import encode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import FrameType

_NOT_PASSED_ON = {
    signal.SIGKILL, signal.SIGSTOP,  # cannot be caught
    signal.SIGCHLD,
    signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGSYS,  # of this process
    signal.SIGPIPE, signal.SIGXFSZ,
}  # fmt: skip


def name_mark(directory: str) -> str:
    """The file that is there while the last attempt of a plugin's check has failed."""
    return f"/tmp/.plugvisor-unhealthy-{zlib.crc32(os.fsencode(directory)):08x}"  # noqa: S108 - the container's own


def run_as_parent(command: Sequence[str], environment: Mapping[str, str], exitcodes: Sequence[int], mark: str) -> int:
    """Run a command in a process group of its own, which every signal is passed on to.

    Args:
        mark: as `name_mark` has it.

    Returns:
        the exit status: 0 if the command's is expected, else the command's, or 1 for an unexpected 0; 128 and its
        number for a signal. An expected one is 1 while its check fails.

    Raises:
        LaunchError
    """
    waiting: list[int] = []
    child: subprocess.Popen[bytes] | None = None

    def pass_on(number: int, _frame: FrameType | None) -> None:
        if child is None:
            waiting.append(number)
        elif child.returncode is None:
            _signal_group(child.pid, number)

    for passed in signal.valid_signals() - _NOT_PASSED_ON:
        signal.signal(passed, pass_on)
    try:
        child = subprocess.Popen(
            [encode(word) for word in command],
            env={encode(name): encode(value) for name, value in environment.items()},
            process_group=0,
        )
    except OSError as error:
        raise LaunchError(f"cannot execute its command: {error.strerror}") from error
    for number in waiting:
        _signal_group(child.pid, number)
    code = child.wait()
    if code < 0:
        return 128 - code
    if code in exitcodes:
        # one that the swarm has ended for its check would not be started again after success
        return int(os.path.lexists(mark))
    if code == 0:
        print("plugvisor: it has exited with code 0, which is not expected", flush=True)  # noqa: T201
    return code or 1


def run_check(command: Sequence[str], environment: Mapping[str, str], mark: str) -> int:
    """Run the command of a check, and note whether it fails; returns its exit status, or raises `LaunchError`."""
    try:
        done = subprocess.run(
            [encode(word) for word in command],
            env={encode(name): encode(value) for name, value in environment.items()},
            check=False,
        )
        if done.returncode == 0:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(mark)
        else:
            os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600))
    except OSError as error:
        raise LaunchError(f"cannot execute its command: {error.strerror}") from error
    return done.returncode if done.returncode >= 0 else 128 - done.returncode


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except OSError:  # it has ended meanwhile
        return
