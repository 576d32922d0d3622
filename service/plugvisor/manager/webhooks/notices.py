"""Finds in the changes of plugins what a webhook is sent for."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from msgspec import UNSET

from plugvisor.errors import SupervisorUnavailable
from plugvisor.manager.limit_watch import REASONS
from plugvisor.manager.status import report
from plugvisor.models.health import Health
from plugvisor.models.plugin import show_exit
from plugvisor.models.process import ProcessState, Status
from plugvisor.models.stored.webhook import WebhookData

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from plugvisor.engines.engine import Engine
    from plugvisor.manager.manager import Manager
    from plugvisor.manager.status import Report
    from plugvisor.manager.webhooks.troubled import Troubled
    from plugvisor.models.process import Exit, Process
    from plugvisor.models.stored.webhook import WebhookKind
    from plugvisor.plugins.catalog import Plugin

logger = logging.getLogger(__name__)

_LONGEST_DETAIL = 2048
"""In characters: thousands of messages may be waiting."""


class Seen(NamedTuple):
    """The facts that decide whether there is something to send."""

    status: Status = Status.STOPPED
    state: ProcessState = ProcessState.STOPPED
    health: Health | None = None
    last_exit: Exit | None = None

    @property
    def is_in_trouble(self) -> bool:
        """Whether there is something to recover from."""
        return self.status is Status.ERROR or self.health is Health.UNHEALTHY

    @property
    def is_well(self) -> bool:
        """Whether it runs, and if it has checks, is healthy."""
        return self.status is Status.RUNNING and self.health in (None, Health.HEALTHY)


def find_kinds(before: Seen, now: Seen) -> list[WebhookKind]:
    """The kinds of messages for a change from one moment to the next; a recovery is not among them."""
    kinds: list[WebhookKind] = []
    if now.last_exit != before.last_exit and now.last_exit is not None and now.last_exit.reason in REASONS.values():
        kinds.append("plugin.limit")
    if now.state is ProcessState.FATAL and before.state is not ProcessState.FATAL:
        kinds.append("plugin.given_up")
    elif now.status is Status.ERROR and before.status is not Status.ERROR:
        kinds.append("plugin.error")
    if now.health is Health.UNHEALTHY and before.health is not Health.UNHEALTHY:
        kinds.append("plugin.unhealthy")
    return kinds


class Notices:
    """Follows every plugin from `open` to `close`.

    Args:
        troubled: which plugins were in trouble before the first snapshot.
        on_notice: called for each thing that has happened.
    """

    def __init__(
        self,
        manager: Manager,
        engine: Engine,
        troubled: Troubled,
        on_notice: Callable[[WebhookKind, WebhookData], object],
    ) -> None:
        self._manager = manager
        self._engine = engine
        self._troubled = troubled
        self._on_notice = on_notice
        self._seen: dict[str, Seen] = {}
        self._catalog: Mapping[str, Plugin] | None = None
        """Of the last look at all; None before the first snapshot."""

    def open(self) -> None:
        """Begin to follow the plugins."""
        self._engine.on_change.append(self._follow)
        self._manager.on_facts.append(self._follow)
        self._manager.on_change.append(self._follow_catalog)
        self._follow()

    def close(self) -> None:
        """Follow them no more."""
        self._engine.on_change.remove(self._follow)
        self._manager.on_facts.remove(self._follow)
        self._manager.on_change.remove(self._follow_catalog)

    def _follow(self, plugin_id: str | None = None) -> None:
        """A plugin has changed, or with None every one may have."""
        self._guard(self._look_at_all if plugin_id is None or self._catalog is None else partial(self._look, plugin_id))

    def _follow_catalog(self) -> None:
        """Some plugins were read again; a refresh can say that once for each."""
        self._guard(self._look_at_all if self._catalog is None else self._look_at_others)

    def _guard(self, look: Callable[[], object]) -> None:
        try:
            look()
        except SupervisorUnavailable:
            return  # when it is back, everything may have changed
        except Exception:
            logger.exception("cannot follow the plugins for webhooks")

    def _look_at_all(self) -> None:
        processes = self._engine.read()
        is_first = self._catalog is None
        self._take_catalog()
        for plugin in self._manager.catalog.values():
            self._look_at(plugin, processes.get(plugin.id), is_first=is_first)

    def _look_at_others(self) -> None:
        processes, before = self._engine.read(), self._catalog or {}
        self._take_catalog()
        for plugin in self._manager.catalog.values():
            if plugin is not before.get(plugin.id):
                self._look_at(plugin, processes.get(plugin.id))

    def _look(self, plugin_id: str) -> None:
        process = self._engine.read().get(plugin_id)
        if plugin_id in self._manager.catalog:
            self._look_at(self._manager.catalog[plugin_id], process)

    def _take_catalog(self) -> None:
        """Forget the plugins that are gone."""
        self._catalog = self._manager.catalog
        for plugin_id in self._seen.keys() - self._catalog.keys():
            del self._seen[plugin_id]
        self._troubled.keep(self._catalog)

    def _look_at(self, plugin: Plugin, process: Process | None, *, is_first: bool = False) -> None:
        facts = self._manager.facts(plugin.id)
        shown = report(plugin, process, time.monotonic(), facts)
        now = Seen(shown.status, shown.state, facts.health if facts else None, shown.process.last_exit)
        if is_first:
            # it is news if the service before this one has not seen it
            is_news = self._troubled.is_known and plugin.id not in self._troubled
            before = Seen() if is_news and now.is_in_trouble else now
        else:
            before = self._seen.get(plugin.id, Seen(last_exit=now.last_exit))
            if now == before:
                return
        self._seen[plugin.id] = now
        kinds = find_kinds(before, now)
        if now.is_in_trouble:
            self._troubled.add(plugin.id)
        elif now.is_well and plugin.id in self._troubled:
            self._troubled.remove(plugin.id)
            kinds.append("plugin.recovered")
        for kind in kinds:
            self._on_notice(kind, _make_data(plugin.id, shown, now.health))


def _make_data(plugin_id: str, shown: Report, health: Health | None) -> WebhookData:
    last_exit = shown.process.last_exit
    return WebhookData(
        plugin_id=plugin_id,
        status=shown.status,
        state=shown.state.name,  # type: ignore[arg-type] # a test holds the two against each other
        detail=shown.detail[:_LONGEST_DETAIL] or UNSET,
        health=health or UNSET,
        last_exit=show_exit(last_exit, _format_time(last_exit.at)) if last_exit else UNSET,
        since=_format_time(time.time()),
    )


def _format_time(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
