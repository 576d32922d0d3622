"""Plugins as JSON, rendered when something changes and not for each request.

For clients that may read logs, `detail` of a plugin that has ended says what it has printed last (`reads_logs`). What
is rendered for them differs only while there is such a plugin.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from plugvisor.api.status_fields import make_facts, make_state
from plugvisor.errors import PluginNotFound
from plugvisor.manager.status import describe, report
from plugvisor.models.cluster.node import NodeList
from plugvisor.models.manifest import Metadata
from plugvisor.models.outcome import Outcome
from plugvisor.models.plugin import (
    Author,
    Dependency,
    DependsOn,
    ListedPlugin,
    ProcessStatus,
    StateName,
)
from plugvisor.models.stored.intent import DisabledInfo
from plugvisor.timestamps import format_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from plugvisor.engines.engine import Engine
    from plugvisor.manager.facts import Facts
    from plugvisor.manager.last_lines import LastLines
    from plugvisor.manager.manager import Manager
    from plugvisor.manager.outcome import Outcome as Result
    from plugvisor.manager.status import Report
    from plugvisor.models.lifecycle import Requirement
    from plugvisor.models.process import Process
    from plugvisor.models.stored.intent import Intent
    from plugvisor.plugins.catalog import Plugin

_to_json = msgspec.json.encode


@dataclass(frozen=True)
class Document:
    """A body and its strong entity tag (RFC 9110, 8.8.3)."""

    body: bytes
    etag: str


class Views:
    """Renders the catalog and the process table together. Every method may raise `SupervisorUnavailable`."""

    def __init__(self, manager: Manager, engine: Engine, last_lines: LastLines) -> None:
        self._manager = manager
        self._engine = engine
        self._lines = last_lines
        # by whether they have last lines
        self._lists: dict[bool, tuple[object, Document]] = {}
        self._all: dict[bool, tuple[object, bytes]] = {}
        self._statuses: dict[tuple[str, bool], _RenderedStatus] = {}
        self._items: dict[str, tuple[Plugin, Process | None, Facts | None, Intent | None, bytes]] = {}
        self._items_with_line: dict[str, tuple[bytes, str, bytes]] = {}

    @property
    def has_lines(self) -> bool:
        """Whether any status differs for clients that may read logs."""
        return len(self._lines) > 0

    def has_line(self, plugin_id: str) -> bool:
        """Whether the status of a plugin differs for them."""
        return self.has_lines and bool(self._lines.get(plugin_id, self._engine.read().get(plugin_id)))

    def list_plugins(self, *, reads_logs: bool = False) -> Document:
        """The body of `GET /plugins`: rendered when a plugin or its process has changed."""
        processes = self._engine.read()
        has_lines = reads_logs and self.has_lines
        key = (self._engine.version, self._manager.version, self._lines.version if has_lines else 0)
        known = self._lists.get(has_lines)
        if known is None or known[0] != key:
            items = self._render_items(self._manager.catalog.values(), processes, has_lines=has_lines)
            message = b"" if items else b"no plugins registered"
            body = b'{"plugins":[' + b",".join(items) + b'],"message":"' + message + b'"}'
            self._forget_removed()
            known = self._lists[has_lines] = (key, Document(body, f'"{blake2b(body, digest_size=12).hexdigest()}"'))
        return known[1]

    def show_all(self, *, reads_logs: bool = False) -> tuple[bytes, bytes]:
        """The body of `GET /plugin/status` in two parts: the statuses, rendered at most once a second, and `time`."""
        processes = self._engine.read()
        now = time.monotonic()
        has_lines = reads_logs and self.has_lines
        key = (self._engine.version, self._manager.version, self._lines.version if has_lines else 0, int(now))
        known = self._all.get(has_lines)
        if known is None or known[0] != key:
            parts = [
                b"%b:{%b}" % (_to_json(plugin.id), self._render_status(plugin, processes, now, has_lines).fields)
                for plugin in self._manager.catalog.values()
            ]
            known = self._all[has_lines] = (key, b'{"plugins":{' + b",".join(parts) + b'},"time":"')
        return known[1], format_time().encode() + b'"}'

    def show_one(self, plugin_id: str, *, reads_logs: bool = False) -> bytes:
        """The body of `GET /plugin/status?plugin_id=…`, and the data of the event `status`; raises `PluginNotFound`."""
        plugin = self._manager.catalog.get(plugin_id)
        if plugin is None:
            raise PluginNotFound(plugin_id)
        status = self._render_status(plugin, self._engine.read(), time.monotonic(), reads_logs)
        return status.before_time + format_time().encode() + b'"}'

    def make_snapshot(self, plugin_id: str | None = None, *, reads_logs: bool = False) -> bytes:
        """The data of the event `snapshot`: every plugin, or one, with its process."""
        processes = self._engine.read()
        now = time.monotonic()
        catalog = self._manager.catalog
        plugins = catalog.values() if plugin_id is None else list(filter(None, [catalog.get(plugin_id)]))
        items = self._render_items(plugins, processes, has_lines=reads_logs and self.has_lines)
        for at, plugin in enumerate(plugins):
            process = processes.get(plugin.id)
            if process is not None and process.is_alive:
                items[at] = b'%b,"pid":%d,"uptime":%d}' % (items[at][:-1], process.pid, process.uptime_seconds(now))
        return b'{"plugins":[%b],"time":"%b"}' % (b",".join(items), format_time().encode())

    def show_nodes(self) -> bytes:
        """The body of `GET /nodes`, and the data of the event `nodes`."""
        return _to_json(NodeList(nodes=tuple(self._engine.list_nodes()), time=format_time()))

    def _render_status(
        self, plugin: Plugin, processes: Mapping[str, Process], now: float, has_lines: bool
    ) -> _RenderedStatus:
        """One plugin's status; rendered again only when it or its uptime has changed."""
        process = processes.get(plugin.id)
        uptime = process.uptime_seconds(now) if process is not None and process.is_alive else 0
        facts, intent = self._manager.facts(plugin.id), self._manager.intents.all.get(plugin.id)
        line = self._lines.get(plugin.id, process) if has_lines else ""
        key = (plugin.id, bool(line))
        known = self._statuses.get(key)
        if known is None or known.line != line or not known.is_of(plugin, process, facts, intent, uptime):
            fields = _to_json(make_status(plugin, report(plugin, process, now, facts, line), facts, intent))[1:-1]
            before_time = b'{"plugin_id":' + _to_json(plugin.id) + b"," + fields + b',"time":"'
            known = _RenderedStatus(plugin, process, facts, intent, uptime, line, fields, before_time)
            self._statuses[key] = known
        return known

    def _render_items(
        self, plugins: Iterable[Plugin], processes: Mapping[str, Process], *, has_lines: bool
    ) -> list[bytes]:
        """Plugins as `GET /plugins` lists them: nothing in it changes by time alone."""
        all_facts, intents, rendered = self._manager.all_facts, self._manager.intents.all, self._items
        items = []
        for plugin in plugins:  # thousands, of which one has changed
            plugin_id = plugin.id
            process, facts = processes.get(plugin_id), all_facts.get(plugin_id) if all_facts else None
            intent = intents.get(plugin_id) if intents else None
            known = rendered.get(plugin_id)
            if (
                known is None
                or known[0] is not plugin
                or known[1] is not process
                or known[2] is not facts
                or known[3] is not intent
            ):
                item = _to_json(make_item(plugin, report(plugin, process, 0, facts), facts, intent))
                known = rendered[plugin_id] = (plugin, process, facts, intent, item)
            if has_lines and (line := self._lines.get(plugin_id, process)):
                items.append(self._render_item_with_line(known, line))
            else:
                items.append(known[4])
        return items

    def _render_item_with_line(
        self, rendered: tuple[Plugin, Process | None, Facts | None, Intent | None, bytes], line: str
    ) -> bytes:
        plugin, process, facts, intent, item = rendered
        known = self._items_with_line.get(plugin.id)
        if known is None or known[0] is not item or known[1] != line:
            with_line = _to_json(make_item(plugin, report(plugin, process, 0, facts, line), facts, intent))
            known = self._items_with_line[plugin.id] = (item, line, with_line)
        return known[2]

    def _forget_removed(self) -> None:
        for rendered in (self._items, self._items_with_line, self._statuses):
            if len(rendered) > 3 * len(self._manager.catalog):
                rendered.clear()  # most of them are of plugins that are gone


