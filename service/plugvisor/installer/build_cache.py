"""The cache that environments are made of: `uv` keeps it, and leaves in it what it was working on when it is killed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os

from plugvisor.installer.folder.trees import FOLDER, open_folder, remove_tree
from plugvisor.installer.uv import BuildRefused

_LOCK = ".lock"
"""`uv` holds it, shared with others, as long as it runs."""
_TEMPORARY_PREFIX = ".tmp"
"""Of folders in the cache and in the folders there."""


def make_cache(path: str) -> None:
    """Make the folder, unless it is there; raises `BuildRefused`, `OSError`."""
    try:
        os.makedirs(path, 0o700, exist_ok=True)  # everyone can write the locks that uv keeps in it
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise BuildRefused(f"there is no folder for its cache: {error.strerror}") from error


def remove_left_overs(path: str) -> None:
    """Remove what killed builds have left, unless another one runs: then it does that; nothing is raised."""
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        cache = os.open(path, FOLDER)
        stack.callback(os.close, cache)
        lock = os.open(_LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=cache)
        stack.callback(os.close, lock)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for name in os.listdir(cache):
            with contextlib.suppress(OSError), open_folder(name, cache) as folder:
                _remove_temporary(folder)
        _remove_temporary(cache)


def _remove_temporary(folder: int) -> None:
    for name in os.listdir(folder):
        if name.startswith(_TEMPORARY_PREFIX):
            remove_tree(name, folder)
