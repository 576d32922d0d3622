"""The route table: every path of the API, what answers it, and what the OpenAPI document tells of it."""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.routing import BaseRoute, Route, WebSocketRoute

from plugvisor.api.counted import Counted
from plugvisor.api.endpoint import LONGEST_WAIT_SECONDS
from plugvisor.api.openapi import Answer, Operation, Parameter, make_document
from plugvisor.api.resources.bulk import reload_plugins, start_plugins, stop_plugins
from plugvisor.api.resources.docs import make_docs
from plugvisor.api.resources.health import show_liveness, show_plugin_health, show_readiness, show_server
from plugvisor.api.resources.log_endpoints import (
    LONGEST_SEARCH,
    follow_log_by_websocket,
    list_log_files,
    show_log,
    stream_log,
)
from plugvisor.api.resources.manifest import show_manifest
from plugvisor.api.resources.metrics import list_usage_history, list_usages, show_usage
from plugvisor.api.resources.plugins import (
    list_plugins,
    open_events,
    refresh_plugins,
    reload_plugin,
    show_status,
    start_plugin,
    stop_plugin,
)
from plugvisor.api.resources.prometheus import show_metrics
from plugvisor.api.schemas import STRING, or_empty, ref
from plugvisor.api.views import Prepared, to_json
from plugvisor.errors import (
    AlreadyRunning,
    InvalidManifest,
    InvalidRequest,
    NotRunning,
    PluginDisabled,
    PluginNotFound,
    PluginsUnreadable,
    StartFailed,
    StopTimeout,
    SupervisorUnavailable,
    TooManyStreams,
)
from plugvisor.logs.tail import MOST_LINES
from plugvisor.metrics.history import KEPT_SAMPLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from plugvisor.api.endpoint import State


async def show_openapi(_request: Request[State]) -> Response:
    """This document."""
    return Prepared(_write_document())


async def show_docs(_request: Request[State]) -> Response:
    """A page that shows this document and sends requests."""
    return make_docs()


OK, ACCEPTED = HTTPStatus.OK, HTTPStatus.ACCEPTED
_WAIT = Parameter(
    "wait",
    "seconds to wait for the final state",
    or_empty({"type": "number", "minimum": 0, "maximum": LONGEST_WAIT_SECONDS}),
)
_PLUGIN_ID = Parameter("plugin_id", "one plugin; empty or absent: all", STRING)
_PERIOD = (
    Parameter("start_time", "none before this: ISO 8601", STRING),
    Parameter("end_time", "none after this: ISO 8601", STRING),
)
_HISTORY = (
    Parameter(
        "limit", "at most so many, the newest", or_empty({"type": "integer", "minimum": 1, "maximum": KEPT_SAMPLES})
    ),
    *_PERIOD,
)
_LINES = Parameter("lines", "the newest so many", or_empty({"type": "integer", "minimum": 1, "maximum": MOST_LINES}))
_LOG = (
    _LINES,
    Parameter("level", "only of this level", STRING),
    Parameter("search", "only with this in it", {"type": "string", "maxLength": LONGEST_SEARCH}),
    *_PERIOD,
)
_LOG_ERRORS = (PluginNotFound, InvalidRequest)
_STREAM = Answer("an endless stream: snapshot, status, plugins, unavailable", STRING, "text/event-stream")
_FOUND = (PluginNotFound, SupervisorUnavailable)
_CHANGED = (PluginNotFound, InvalidRequest, StopTimeout, SupervisorUnavailable)
_STARTED = (*_CHANGED, AlreadyRunning, PluginDisabled, InvalidManifest, StartFailed)
_MANY = (InvalidRequest, SupervisorUnavailable)


def _answer(component: str, description: str = "done") -> dict[HTTPStatus, Answer]:
    return {OK: Answer(description, ref(component))}


_LISTED = {
    OK: Answer("every plugin", ref("PluginList"), headers=("ETag",)),
    HTTPStatus.NOT_MODIFIED: Answer("nothing has changed since `If-None-Match`", headers=("ETag",)),
}
_STATUS = {OK: Answer("one or all", {"oneOf": [ref("PluginStatus"), ref("StatusOfAll")]})}
_GOES_ON = _answer("Outcome") | {ACCEPTED: Answer("it goes on", ref("Outcome"))}
_TEXT = {OK: Answer("text for Prometheus", STRING, "text/plain")}
_PAGE = {OK: Answer("the page", STRING, "text/html")}
_TAG = Parameter("If-None-Match", "the `ETag` of an answer before", STRING, "header")
_LAST_EVENT = Parameter("Last-Event-ID", "the last event that was received", STRING, "header")

