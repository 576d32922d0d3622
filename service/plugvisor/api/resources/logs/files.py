"""`GET /plugin/{plugin_id}/logs` and `…/files`: what a plugin has printed, or the service, whose id is `_server`."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from plugvisor.api.http.threads import start_thread_pool
from plugvisor.api.responses import NO_STORE, JsonResponse
from plugvisor.errors import InvalidRequest, PluginNotFound
from plugvisor.logs.files import LogFiles
from plugvisor.logs.lines import LEVELS, SPELLINGS
from plugvisor.logs.tail import Query, read_tail
from plugvisor.models.log import Log, LogFile, LogFileList
from plugvisor.timestamps import format_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response

    from plugvisor.api.parameters import LogQuery
    from plugvisor.api.state import State
    from plugvisor.engines.engine import Engine
    from plugvisor.manager.manager import Manager

SERVER_ID = "_server"
"""Under this id the service's own log is found; no plugin's id begins like this."""
_THREADS = 2

HEADERS = (*NO_STORE, (b"x-content-type-options", b"nosniff"))
"""Plugins choose the content: it must not be cached, and browsers must not guess its type."""


class LogReader:
    """Finds logs and reads them in threads: disks may be slow and searches long."""

    def __init__(self, manager: Manager, engine: Engine, log_dir: Path) -> None:
        self._manager = manager
        self._engine = engine
        self._log_dir = log_dir
        self._threads = start_thread_pool(_THREADS, "logs")

    def find(self, plugin_id: str) -> LogFiles:
        """The log of a plugin, or of the service; raises `PluginNotFound`."""
        if plugin_id != SERVER_ID and plugin_id not in self._manager.catalog:
            raise PluginNotFound(plugin_id)
        if plugin_id == SERVER_ID:
            return LogFiles(self._log_dir, f"{plugin_id}.log")
        return self._engine.open_log(plugin_id)

    async def _bring(self, plugin_id: str) -> LogFiles:
        """As `find`, with what has been printed until now."""
        log = self.find(plugin_id)
        if plugin_id != SERVER_ID:
            await self._engine.bring_log(plugin_id)
        return log

    @asynccontextmanager
    async def following(self, plugin_id: str) -> AsyncIterator[None]:
        """While it is open, the log holds what has been printed until then, and gets what is printed at once."""
        if plugin_id == SERVER_ID:
            yield
            return
        async with self._engine.following_log(plugin_id):
            await self._engine.bring_log(plugin_id)
            yield

    async def show(self, plugin_id: str, query: Query) -> bytes:
        """The body of `GET /plugin/{plugin_id}/logs`; raises `PluginNotFound`."""
        log = await self._bring(plugin_id)

        def read() -> bytes:
            with log.open_all() as files:
                tail = read_tail(files, query)
            body = Log(
                plugin_id=plugin_id,
                logs=tail.entries,
                total_lines=tail.total_lines,
                returned_lines=len(tail.entries),
                log_file=log.name,
            )
            return msgspec.json.encode(body)

        return await asyncio.get_running_loop().run_in_executor(self._threads, read)

    async def list_files(self, plugin_id: str) -> bytes:
        """The body of `GET /plugin/{plugin_id}/logs/files`, the newest file first; raises `PluginNotFound`."""
        log = await self._bring(plugin_id)

        def read() -> bytes:
            with log.open_all() as files:
                found = [
                    LogFile(
                        filename=file.name,
                        size=file.size,
                        modified=format_time(file.modified),
                        modified_seconds=round(file.modified, 6),
                    )
                    for file in files
                ]
            body = LogFileList(plugin_id=plugin_id, log_files=found, count=len(found), time=format_time())
            return msgspec.json.encode(body)

        return await asyncio.get_running_loop().run_in_executor(self._threads, read)


async def show_log(request: Request[State], query: LogQuery) -> Response:
    """The newest lines."""
    start, end = query.period
    wanted = Query(query.lines, _read_level(query.level), query.search, start, end)
    return JsonResponse(await request.state["logs"].show(request.path_params["plugin_id"], wanted), headers=HEADERS)


async def list_log_files(request: Request[State]) -> Response:
    """The files that there are."""
    return JsonResponse(await request.state["logs"].list_files(request.path_params["plugin_id"]), headers=HEADERS)


def _read_level(text: str) -> str | None:
    if not text:
        return None
    try:
        return SPELLINGS[text.upper()]
    except KeyError:
        raise InvalidRequest(f"`level` must be one of {', '.join(LEVELS)}", "level") from None
