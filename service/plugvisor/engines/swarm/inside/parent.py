"""Runs a plugin as a child if it has expected exit codes other than 0, which alone is success to the swarm."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

from plugvisor.engines.swarm.inside.launch import LaunchError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import FrameType

_NOT_PASSED_ON = {
    signal.SIGKILL, signal.SIGSTOP,  # cannot be caught
    signal.SIGCHLD,
    signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGSYS,  # of this process
    signal.SIGPIPE, signal.SIGXFSZ,
}  # fmt: skip


def run_as_parent(command: Sequence[str], environment: Mapping[str, str], exitcodes: Sequence[int]) -> int:
    """Run a command in a process group of its own, which every signal is passed on to.

    Returns:
        the exit status: 0 if the command's is expected, else the command's, or 1 for an unexpected 0; 128 and its
        number for a signal.

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
            [_encode(word) for word in command],
            env={_encode(name): _encode(value) for name, value in environment.items()},
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
        return 0
    if code == 0:
        print("plugvisor: it has exited with code 0, which is not expected", flush=True)  # noqa: T201
    return code or 1


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except OSError:  # it has ended meanwhile
        return


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
