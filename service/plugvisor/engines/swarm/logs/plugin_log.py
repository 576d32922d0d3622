"""One plugin's log here, put together from those of its tasks."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from plugvisor.engines.swarm.docker.frames import SYSTEM_ERROR, Frame, read_piece, read_seconds
from plugvisor.engines.swarm.logs.log_writer import LogWriter
from plugvisor.engines.swarm.logs.positions import Connection, TaskPosition

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from plugvisor.models.lifecycle import LogOptions

logger = logging.getLogger(__name__)

LEFT_OUT = b"[plugvisor: lines are left out here, as there are too many to bring them all]\n"
OVERLAP_SECONDS = 2.0
"""How much a connection repeats: standard output and standard error need not be in order with each other."""
_LONGEST_REASON = 300


class PluginLog:
    """Takes what connections bring, each line once. Several tasks can be taken from at once."""

    def __init__(self, log_dir: Path, plugin_id: str) -> None:
        self._id = plugin_id
        self._writer = LogWriter(log_dir, plugin_id)
        self._lock = asyncio.Lock()
        self._tasks: dict[str, TaskPosition] = {}
        self._is_loaded = False
        self._begin = 0.0
        self._unfinished: object = None
        """Whose piece the log ends with, if that has no line break."""
        self._taken_at = 0.0
        self._is_unwritable = False
        self._unreadable = b""

    def set_options(self, options: LogOptions) -> None:
        """Set when it is rotated from now on, and what is kept."""
        self._writer.options = options

    async def load(self) -> None:
        """Read how far the tasks were read; called once before anything else, and harmless later."""
        async with self._lock:
            if self._is_loaded:
                return
            stored = await asyncio.to_thread(self._writer.load)
            if not await asyncio.to_thread(self._writer.ends_with_line_break):
                self._unfinished = "an earlier service's"
            self._tasks = stored.tasks
            self._begin = stored.modified or 0.0
            self._is_loaded = True

    def find_begin(self, task_id: str) -> float:
        """Where a connection to a task has to begin, in seconds since 1970; 0 at the beginning."""
        newest = self.find_time(task_id)
        return max(0.0, read_seconds(newest) - OVERLAP_SECONDS) if newest else self._begin

    def find_time(self, task_id: str) -> str:
        """The time of the newest piece that was taken of a task; empty if there is none."""
        position = self._tasks.get(task_id)
        return position.time if position is not None else ""

    def is_beyond(self, task_id: str, frames: Iterable[Frame]) -> bool:
        """Whether the first of these frames is newer than what was taken of its task."""
        piece = next(filter(None, map(read_piece, frames)), None)
        return piece is not None and piece.time > self.find_time(task_id)

    def is_complete(self, task_id: str) -> bool:
        """Whether there is nothing more to come of a task."""
        position = self._tasks.get(task_id)
        return position is not None and position.is_complete

    def is_quiet(self, seconds: float) -> bool:
        """Whether nothing new has come for a while."""
        return time.monotonic() - self._taken_at > seconds

    async def wait_quiet(self, seconds: float) -> None:
        """Wait until nothing new has come for a while, from now on."""
        began = time.monotonic()
        while True:
            left = max(began, self._taken_at) + seconds - time.monotonic()
            if left <= 0:
                return
            await asyncio.sleep(left)

    async def take(self, task_id: str, prefix: bytes, connection: Connection, frames: Iterable[Frame]) -> int:
        """Append what is new of what a connection has brought; returns how many pieces.

        A connection that does not repeat what was taken last has left something out. If this is cancelled, it is done
        all the same.

        Args:
            prefix: of each line.

        Raises:
            OSError: it cannot be written, which is logged.
        """
        # else it could be written without being known to be
        return await asyncio.shield(self._take(task_id, prefix, connection, frames))

    async def _take(self, task_id: str, prefix: bytes, connection: Connection, frames: Iterable[Frame]) -> int:
        async with self._lock:
            before = self._tasks.get(task_id, TaskPosition())
            position = before.copy()
            is_next = bool(before.time) and connection.is_new
            unfinished = self._unfinished
            text = bytearray()
            count = 0
            for frame in frames:
                if frame.stream == SYSTEM_ERROR:
                    self._say_unreadable(frame.payload)
                    continue
                piece = read_piece(frame)
                if piece is None or not connection.take(piece, position):
                    continue
                source = (task_id, piece.stream)
                if unfinished != source:
                    text += b"\n" if unfinished else b""
                    text += LEFT_OUT if is_next and not connection.has_met else b""
                    text += prefix
                text += piece.text
                is_next = False
                unfinished = None if piece.text.endswith(b"\n") else source
                count += 1
            if count:
                self._taken_at = time.monotonic()
                await self._append(bytes(text), {**self._tasks, task_id: position})
                self._tasks[task_id] = position
                self._unfinished = unfinished
            return count

    async def note_complete(self, task_id: str) -> None:
        """A task that had ended was read to the end."""
        async with self._lock:
            self._tasks.setdefault(task_id, TaskPosition()).is_complete = True

    async def keep(self, task_ids: Collection[str]) -> None:
        """Forget all other tasks, which the swarm has forgotten, too."""
        async with self._lock:
            self._tasks = {name: position for name, position in self._tasks.items() if name in task_ids}

    async def _append(self, text: bytes, tasks: dict[str, TaskPosition]) -> None:
        try:
            await asyncio.to_thread(self._writer.append, text, tasks)
        except OSError as error:
            if not self._is_unwritable:
                logger.error("the log of %r cannot be written: %s", self._id, error.strerror or error)
            self._is_unwritable = True
            raise
        if self._is_unwritable:
            logger.info("the log of %r can be written again", self._id)
        self._is_unwritable = False

    def _say_unreadable(self, reason: bytes) -> None:
        """Log why an engine cannot read a log: once, until it is another reason."""
        if reason != self._unreadable:
            self._unreadable = reason
            text = ascii(reason[:_LONGEST_REASON].decode("utf-8", "replace").strip())
            logger.warning("an engine cannot read the log of %r: %s", self._id, text)
