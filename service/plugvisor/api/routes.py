"""The route table: every path of the API, what serves it, who may ask, and what the OpenAPI document says about it."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.routing import BaseRoute, WebSocketRoute

from plugvisor import errors
from plugvisor.api import parameters
from plugvisor.api.endpoint import Answer, Endpoint, EndpointRoute, Route
from plugvisor.api.resources import (
    bulk,
    docs,
    events,
    health,
    identities,
    intents,
    manifest,
    metrics,
    nodes,
    plugins,
    schemas,
)
from plugvisor.api.resources.installation import config, install, operations, queries, versions
from plugvisor.api.resources.journal import pages
from plugvisor.api.resources.journal import streams as journal_streams
from plugvisor.api.resources.logs import files, streams, websocket
from plugvisor.errors import InvalidRequest, PluginNotFound, StartFailed, StopTimeout, SupervisorUnavailable
from plugvisor.models import log, outcome, plugin, problem, server, usage
from plugvisor.models.cluster.node import NodeList
from plugvisor.models.installation.config import Config, ConfigText, ConfigWritten
from plugvisor.models.installation.operation import Operation, OperationList, OperationLog
from plugvisor.models.installation.versions import Versions
from plugvisor.models.stored import identity, journal

if TYPE_CHECKING:
    from plugvisor.models.body import Body

READS = "reads_need_token"
"""The setting by which what is public needs a token."""

OK, CREATED, ACCEPTED, NOT_MODIFIED = HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.ACCEPTED, HTTPStatus.NOT_MODIFIED


def _json(*bodies: type[Body], description: str = "done") -> dict[HTTPStatus, Answer]:
    return {OK: Answer(description, bodies)}


_LISTED = {
    OK: Answer("every plugin", plugin.PluginList, headers=("ETag",)),
    NOT_MODIFIED: Answer("nothing has changed since `If-None-Match`", media_type="", headers=("ETag",)),
}
_STATUS = _json(plugin.PluginStatus, plugin.AllStatuses, description="one or all")
_OUTCOME = _json(outcome.Outcome)
_START_OUTCOME = {**_OUTCOME, ACCEPTED: Answer("it waits for its dependencies", outcome.Outcome)}
_LONG_OUTCOME = {**_OUTCOME, ACCEPTED: Answer("it continues", outcome.Outcome)}
_BULK = _json(outcome.BulkResult)
_GOES_ON = {ACCEPTED: Answer("it continues", Operation, headers=("Location",))}
_INSTALLED = {CREATED: Answer("done", Operation, headers=("Location",)), **_GOES_ON}
_OPERATED = {OK: Answer("done", Operation, headers=("Location",)), **_GOES_ON}
_EVENTS = {
    OK: Answer(
        "an endless stream: snapshot, status, plugins, nodes, operation, unavailable", media_type="text/event-stream"
    )
}
_LOG_EVENTS = {OK: Answer("an endless stream: initial, append", media_type="text/event-stream")}
_ENTRIES = {OK: Answer("an endless stream: entry, gap", media_type="text/event-stream")}
_DOCUMENT = {OK: Answer("OpenAPI 3.1")}
_PAGE = {OK: Answer("the page", media_type="text/html")}
_SCHEMA = {
    OK: Answer("JSON Schema, draft-07", media_type=schemas.MEDIA_TYPE, headers=("ETag",)),
    NOT_MODIFIED: Answer("it is that of `If-None-Match`", media_type="", headers=("ETag",)),
}
_ISSUED = _json(identity.IssuedToken, description="a token, shown this once")
_PROMETHEUS = {OK: Answer("text for Prometheus", media_type="text/plain")}
_TAG = {"If-None-Match": "the `ETag` of an answer before"}
_LAST_EVENT = {"Last-Event-ID": "the last event that was received"}

_FOUND = (PluginNotFound, SupervisorUnavailable)
_CHANGED = (PluginNotFound, InvalidRequest, StopTimeout, SupervisorUnavailable)
_STOPPED = (*_CHANGED, errors.NotRunning)
_STARTED = (
    *_CHANGED,
    errors.AlreadyRunning,
    errors.PluginDisabled,
    errors.InvalidManifest,
    errors.DependencyFailed,
    StartFailed,
)
_SWITCHED = (PluginNotFound, errors.StoreUnavailable)
_BULK_ERRORS = (InvalidRequest, SupervisorUnavailable)
_REFRESHED = (errors.PluginsUnreadable, StartFailed, StopTimeout, SupervisorUnavailable)
_STORED = (errors.StoreUnavailable,)
_LOG_ERRORS = (PluginNotFound, InvalidRequest)
_OPERATION_ERRORS = (
    InvalidRequest,
    errors.OperationCancelled,
    errors.OperationInterrupted,
    errors.TooManyOperations,
    errors.InstallationOff,
    errors.StorageFull,
    errors.NotInstalled,
    *_REFRESHED,
    *_STORED,
)
_INSTALL_ERRORS = (
    *_STARTED,
    *_OPERATION_ERRORS,
    errors.AlreadyInstalled,
    errors.InvalidPackage,
    errors.ChecksumMismatch,
    errors.BuildFailed,
    errors.UnsupportedMediaType,
)
_CONFIG_TEXT = {
    OK: Answer("the text", media_type="application/toml", headers=("ETag",)),
    NOT_MODIFIED: Answer("it is that of `If-None-Match`", media_type="", headers=("ETag",)),
}
_CONFIG_ERRORS = (PluginNotFound, errors.InvalidManifest, InvalidRequest)
_WRITE_ERRORS = (
    *_CONFIG_ERRORS,
    errors.NotWritable,
    errors.OperationInterrupted,
    errors.PreconditionFailed,
    errors.StorageFull,
    *_STORED,
    SupervisorUnavailable,
    errors.TooManyOperations,
    errors.UnsupportedMediaType,
)

# fmt: off
ROUTES: tuple[Route, ...] = (
    Route(method="GET", path="/plugins", handler=plugins.list_plugins, answers=_LISTED,
          headers=_TAG, errors=(SupervisorUnavailable,),
          role="viewer", role_setting=READS),
    Route(method="GET", path="/plugin/status", handler=plugins.show_status, answers=_STATUS,
          query=parameters.PluginQuery, errors=_FOUND,
          role="viewer", role_setting=READS),
    Route(method="GET", path="/events", handler=events.open_events, answers=_EVENTS,
          query=parameters.PluginQuery, headers=_LAST_EVENT, errors=(*_FOUND, errors.TooManyStreams),
          role="viewer", role_setting=READS),
    Route(method="POST", path="/plugin/{plugin_id}/start", handler=plugins.start_plugin, answers=_START_OUTCOME,
          role="operator", query=parameters.WaitQuery, errors=_STARTED),
    Route(method="POST", path="/plugin/{plugin_id}/stop", handler=plugins.stop_plugin, answers=_LONG_OUTCOME,
          role="operator", query=parameters.StopQuery, errors=_STOPPED),
    Route(method="POST", path="/plugin/{plugin_id}/reload", handler=plugins.reload_plugin, answers=_LONG_OUTCOME,
          role="operator", query=parameters.WaitQuery, errors=_STARTED),
    Route(method="POST", path="/plugin/{plugin_id}/disable", handler=intents.disable_plugin, answers=_LONG_OUTCOME,
          role="operator", query=parameters.WaitQuery, errors=_CHANGED),
    Route(method="POST", path="/plugin/{plugin_id}/enable", handler=intents.enable_plugin,
          answers=_json(outcome.Switched), role="operator", errors=_SWITCHED),
    Route(method="DELETE", path="/plugin/{plugin_id}/intent", handler=intents.forget_intent,
          answers=_json(outcome.Switched), role="operator", errors=_SWITCHED),
    Route(method="POST", path="/plugins/refresh", handler=plugins.refresh_plugins, answers=_json(outcome.RefreshResult),
          role="operator", errors=_REFRESHED),
    Route(method="POST", path="/plugins/start", handler=bulk.start_plugins, answers=_BULK,
          role="operator", query=parameters.WaitQuery, body=outcome.PluginIds, errors=_BULK_ERRORS),
    Route(method="POST", path="/plugins/stop", handler=bulk.stop_plugins, answers=_BULK,
          role="operator", query=parameters.StopQuery, body=outcome.PluginIds, errors=_BULK_ERRORS),
    Route(method="POST", path="/plugins/reload", handler=bulk.reload_plugins, answers=_BULK,
          role="operator", query=parameters.WaitQuery, body=outcome.PluginIds, errors=_BULK_ERRORS),
    Route(method="POST", path="/plugins/install", handler=install.install_plugin, answers=_INSTALLED,
          role="admin", query=queries.InstallQuery, streamed=install.PACKAGE_TYPES, errors=_INSTALL_ERRORS),
    Route(method="POST", path="/plugin/{plugin_id}/rollback", handler=versions.roll_back_plugin, answers=_OPERATED,
          role="admin", query=parameters.WaitQuery,
          errors=(*_STARTED, *_OPERATION_ERRORS, errors.NoPreviousVersion)),
    Route(method="GET", path="/plugin/{plugin_id}/versions", handler=versions.list_versions, answers=_json(Versions),
          role="admin", errors=(PluginNotFound, errors.NotInstalled)),
    Route(method="GET", path="/plugin/{plugin_id}/config", handler=config.show_config, answers=_json(Config),
          role="admin", errors=(PluginNotFound,)),
    Route(method="GET", path="/plugin/{plugin_id}/config/toml", handler=config.show_config_text, answers=_CONFIG_TEXT,
          role="admin", query=queries.ConfigQuery, headers=_TAG, errors=_CONFIG_ERRORS),
    Route(method="PUT", path="/plugin/{plugin_id}/config/toml", handler=config.replace_config,
          answers={OK: Answer("done", ConfigWritten, headers=("ETag",))},
          role="admin", headers={"If-Match": "the `ETag` of the text that is to be replaced"},
          body=ConfigText, texts=config.TEXT_TYPES, example=config.EXAMPLE, errors=_WRITE_ERRORS),
    Route(method="GET", path="/operations", handler=operations.list_operations, answers=_json(OperationList),
          role="admin", query=queries.OperationsQuery, errors=(InvalidRequest,)),
    Route(method="GET", path="/operations/{operation_id}", handler=operations.show_operation,
          answers=_json(OperationLog), role="admin", errors=(errors.OperationNotFound,)),
    Route(method="DELETE", path="/operations/{operation_id}", handler=operations.cancel_operation,
          answers=_json(Operation), role="admin", errors=(errors.OperationNotFound, errors.NotCancellable)),
    Route(method="GET", path="/nodes", handler=nodes.list_nodes, answers=_json(NodeList),
          errors=(SupervisorUnavailable,),
          role="viewer", role_setting=READS),
    Route(method="GET", path="/health", handler=health.show_liveness, answers=_json(server.Liveness),
          role=None),
    Route(method="GET", path="/available", handler=health.show_readiness, answers=_json(server.Readiness),
          errors=(SupervisorUnavailable,), unusual={SupervisorUnavailable: problem.Unavailable},
          role="viewer", role_setting=READS),
    Route(method="GET", path="/server/info", handler=health.show_server, answers=_json(server.ServerInfo),
          role="viewer", errors=(SupervisorUnavailable,)),
    Route(method="GET", path="/metrics", handler=metrics.show_metrics, answers=_PROMETHEUS,
          role="viewer", role_setting="metrics_need_token"),
    Route(method="GET", path="/plugin/{plugin_id}/health", handler=health.show_plugin_health,
          answers=_json(plugin.PluginHealth), errors=_FOUND,
          role="viewer", role_setting=READS),
    Route(method="GET", path="/plugin/{plugin_id}/manifest", handler=manifest.show_manifest,
          answers=_json(plugin.PluginManifest), role="viewer", errors=(PluginNotFound,)),
    Route(method="GET", path="/plugin/{plugin_id}/logs", handler=files.show_log, answers=_json(log.Log),
          role="viewer", query=parameters.LogQuery, errors=_LOG_ERRORS),
    Route(method="GET", path="/plugin/{plugin_id}/logs/files", handler=files.list_log_files,
          answers=_json(log.LogFileList), role="viewer", errors=(PluginNotFound,)),
    Route(method="GET", path="/plugin/{plugin_id}/logs/stream", handler=streams.stream_log, answers=_LOG_EVENTS,
          role="viewer", query=parameters.LogStreamQuery, headers=_LAST_EVENT,
          errors=(*_LOG_ERRORS, errors.TooManyStreams)),
    Route(method="GET", path="/plugin/metrics", handler=metrics.list_usages, answers=_json(usage.AllUsage),
          role="viewer", errors=(SupervisorUnavailable, errors.NotSupported)),
    # after the paths that begin with a plugin's id: one may be named `metrics`
    Route(method="GET", path="/plugin/metrics/{plugin_id}", handler=metrics.show_usage,
          answers=_json(usage.CurrentUsage), role="viewer", errors=(*_FOUND, errors.NotSupported)),
    Route(method="GET", path="/plugin/metrics/{plugin_id}/history", handler=metrics.list_usage_history,
          answers=_json(usage.UsageHistory), role="viewer", query=parameters.HistoryQuery,
          errors=(*_FOUND, InvalidRequest, errors.NotSupported)),
    # after those of one part: a plugin may be named as that is, and `Allow` is about the first path that matches
    Route(method="DELETE", path="/plugin/{plugin_id}", handler=versions.uninstall_plugin, answers=_OPERATED,
          role="admin", query=queries.UninstallQuery, errors=(PluginNotFound, *_OPERATION_ERRORS)),
    Route(method="GET", path="/journal", handler=pages.list_entries, answers=_json(journal.Journal),
          role="viewer", query=parameters.JournalQuery, errors=(InvalidRequest, errors.StoreUnavailable)),
    Route(method="GET", path="/journal/stream", handler=journal_streams.stream_entries, answers=_ENTRIES,
          role="viewer", query=parameters.EntriesQuery, headers=_LAST_EVENT,
          errors=(InvalidRequest, errors.TooManyStreams)),
    Route(method="GET", path="/whoami", handler=identities.show_identity, answers=_json(identity.WhoAmI),
          role="viewer"),
    Route(method="GET", path="/identities", handler=identities.list_identities, answers=_json(identity.IdentityList),
          role="admin"),
    Route(method="POST", path="/identities", handler=identities.add_identity, answers=_ISSUED,
          role="admin", body=identity.NewIdentity, example='{"name": "ops", "role": "operator"}',
          errors=(InvalidRequest, errors.IdentityExists, *_STORED)),
    Route(method="POST", path="/identities/admin/rotate", handler=identities.rotate_admin_code, answers=_ISSUED,
          role="admin", errors=_STORED),
    Route(method="DELETE", path="/identities/{name}", handler=identities.remove_identity,
          answers=_json(identity.IdentityInfo),
          role="admin", errors=(InvalidRequest, errors.IdentityNotFound, *_STORED)),
    Route(method="POST", path="/identities/{name}/rotate", handler=identities.rotate_identity, answers=_ISSUED,
          role="admin", errors=(InvalidRequest, errors.IdentityNotFound, *_STORED)),
    Route(method="GET", path="/schemas/plugin.toml.json", handler=schemas.show_manifest_schema, answers=_SCHEMA,
          role=None, headers=_TAG),
    Route(method="GET", path="/openapi.json", handler=docs.show_openapi, answers=_DOCUMENT,
          role="viewer", role_setting=READS),
    Route(method="GET", path="/docs", handler=docs.show_docs, answers=_PAGE,
          role="viewer", role_setting=READS),
)
# fmt: on

STREAMED_BODIES = frozenset((route.method, route.path) for route in ROUTES if route.streamed)
"""Method and path of those whose handlers take the body as it comes."""


def make_routes() -> list[BaseRoute]:
    """Every path of the API."""
    return [
        *(EndpointRoute(route, Endpoint(route)) for route in ROUTES),
        WebSocketRoute("/ws/logs/{plugin_id}", websocket.follow_log_by_websocket),  # OpenAPI has only text for it
    ]
