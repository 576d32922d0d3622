"""Follows the log of one plugin over all of its tasks."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from plugvisor.engines.swarm.docker.client import DockerError
from plugvisor.engines.swarm.logs.task_reader import Flood
from plugvisor.errors import SupervisorUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from plugvisor.engines.swarm.logs.plugin_log import PluginLog
    from plugvisor.engines.swarm.logs.task_list import LoggedTask
    from plugvisor.engines.swarm.logs.task_reader import TaskReader

FAILURES = (SupervisorUnavailable, DockerError, OSError, ValueError)
"""The errors of reading and writing a log after which it is tried again; a timeout is an OSError."""
CHECK_SECONDS = 2.0
"""How often it is looked whether a task is there that is not followed, if nothing has changed."""
REREAD_SECONDS = 10.0
"""How often a log that is followed is read besides: a connection may have died without anybody's knowing."""
FLOOD_PAUSE_SECONDS = 2.0
GRACE_SECONDS = 1.0
"""The last lines of a task that the swarm has forgotten may be on their way, with no longer pauses than this."""


class Following:
    """The connections to the tasks of one plugin, as long as somebody follows its log.

    Args:
        list_tasks: lists the tasks with logs, oldest first.
    """

    def __init__(
        self, reader: TaskReader, log: PluginLog, list_tasks: Callable[[], Awaitable[list[LoggedTask]]]
    ) -> None:
        self.count = 0
        """Of those that follow it."""
        self.task: asyncio.Task[None]
        self._reader = reader
        self._log = log
        self._list_tasks = list_tasks
        self._changed = asyncio.Event()
        self._connections: dict[str, asyncio.Task[None]] = {}
        self._forgotten: set[str] = set()
        """Followed tasks that the swarm knew no more at the last look."""

    def note_change(self) -> None:
        """The tasks may be others."""
        self._changed.set()

    async def run(self) -> None:
        """Follow until this is cancelled."""
        await self._log.load()
        loop = asyncio.get_running_loop()
        reread_at = loop.time() + REREAD_SECONDS
        try:
            while True:
                self._changed.clear()
                is_due = loop.time() >= reread_at
                if is_due:
                    reread_at = loop.time() + REREAD_SECONDS
                with suppress(*FAILURES):
                    await self._connect(await self._list_tasks(), rereads=is_due)
                with suppress(TimeoutError):
                    async with asyncio.timeout(CHECK_SECONDS):
                        await self._changed.wait()
        finally:
            connections = list(self._connections.values())
            for connection in connections:
                connection.cancel()
            await asyncio.gather(*connections, return_exceptions=True)

    async def _connect(self, tasks: list[LoggedTask], *, rereads: bool) -> None:
        """Follow all that run; read to the end, and follow no more, what has ended."""
        for task in tasks:
            connection = self._connections.get(task.id)
            is_open = connection is not None and not connection.done()
            if task.has_ended:
                if not self._log.is_complete(task.id):
                    with suppress(*FAILURES):
                        await self._reader.read_to_end(self._log, task)
                self._disconnect(task.id)
            elif is_open and rereads:
                with suppress(*FAILURES):
                    if await self._reader.read(self._log, task):
                        self._disconnect(task.id)
                        is_open = False
            if not (is_open or task.has_ended):
                self._connections[task.id] = asyncio.create_task(self._follow(task))
        forgotten = self._connections.keys() - {task.id for task in tasks}
        if self._log.is_quiet(GRACE_SECONDS):
            for task_id in forgotten & self._forgotten:
                self._disconnect(task_id)
        self._forgotten = forgotten

    def _disconnect(self, task_id: str) -> None:
        if (connection := self._connections.pop(task_id, None)) is not None:
            connection.cancel()

    async def _follow(self, task: LoggedTask) -> None:
        """Follow a task until the connection ends."""
        while True:
            try:
                await self._reader.read(self._log, task, follows=True)
            except Flood:
                await asyncio.sleep(FLOOD_PAUSE_SECONDS)
            except FAILURES:
                return
            else:
                return
