"""`GET /plugin/{plugin_id}/logs` and `…/files`: what a plugin has printed, or the service, whose id is `_server`."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from plugvisor.api.views import tell_time, to_json
from plugvisor.errors import PluginNotFound
from plugvisor.logs.files import LogFiles
from plugvisor.logs.tail import read_tail

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from plugvisor.logs.lines import Entry
    from plugvisor.logs.tail import Query
    from plugvisor.manager.manager import Manager

SERVER_ID = "_server"
"""Under this id the service's own log is found; no plugin's id begins like this."""
_THREADS = 2

HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
"""Plugins choose what is in it: it is for whoever asked, and to be taken for nothing but what it is said to be."""


class LogViews:
    """Finds logs, and shows them as JSON. Disks may be slow and searches long, so that others do the reading."""

    def __init__(self, manager: Manager, log_dir: Path) -> None:
        self._manager = manager
        self._log_dir = log_dir
        self._readers = ThreadPoolExecutor(_THREADS, "logs")

    def find(self, plugin_id: str) -> LogFiles:
        """The log of a plugin, or of the service.

        Raises:
            PluginNotFound
        """
        if plugin_id != SERVER_ID and plugin_id not in self._manager.catalog:
            raise PluginNotFound(plugin_id)
        return LogFiles(self._log_dir, f"{plugin_id}.log")

    async def show(self, plugin_id: str, query: Query) -> bytes:
        """The body of `GET /plugin/{plugin_id}/logs`; raises `PluginNotFound`."""
        log = self.find(plugin_id)

        def read() -> bytes:
            with log.open_all() as files:
                tail = read_tail(files, query)
            fields = {"total_lines": tail.total_lines, "returned_lines": len(tail.entries), "log_file": log.name}
            return b'{"plugin_id":%b,"logs":%b,%b' % (
                to_json(plugin_id), entries_to_json(tail.entries), to_json(fields)[1:],
            )  # fmt: skip

        return await asyncio.get_running_loop().run_in_executor(self._readers, read)

    async def list_files(self, plugin_id: str) -> bytes:
        """The body of `GET /plugin/{plugin_id}/logs/files`, the newest file first; raises `PluginNotFound`."""
        log = self.find(plugin_id)

        def read() -> bytes:
            with log.open_all() as files:
                told = [
                    {"filename": file.name, "size": file.size, "modified": tell_time(file.modified)} for file in files
                ]
            return to_json({"plugin_id": plugin_id, "log_files": told, "count": len(told), "time": tell_time()})

        return await asyncio.get_running_loop().run_in_executor(self._readers, read)


def entries_to_json(entries: Iterable[Entry]) -> bytes:
    """A JSON array; made in pieces, so that other threads come in between."""
    return b"[%b]" % b",".join(
        to_json(
            {
                "timestamp": entry.timestamp,
                "level": entry.level,
                "file": entry.file,
                "line": entry.line,
                "message": entry.message,
            }
        )
        for entry in entries
    )
