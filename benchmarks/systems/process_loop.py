"""Spawning, killing and reaping processes in a loop: the least that the same work can cost."""

from __future__ import annotations

import os
import shutil
import signal
import time

from benchmarks.systems.supervisord import COMMAND

LOOP = "a loop of posix_spawn, kill and waitpid"


def time_process_loop(count: int) -> dict[str, float]:
    """Seconds to spawn that many processes, and seconds to kill and reap them."""
    path = shutil.which(COMMAND[0])
    assert path is not None
    began = time.perf_counter()
    pids = [os.posix_spawn(path, COMMAND, os.environ) for _ in range(count)]
    spawned = time.perf_counter()
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    for pid in pids:
        os.waitpid(pid, 0)
    return {"start": spawned - began, "stop": time.perf_counter() - spawned, "reload": time.perf_counter() - began}
