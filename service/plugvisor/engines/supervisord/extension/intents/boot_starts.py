"""Which plugins supervisord starts when it starts itself: `launch/_starts.json`, which the service writes.

    {"echo": true, "web": false}

A plugin that is not in it is started if its section has `autostart`.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from plugvisor.engines.supervisord.extension.intents.small_file import read_small_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

STARTS_FILE = "_starts.json"
"""Beside the launch files; no plugin's id begins with an underscore."""
LARGEST_BYTES = 1024 * 1024
"""Ten thousand plugins with the longest ids."""

Stamp = tuple[int, int, int]


class BootStarts:
    """The file, which is read again when it has changed.

    Args:
        as_reader: enters a context in which this process may read it.
        warn: called with what is wrong with the file, once until it can be read.
    """

    def __init__(
        self, folder: str, as_reader: Callable[[], AbstractContextManager[None]], warn: Callable[[str], object]
    ) -> None:
        self._path = os.path.join(folder, STARTS_FILE)
        self._as_reader = as_reader
        self._warn = warn
        self._starts: dict[str, bool] = {}
        self._stamp: Stamp | None = None
        self._problem = ""

    def find(self, name: str) -> bool | None:
        """Whether a plugin is started; None if its section decides. Nothing is raised."""
        problem = ""
        try:
            with self._as_reader():
                self._read()
        except FileNotFoundError:
            self._starts, self._stamp = {}, None
        except OSError as error:
            self._starts, self._stamp, problem = {}, None, f"cannot be read: {error.strerror}"
        except (ValueError, RecursionError):
            self._starts, problem = {}, "is damaged"
        else:
            return self._starts.get(name)
        if problem and problem != self._problem:
            self._warn(f"plugins: {self._path} {problem}; the manifests decide which plugins are started")
        self._problem = problem
        return None

    def _read(self) -> None:
        status = os.lstat(self._path)
        stamp = status.st_mtime_ns, status.st_size, status.st_ino
        if stamp == self._stamp:
            return
        self._starts, self._stamp = {}, stamp  # one that is damaged is not read once more
        self._starts = parse_starts(read_small_file(self._path, LARGEST_BYTES))
        self._problem = ""


def parse_starts(data: bytes) -> dict[str, bool]:
    """Parse the file; raises `ValueError` or `RecursionError`."""
    starts = json.loads(data)
    if not isinstance(starts, dict) or not all(isinstance(value, bool) for value in starts.values()):
        raise ValueError("names of plugins, and whether they are started")
    return starts
