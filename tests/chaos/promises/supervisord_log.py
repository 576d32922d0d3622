"""The launches of every plugin, from the lines that supervisord itself logs."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from pathlib import Path

_LINE = re.compile(
    r"(?P<at>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) \w+ "
    r"(?:spawned: '(?P<spawned>[\w-]+)' with pid (?P<pid>\d+)"
    r"|success: (?P<running>[\w-]+) entered RUNNING state"
    r"|(?P<how>exited|stopped): (?P<ended>[\w-]+) \((?P<why>.*)\)"
    r"|spawnerr: (?P<failed>[\w-]+): )"
)


@dataclass
class Launch:
    """One process of a plugin; times are in seconds since 1970."""

    pid: int
    spawned: float
    running: float | None = None
    """When supervisord took it for RUNNING."""
    ended: float | None = None
    was_stopped: bool = False
    """Somebody has stopped it; else it has ended by itself, or was killed."""
    was_expected: bool = False
    """It has ended by itself with an expected exit code."""


class SupervisordLog:
    """Follows what supervisord prints; of its log, what comes while the folder is gone is lost."""

    def __init__(self, path: Path) -> None:
        self.launches: dict[str, list[Launch]] = {}
        self.failures: dict[str, list[float]] = {}
        """When each plugin could not be launched."""
        self._path = path
        self._file: BinaryIO | None = None
        self._line = b""

    def read(self) -> None:
        """Take up what was printed since the last call."""
        if self._file is None:
            with contextlib.suppress(FileNotFoundError):
                self._file = self._path.open("rb")
        if self._file is not None:
            self._read_lines()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read_lines(self) -> None:
        assert self._file is not None
        *lines, self._line = (self._line + self._file.read()).split(b"\n")
        for line in lines:
            if match := _LINE.match(line.decode(errors="replace")):
                self._take_up(match)

    def _take_up(self, match: re.Match[str]) -> None:
        at = datetime.strptime(match["at"], "%Y-%m-%d %H:%M:%S,%f").astimezone().timestamp()
        if match["failed"]:
            self.failures.setdefault(match["failed"], []).append(at)
            return
        launches = self.launches.setdefault(match["spawned"] or match["running"] or match["ended"], [])
        if match["spawned"]:
            launches.append(Launch(int(match["pid"]), at))
        elif launches and match["running"]:
            launches[-1].running = at
        elif launches:
            launches[-1].ended = at
            launches[-1].was_stopped = match["how"] == "stopped"
            launches[-1].was_expected = match["why"].endswith("; expected")
