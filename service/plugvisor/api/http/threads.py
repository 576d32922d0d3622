"""Thread pools that need no new thread once the service runs.

A plugin that uses up the processes of its user or of the container would otherwise have log reads and changes fail.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait

DEFAULT_THREADS = 4
"""For `asyncio.to_thread`: reading manifests, publishing, measuring."""


def start_thread_pool(size: int, name: str) -> ThreadPoolExecutor:
    """A thread pool whose threads run already.

    Raises:
        RuntimeError: a thread cannot be started.
    """
    pool = ThreadPoolExecutor(size, name)
    all_run = threading.Barrier(size)  # a pool starts a thread only if none of the others is idle
    try:
        wait([pool.submit(all_run.wait) for _ in range(size)])
    except RuntimeError:
        all_run.abort()
        pool.shutdown()
        raise
    return pool
