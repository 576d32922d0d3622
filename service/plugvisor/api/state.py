"""The contents of `request.state`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypedDict

from plugvisor.errors import PluginNotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from plugvisor.api.auth.gate import Gate
    from plugvisor.api.auth.sessions import Sessions
    from plugvisor.api.endpoint import Route
    from plugvisor.api.event_hub import EventHub
    from plugvisor.api.http.long_requests import LongRequests
    from plugvisor.api.resources.journal.streams import JournalStreams
    from plugvisor.api.resources.logs.files import LogReader
    from plugvisor.api.resources.logs.streams import LogStreams
    from plugvisor.api.views import Views
    from plugvisor.engines.engine import Engine
    from plugvisor.manager.checks.monitor import HealthMonitor
    from plugvisor.manager.identities.identities import Identities
    from plugvisor.manager.installation.configurations import Configurations
    from plugvisor.manager.installation.installations import Installations
    from plugvisor.manager.intents.intents import Intents
    from plugvisor.manager.journal.recorder import Recorder
    from plugvisor.manager.kept_state.keeper import StateKeeper
    from plugvisor.manager.manager import Manager
    from plugvisor.manager.webhooks.webhooks import Webhooks
    from plugvisor.metrics.sampler import Sampler
    from plugvisor.metrics.traffic import Traffic
    from plugvisor.models.stored.identity import Identity
    from plugvisor.plugins.catalog import Plugin
    from plugvisor.settings import Settings
    from plugvisor.store.store import Store


class State(TypedDict):
    """Made by the application's lifespan."""

    settings: Settings
    store: Store
    keeper: StateKeeper
    identities: Identities
    intents: Intents
    recorder: Recorder
    journal_streams: JournalStreams
    engine: Engine
    manager: Manager
    monitor: HealthMonitor
    installations: Installations
    configurations: Configurations
    views: Views
    events: EventHub
    long_requests: LongRequests
    logs: LogReader
    log_streams: LogStreams
    sampler: Sampler
    traffic: Traffic
    gate: Gate
    sessions: Sessions
    routes: Sequence[Route]
    endless: Sequence[Endless]
    """The streams that must end before the service can shut down."""
    webhooks: Webhooks


class Endless(Protocol):
    """Has responses that never end by themselves."""

    def close(self) -> None:
        """End them all, and every later one."""


def get_plugin(request: Request[State]) -> Plugin:
    """The plugin that the path names; raises `PluginNotFound`."""
    plugin_id: str = request.path_params["plugin_id"]
    plugin = request.state["manager"].catalog.get(plugin_id)
    if plugin is None:
        raise PluginNotFound(plugin_id)
    return plugin


def get_identity(request: Request[State]) -> Identity:
    """Who has sent a request whose route needs a role."""
    identity: Identity = request.scope["identity"]
    return identity
