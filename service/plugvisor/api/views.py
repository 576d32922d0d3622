"""What the API shows of plugins, as JSON; kept serialised until something changes."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from plugvisor.errors import PluginNotFound
from plugvisor.manager.status import Report, report
from plugvisor.models.process import NEVER_ADDED
from plugvisor.plugins.metadata import Metadata

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Receive, Scope, Send

    from plugvisor.engines.engine import Engine
    from plugvisor.manager.manager import Manager
    from plugvisor.models.process import Process
    from plugvisor.plugins.catalog import Plugin


REVALIDATE = {"Cache-Control": "no-cache"}
"""To be kept, and to be asked for with the tag each time."""


_JSON = (b"content-type", b"application/json")
_DEAR_TO_COPY_BYTES = 32 * 1024
"""Joining two parts of less costs less than sending them one by one; with 1,000 plugins it is a tenth of an answer."""


class Prepared(Response):
    """A JSON answer whose headers are known already: writing them takes as long as all the rest."""

    def __init__(self, body: bytes, headers: list[tuple[bytes, bytes]] | None = None, rest: bytes = b"") -> None:
        self.status_code = 200
        self.background = None
        self.body, self.rest = (body + rest, b"") if len(body) < _DEAR_TO_COPY_BYTES else (body, rest)
        self.raw_headers = headers or [(b"content-length", b"%d" % (len(body) + len(rest))), _JSON]

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send the body, and then the rest where they were not joined."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": bool(self.rest)})
        if self.rest:
            await send({"type": "http.response.body", "body": self.rest})


@dataclass(frozen=True)
class Document:
    """A body, its strong entity tag (RFC 9110, 8.8.3) and all the headers that go with it."""

    body: bytes
    etag: str
    headers: list[tuple[bytes, bytes]]


class Views:
    """Puts the catalog and the process table together. Every method may raise `SupervisorUnavailable`."""

    def __init__(self, manager: Manager, engine: Engine) -> None:
        self._manager = manager
        self._engine = engine
        self._list: tuple[object, Document] | None = None
        self._all: tuple[object, bytes] | None = None
        self._fragments: dict[str, _Fragment] = {}
        self._items: dict[str, tuple[Plugin, Process | None, bytes]] = {}

    async def list_plugins(self) -> Document:
        """The body of `GET /plugins`: rebuilt only when a plugin or its process has changed."""
        key = self._key()
        if key is not None and self._list is not None and self._list[0] == key:
            return self._list[1]
        processes = self._engine.read()
        items = [self._list_item(plugin, processes.get(plugin.id)) for plugin in self._manager.catalog.values()]
        message = b"" if items else b"no plugins registered"
        body = b'{"plugins":[' + b",".join(items) + b'],"message":"' + message + b'"}'
        if len(self._items) > 2 * len(items):
            self._items.clear()  # most of them are of plugins that are gone
        etag = f'"{blake2b(body, digest_size=12).hexdigest()}"'
        more = {"Content-Length": str(len(body)), "ETag": etag, **REVALIDATE}
        headers = [_JSON, *((name.lower().encode(), value.encode()) for name, value in more.items())]
        document = Document(body, etag, headers)
        self._list = (
            key,
            document,
        )  # the key of before: what has changed while the process table was read must not be missed
        return document

    async def show_all(self) -> tuple[bytes, bytes]:
        """The body of `GET /plugin/status`, in two parts.

        All but `time`, which is in the second, is put together at a change, or every second for uptimes.
        """
        now = time.monotonic()
        key = (self._key(), int(now))
        if key[0] is None or self._all is None or self._all[0] != key:
            processes = self._engine.read()
            catalog = self._manager.catalog
            parts = [
                to_json(plugin.id) + b":{" + self._describe(plugin, processes, now).fields + b"}"
                for plugin in catalog.values()
            ]
            self._all = (key, b'{"plugins":{' + b",".join(parts) + b'},"time":"')
            if len(self._fragments) > 2 * len(catalog):
                self._fragments.clear()  # most of them are of plugins that are gone
        return self._all[1], tell_time().encode() + b'"}'

    async def show_one(self, plugin_id: str) -> bytes:
        """The body of `GET /plugin/status?plugin_id=…`; raises `PluginNotFound`."""
        plugin = self._manager.catalog.get(plugin_id)
        if plugin is None:
            raise PluginNotFound(plugin_id)
        fragment = self._describe(plugin, self._engine.read(), time.monotonic())
        return fragment.before_time + tell_time().encode() + b'"}'

    def _describe(self, plugin: Plugin, processes: Mapping[str, Process], now: float) -> _Fragment:
        """The fields of one plugin's status; serialised anew only when they or its uptime have changed."""
        process = processes.get(plugin.id)
        uptime = process.uptime_seconds(now) if process is not None and process.is_alive else 0
        known = self._fragments.get(plugin.id)
        if known is None or known.process is not process or known.plugin is not plugin or known.uptime != uptime:
            fields = to_json(describe_status(report(plugin, process, now)))[1:-1]
            before_time = b'{"plugin_id":' + to_json(plugin.id) + b"," + fields + b',"time":"'
            known = self._fragments[plugin.id] = _Fragment(plugin, process, uptime, fields, before_time)
        return known

    def _list_item(self, plugin: Plugin, process: Process | None) -> bytes:
        """A plugin as `GET /plugins` lists it: nothing in it changes by time alone."""
        known = self._items.get(plugin.id)
        if known is None or known[0] is not plugin or known[1] is not process:
            item = to_json(describe_plugin(plugin, report(plugin, process, 0)))
            known = self._items[plugin.id] = (plugin, process, item)
        return known[2]

    def _key(self) -> tuple[int, int] | None:
        """Changes whenever the catalog or the process table may have; None where only asking tells."""
        return (self._engine.version, self._manager.version) if self._engine.is_live else None