OPERATIONS: Sequence[Operation] = (
    Operation("GET", "/plugins", list_plugins, _LISTED, (SupervisorUnavailable,), (_TAG,)),
    Operation("GET", "/plugin/status", show_status, _STATUS, _FOUND, (_PLUGIN_ID,)),
    Operation("GET", "/events", open_events, {OK: _STREAM}, _FOUND, (_PLUGIN_ID, _LAST_EVENT)),
    Operation("POST", "/plugin/{plugin_id}/start", start_plugin, _answer("Outcome"), _STARTED, (_WAIT,), True),
    Operation("POST", "/plugin/{plugin_id}/stop", stop_plugin, _GOES_ON, (*_CHANGED, NotRunning), (_WAIT,), True),
    Operation("POST", "/plugin/{plugin_id}/reload", reload_plugin, _GOES_ON, _STARTED, (_WAIT,), True),
    Operation(
        "POST",
        "/plugins/refresh",
        refresh_plugins,
        _answer("Refreshed"),
        (PluginsUnreadable, StartFailed, StopTimeout, SupervisorUnavailable),
        needs_code=True,
    ),
    Operation("POST", "/plugins/start", start_plugins, _answer("Results"), _MANY, (_WAIT,), True, "PluginIds"),
    Operation("POST", "/plugins/stop", stop_plugins, _answer("Results"), _MANY, (_WAIT,), True, "PluginIds"),
    Operation("POST", "/plugins/reload", reload_plugins, _answer("Results"), _MANY, (_WAIT,), True, "PluginIds"),
    Operation("GET", "/health", show_liveness, _answer("Liveness", "it lives")),
    Operation(
        "GET",
        "/available",
        show_readiness,
        _answer("Readiness", "it is ready"),
        (SupervisorUnavailable,),
        unusual={SupervisorUnavailable: "Unavailable"},
    ),
    Operation("GET", "/server/info", show_server, _answer("ServerInfo"), (SupervisorUnavailable,), needs_code=True),
    Operation("GET", "/metrics", show_metrics, _TEXT, needs_code=None),
    # these before /plugin/metrics/{plugin_id}: a plugin may be named `metrics`
    Operation("GET", "/plugin/{plugin_id}/health", show_plugin_health, _answer("PluginHealth"), _FOUND),
    Operation("GET", "/plugin/{plugin_id}/logs", show_log, _answer("Log"), _LOG_ERRORS, _LOG, True),
    Operation(
        "GET", "/plugin/{plugin_id}/logs/files", list_log_files, _answer("LogFiles"), (PluginNotFound,), (), True
    ),
    Operation(
        "GET",
        "/plugin/{plugin_id}/logs/stream",
        stream_log,
        {OK: Answer("an endless stream: initial, append", STRING, "text/event-stream")},
        (*_LOG_ERRORS, TooManyStreams),
        (_LINES, _LAST_EVENT),
        needs_code=True,
    ),
    Operation("GET", "/plugin/metrics", list_usages, _answer("Usages"), (SupervisorUnavailable,), needs_code=True),
    Operation("GET", "/plugin/metrics/{plugin_id}", show_usage, _answer("PluginUsage"), _FOUND, needs_code=True),
    Operation(
        "GET",
        "/plugin/metrics/{plugin_id}/history",
        list_usage_history,
        _answer("UsageHistory"),
        (*_FOUND, InvalidRequest),
        _HISTORY,
        needs_code=True,
    ),
    Operation(
        "GET",
        "/plugin/{plugin_id}/manifest",
        show_manifest,
        _answer("PluginManifest"),
        (PluginNotFound,),
        needs_code=True,
    ),
    Operation("GET", "/openapi.json", show_openapi, {OK: Answer("OpenAPI 3.1", {"type": "object"})}),
    Operation("GET", "/docs", show_docs, _PAGE),
)


def make_routes() -> list[BaseRoute]:
    """Every path of the API."""
    return [
        *(
            Route(one.path, Counted(one.handler, one.path), methods=[one.method], name=one.handler.__name__)
            for one in OPERATIONS
        ),
        WebSocketRoute("/ws/logs/{plugin_id}", follow_log_by_websocket),  # OpenAPI has no words for it but text
    ]


@cache
def _write_document() -> bytes:
    return to_json(make_document(OPERATIONS))
