"""Keeps the line with which each plugin that has ended says why, for those who may read its log.

It is read once, when the process has ended, and never for a request.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from plugvisor.errors import PlugvisorError, SupervisorUnavailable
from plugvisor.logs.last_line import read_last_line
from plugvisor.logs.marks import Mark, mark_end

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from plugvisor.engines.engine import Engine
    from plugvisor.models.process import Exit, Process

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 32
"""So many logs are read in one go: a thousand plugins that crash at once are a few dozen calls of a thread."""
BRING_PAUSE_SECONDS = 0.2
"""Between two logs that are brought from other machines."""
_CLOCK_SECONDS = 0.1
"""How much a file's time may be behind the clock."""


class LastLines:
    """Follows the processes of an engine from `open` to `close`."""

    def __init__(self, engine: Engine) -> None:
        self.version = 0
        """Another number whenever a line may be another."""
        self.on_change: list[Callable[[str], object]] = []
        """Called with the id of a plugin whose last line was found."""
        self._engine = engine
        self._lines: dict[str, tuple[Exit, str]] = {}
        self._seen: dict[str, Exit | None] = {}  # the last exit of each plugin that was looked at
        self._ends: dict[str, Mark] = {}  # where each plugin's log ended after that
        self._pending: dict[str, Process] = {}
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """How many lines there are."""
        return len(self._lines)

    def get(self, plugin_id: str, process: Process | None) -> str:
        """The last line of a plugin whose process has ended, or empty."""
        known = self._lines.get(plugin_id)
        return known[1] if known is not None and process is not None and known[0] == process.last_exit else ""

    def open(self) -> None:
        """Begin to follow the processes."""
        self._engine.on_change.append(self._follow)
        self._follow(None)

    async def close(self) -> None:
        """Follow them no more."""
        self._engine.on_change.remove(self._follow)
        self._pending.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _follow(self, plugin_id: str | None) -> None:
        try:
            processes = self._engine.read()
        except SupervisorUnavailable:
            return  # a call with None follows
        if plugin_id is not None:
            self._look(plugin_id, processes)
            return
        for name in {*processes, *self._seen}:
            self._look(name, processes)

    def _look(self, plugin_id: str, processes: Mapping[str, Process]) -> None:
        process = processes.get(plugin_id)
        if process is None:
            for known in (self._lines, self._seen, self._ends, self._pending):
                known.pop(plugin_id, None)
            return
        if plugin_id in self._lines and not process.log_may_say_why:
            del self._lines[plugin_id]
        if process.last_exit is None and process.is_alive:
            return
        if plugin_id not in self._seen or self._seen[plugin_id] != process.last_exit:
            self._seen[plugin_id] = process.last_exit
            self._pending[plugin_id] = process
            if self._task is None:
                self._task = asyncio.create_task(self._read_pending())

    async def _read_pending(self) -> None:
        try:
            while self._pending:
                most = 1 if self._engine.is_cluster else MOST_AT_ONCE
                batch = {name: self._pending.pop(name) for name in list(self._pending)[:most]}
                try:
                    await self._bring(batch)
                    self._take(batch, await asyncio.to_thread(self._read, batch))
                except PlugvisorError:  # the engine has just become silent: when it is back, they are looked at again
                    for name in batch:
                        self._seen.pop(name, None)
                except Exception:
                    logger.exception("cannot read why plugins have ended")
        finally:
            self._task = None

    async def _bring(self, batch: Mapping[str, Process]) -> None:
        for name, process in batch.items():
            if self._engine.is_cluster and process.log_may_say_why:
                await self._engine.bring_log(name)
                await asyncio.sleep(BRING_PAUSE_SECONDS)

    def _read(self, batch: Mapping[str, Process]) -> dict[str, tuple[str, Mark]]:
        """Read the ends of some logs, in a thread."""
        found = {}
        for name, process in batch.items():
            log = self._engine.open_log(name)
            with suppress(OSError):
                if process.log_may_say_why:
                    begin = self._ends.get(name)
                    if process.log_begin is not None and not process.is_alive:  # else it is of the next process
                        begin = Mark(*process.log_begin)
                    found[name] = read_last_line(log, begin, self._find_start(process), find_slot(process))
                else:
                    found[name] = "", mark_end(log)
        return found

    def _find_start(self, process: Process) -> float:
        """When it was started, in seconds since 1970; 0 if its log is written at another time than it prints."""
        if self._engine.is_cluster or not process.started:
            return 0.0
        return time.time() - (time.monotonic() - process.started) - _CLOCK_SECONDS

    def _take(self, batch: Mapping[str, Process], found: Mapping[str, tuple[str, Mark]]) -> None:
        processes = self._engine.read()
        for name, (line, end) in found.items():
            read, now = batch[name], processes.get(name)
            if now is None:
                continue
            if now.launches == read.launches:
                self._ends[name] = end
            else:  # the next process may have printed something already
                self._ends.pop(name, None)
            if line and read.last_exit is not None and now.last_exit == read.last_exit and now.log_may_say_why:
                self._lines[name] = (read.last_exit, line)
                self.version += 1
                for callback in self.on_change:
                    callback(name)


def find_slot(process: Process) -> int:
    """The replica that has ended last, if there are several; otherwise 0."""
    if len({task.slot for task in process.tasks}) < 2:
        return 0
    ended = [task for task in process.tasks if task.exit_code]
    return max(ended, key=lambda task: task.at).slot if ended else 0