def describe_outcome(plugin_id: str, process: Process, message: str) -> dict[str, Any]:
    """The body of an answer to start, stop or reload: it is about the process, whatever the manifest is like."""
    fields: dict[str, Any] = {"plugin_id": plugin_id, "status": process.status, "state": process.state.name}
    if process.detail:
        fields["detail"] = process.detail
    fields["message"] = message
    return {**fields, "pid": process.pid} if process.is_alive else fields


def describe_plugin(plugin: Plugin, told: Report) -> dict[str, Any]:
    """One item of the list."""
    manifest = plugin.manifest
    metadata = manifest.metadata if manifest else Metadata()
    return {
        "id": plugin.id,
        "name": manifest.name if manifest else plugin.id,
        "version": manifest.version if manifest else "",
        "description": manifest.description if manifest else "",
        "enabled": plugin.enabled,
        "runtime_enabled": manifest is not None and manifest.enabled,
        "runtime_auto_start": manifest is not None and manifest.auto_start,
        "author": metadata.author,
        "dependencies": metadata.dependencies,
        "sdk_version": metadata.sdk_version,
        "sdk_recommended": metadata.sdk_recommended,
        "sdk_supported": metadata.sdk_supported,
        "sdk_untested": metadata.sdk_untested,
        "sdk_conflicts": metadata.sdk_conflicts,
        "entries": (),
        **_describe_state(told),
    }


def describe_status(told: Report) -> dict[str, Any]:
    """A plugin's status, with its process where one is alive."""
    fields = _describe_state(told)
    return fields if told.pid is None else {**fields, "pid": told.pid, "uptime": told.uptime_seconds}


def _describe_state(told: Report) -> dict[str, Any]:
    fields: dict[str, Any] = {"status": told.status, "state": told.state.name}
    if told.detail:
        fields["detail"] = told.detail
    process = told.process
    if process is not NEVER_ADDED:
        fields["restarts"] = process.restarts
        if (last_exit := process.last_exit) is not None:
            how = {"signal": last_exit.signal} if last_exit.signal else {"code": last_exit.code}
            fields["last_exit"] = {**how, "at": tell_time(last_exit.at)}
        if process.retry_at is not None:
            fields["retry_at"] = tell_time(process.retry_at)
        if process.flapping:
            fields["flapping"] = True
    return fields


@dataclass(frozen=True, slots=True)
class _Fragment:
    plugin: Plugin
    process: Process | None
    uptime: int
    fields: bytes
    before_time: bytes
    """The whole answer about this plugin alone, up to the time."""


def tell_time(timestamp: float | None = None) -> str:
    """ISO 8601 with microseconds and the local offset; now, or at seconds since 1970."""
    seconds, microseconds = divmod(to_microseconds(time.time() if timestamp is None else timestamp), 1_000_000)
    date_and_time, offset = _tell_second(seconds)
    return f"{date_and_time}.{microseconds:06}{offset}"


def to_microseconds(timestamp: float) -> int:
    """The whole microseconds of seconds since 1970, as they are told."""
    return int(timestamp * 1_000_000)


@lru_cache(maxsize=16)
def _tell_second(seconds: int) -> tuple[str, str]:
    """Looking the time zone up takes longer than all the rest of an answer."""
    moment = datetime.fromtimestamp(seconds, UTC).astimezone()
    return moment.strftime("%Y-%m-%dT%H:%M:%S"), moment.isoformat()[19:]


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def to_json(value: object) -> bytes:
    """As Starlette's `JSONResponse` writes it."""
    return _encode(value).encode()