@dataclass(frozen=True, slots=True)
class _RenderedStatus:
    plugin: Plugin
    process: Process | None
    facts: Facts | None
    intent: Intent | None
    uptime: int
    line: str
    fields: bytes
    before_time: bytes
    """The whole answer about this plugin alone, up to the time."""

    def is_of(
        self, plugin: Plugin, process: Process | None, facts: Facts | None, intent: Intent | None, uptime: int
    ) -> bool:
        """Whether it shows these."""
        is_same_plugin = self.process is process and self.plugin is plugin and self.uptime == uptime
        return is_same_plugin and self.facts is facts and self.intent is intent


def make_item(plugin: Plugin, current: Report, facts: Facts | None, intent: Intent | None) -> ListedPlugin:
    """One item of the list."""
    manifest = plugin.manifest
    metadata = manifest.metadata if manifest else Metadata()
    return ListedPlugin(
        id=plugin.id,
        name=manifest.name if manifest else plugin.id,
        version=manifest.version if manifest else "",
        description=manifest.description if manifest else "",
        enabled=plugin.enabled,
        runtime_enabled=manifest is not None and manifest.enabled,
        runtime_auto_start=manifest is not None and manifest.auto_start,
        author=None if metadata.author is None else Author(**metadata.author),
        dependencies=tuple(msgspec.convert(dependency, Dependency) for dependency in metadata.dependencies),
        sdk_version=metadata.sdk_version,
        sdk_recommended=metadata.sdk_recommended,
        sdk_supported=metadata.sdk_supported,
        sdk_untested=metadata.sdk_untested,
        sdk_conflicts=metadata.sdk_conflicts,
        entries=(),
        depends_on=_make_requirements(manifest.depends_on) if manifest and manifest.depends_on else (),
        dependents=plugin.dependents,
        disabled=DisabledInfo(by=plugin.disabled_by, at=format_time(plugin.disabled_at))
        if plugin.disabled_by
        else UNSET,
        **make_state(plugin, current, facts, intent),
    )


def _make_requirements(depends_on: Mapping[str, Requirement]) -> tuple[DependsOn, ...]:
    return tuple(
        DependsOn(id=name, condition=requirement.condition, required=requirement.required)
        for name, requirement in sorted(depends_on.items())
    )


def make_status(plugin: Plugin, current: Report, facts: Facts | None, intent: Intent | None) -> ProcessStatus:
    """A plugin's status, with its process if one is alive."""
    process: dict[str, Any] = {} if current.pid is None else {"pid": current.pid, "uptime": current.uptime_seconds}
    return ProcessStatus(**make_state(plugin, current, facts, intent), **process)


def make_outcome(plugin_id: str, result: Result, message: str) -> Outcome:
    """The outcome of start, stop or reload; it is about the process, whatever the manifest is like."""
    process = result.process
    state: StateName = process.state.name  # type: ignore[assignment] # a test holds the two against each other
    fields: dict[str, Any] = make_facts(result.facts)
    if detail := describe(process, result.facts):
        fields["detail"] = detail
    if process.is_alive:
        fields["pid"] = process.pid
    if not result.remembered:
        fields["remembered"] = False
    return Outcome(plugin_id=plugin_id, status=process.status, state=state, message=message, **fields)
