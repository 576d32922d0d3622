"""`GET /plugin/{plugin_id}/logs` and `…/files`: what a plugin has printed, or the service, whose id is `_server`."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Any

from service.api.views import Prepared, tell_time, to_json
from service.errors import InvalidRequest, PluginNotFound
from service.logs.files import LogFiles
from service.logs.lines import LEVELS, SPELLINGS
from service.logs.tail import DEFAULT_LINES, MOST_LINES, Query, read_tail

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response

    from service.logs.lines import Entry
    from service.manager import Manager

SERVER_ID = "_server"
"""Under this id the service's own log is found; no plugin's id begins like this."""
LONGEST_SEARCH = 200
"""In characters."""
_THREADS = 2

HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
"""Plugins choose what is in it: it is for whoever asked, and to be taken for nothing but what it is said to be."""


async def show_log(request: Request[Any]) -> Response:
    """The newest lines."""
    request.state["gate"].check(request)
    plugin_id = request.path_params["plugin_id"]
    query = read_query(request.query_params)
    return _answer(await request.state["logs"].show(plugin_id, query))


async def list_log_files(request: Request[Any]) -> Response:
    """The files that there are."""
    request.state["gate"].check(request)
    return _answer(await request.state["logs"].list_files(request.path_params["plugin_id"]))


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


def read_query(parameters: Mapping[str, str]) -> Query:
    """Which lines a request asks for; an empty parameter counts as none.

    Raises:
        InvalidRequest
    """
    search = parameters.get("search", "")
    if len(search) > LONGEST_SEARCH:
        raise InvalidRequest(f"`search` may have at most {LONGEST_SEARCH} characters")
    return Query(
        lines=read_lines(parameters),
        level=_read_level(parameters.get("level", "")),
        search=search,
        start=_read_time("start_time", parameters),
        end=_read_time("end_time", parameters),
    )


def read_lines(parameters: Mapping[str, str]) -> int:
    """How many lines a request asks for; raises `InvalidRequest`."""
    text = parameters.get("lines") or str(DEFAULT_LINES)
    if not re.fullmatch("[0-9]{1,9}", text) or not 1 <= int(text) <= MOST_LINES:
        raise InvalidRequest(f"`lines` must be a whole number from 1 to {MOST_LINES}")
    return int(text)


def _read_level(text: str) -> str | None:
    if not text:
        return None
    try:
        return SPELLINGS[text.upper()]
    except KeyError:
        raise InvalidRequest(f"`level` must be one of {', '.join(LEVELS)}") from None


def _read_time(name: str, parameters: Mapping[str, str]) -> float | None:
    text = parameters.get(name)
    if not text:
        return None
    # a plus sign that is not written as %2B arrives as a blank
    text = re.sub(r"(?<=[0-9]) (?=[0-9]{2}:?[0-9]{2}$)", "+", text) if len(text) > len("2026-11-22 10:11") else text
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        raise InvalidRequest(
            f"`{name}` must be a time in ISO 8601, such as 2026-11-22T10:11:12 or 2026-11-22T10:11:12+01:00"
        ) from None


def _answer(body: bytes) -> Response:
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **HEADERS}
    return Prepared(body, [(name.lower().encode(), value.encode()) for name, value in headers.items()])
