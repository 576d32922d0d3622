"""Brings logs from the swarm into files here, as far as somebody reads them."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from plugvisor.engines.swarm.logs.follower import FAILURES, GRACE_SECONDS, Following
from plugvisor.engines.swarm.logs.plugin_log import PluginLog
from plugvisor.engines.swarm.logs.task_list import LoggedTask, find_logged
from plugvisor.engines.swarm.logs.task_reader import TaskReader
from plugvisor.engines.swarm.services.options import read_log_options
from plugvisor.errors import SupervisorUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine
    from pathlib import Path
    from typing import Any

    from plugvisor.engines.swarm.docker.client import DockerClient
    from plugvisor.engines.swarm.watch.table import SwarmTable

logger = logging.getLogger(__name__)

BRING_SECONDS = 2.0
"""How long `bring` may take. What has not come then is still awaited for a while, and is there the next time."""
PATIENCE_SECONDS = 10.0
END_SECONDS = 10.0
"""How much longer a plugin's last lines are awaited than it may take to stop."""


class Spool:
    """Keeps one file of each log, `<log_dir>/<id>.log`, rotated as supervisord's.

    A line is in it once. Each task's log is read from where it was left, on whatever node the task is or was.
    """

    def __init__(self, client: DockerClient, table: SwarmTable, log_dir: Path) -> None:
        self._client = client
        self._table = table
        self._log_dir = log_dir
        self._reader = TaskReader(client)
        self._logs: dict[str, PluginLog] = {}
        self._bringing: dict[str, asyncio.Task[None]] = {}
        self._followings: dict[str, Following] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def bring(self, plugin_id: str) -> None:
        """Append what a plugin has printed since the last time; nothing is raised, and it takes 2 s at most."""
        if not self._table.is_live or self._table.get_service(plugin_id) is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(BRING_SECONDS):
                if (earlier := self._bringing.get(plugin_id)) is not None:
                    await asyncio.wait((earlier,))  # it may have begun too early
                if (task := self._bringing.get(plugin_id)) is None:
                    task = self._bringing[plugin_id] = self._begin(self._bring(plugin_id))
                    task.add_done_callback(lambda done: self._forget(plugin_id, done))
                await asyncio.wait((task,))

    async def bring_last(self, plugin_id: str) -> None:
        """Do as `bring`, and go on until nothing of the plugin is alive: its tasks are deleted with their logs."""
        if self._table.is_live and self._table.get_service(plugin_id) is not None:
            self._begin(self._follow_to_end(plugin_id))
            await self.bring(plugin_id)

    @asynccontextmanager
    async def following(self, plugin_id: str) -> AsyncIterator[None]:
        """Append it at once while this is open; several at once share one connection to each task."""
        following = self._followings.get(plugin_id)
        if following is None:
            log = self._get_log(plugin_id)
            following = Following(self._reader, log, lambda: self._list_tasks(plugin_id))
            self._followings[plugin_id] = following
            following.task = self._begin(self._follow(plugin_id, following))
        following.count += 1
        try:
            yield
        finally:
            following.count -= 1
            if not following.count:
                del self._followings[plugin_id]
                following.task.cancel()

    async def close(self) -> None:
        """Follow nothing more."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _forget(self, plugin_id: str, done: asyncio.Task[None]) -> None:
        if self._bringing.get(plugin_id) is done:
            del self._bringing[plugin_id]

    def _get_log(self, plugin_id: str) -> PluginLog:
        if plugin_id not in self._logs:
            self._logs[plugin_id] = PluginLog(self._log_dir, plugin_id)
        if (service := self._table.get_service(plugin_id)) is not None:
            self._logs[plugin_id].set_options(read_log_options(service["Spec"]))
        return self._logs[plugin_id]

    async def _bring(self, plugin_id: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._read_all(self._get_log(plugin_id), await self._list_tasks(plugin_id))
        except FAILURES:
            return
        except Exception:
            logger.exception("cannot bring the log of %r", plugin_id)

    async def _read_all(self, log: PluginLog, tasks: list[LoggedTask]) -> None:
        """Read what has ended first, one after the other, so that the log is in order, and all that runs at once."""
        await log.load()
        await log.keep([task.id for task in tasks])
        for task in tasks:
            if task.has_ended and not log.is_complete(task.id):
                with suppress(*FAILURES):
                    await self._reader.read_to_end(log, task)
        running = [self._reader.read(log, task) for task in tasks if not task.has_ended]
        for result in await asyncio.gather(*running, return_exceptions=True):
            if isinstance(result, BaseException) and not isinstance(result, FAILURES):
                raise result

    async def _follow(self, plugin_id: str, following: Following) -> None:
        def note_change(changed_id: str | None) -> None:
            if changed_id in (plugin_id, None):
                following.note_change()

        self._table.on_change.append(note_change)
        try:
            await following.run()
        except Exception:
            logger.exception("cannot follow the log of %r", plugin_id)
        finally:
            self._table.on_change.remove(note_change)

    async def _follow_to_end(self, plugin_id: str) -> None:
        async with self.following(plugin_id):
            with suppress(SupervisorUnavailable):
                seconds = self._table.get(plugin_id).stop_seconds + END_SECONDS
                await self._table.wait_for(plugin_id, lambda process: process.is_gone, seconds)
            with suppress(TimeoutError):
                async with asyncio.timeout(END_SECONDS):
                    await self._get_log(plugin_id).wait_quiet(GRACE_SECONDS)

    async def _list_tasks(self, plugin_id: str) -> list[LoggedTask]:
        """The tasks of a plugin, oldest first; raises `SupervisorUnavailable`, `DockerError`."""
        service = self._table.get_service(plugin_id)
        if service is None:
            return []
        nodes = {node.id: (node.name, node.state == "ready") for node in self._table.list_nodes()}
        tasks = await self._client.call("GET", "/tasks", query={"filters": {"service": [service["ID"]]}})
        return find_logged(tasks or [], nodes)
