"""Reads a small file that others write."""

from __future__ import annotations

import os
import stat


def read_small_file(path: str, most_bytes: int) -> bytes:
    """Read a file without waiting, whatever was put in its place.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no regular file, or larger.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is no regular file")
        data = os.read(descriptor, most_bytes + 1)  # all of a regular file
    finally:
        os.close(descriptor)
    if len(data) > most_bytes:
        raise ValueError("it is too large")
    return data
