"""Plugins in the front end's words."""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta
from starlette.responses import Response

from plugvisor.api.auth.permissions import may_read_logs
from plugvisor.api.dialects.neko.bodies import NekoMessages
from plugvisor.api.parameters import DEFAULT_SAMPLES, LONGEST_WAIT_SECONDS, PeriodQuery, PluginQuery, WaitQuery
from plugvisor.api.resources import bulk, intents, metrics, plugins
from plugvisor.api.resources.logs import files
from plugvisor.api.responses import REVALIDATE, JsonResponse, knows_tag, respond
from plugvisor.errors import PluginNotFound
from plugvisor.timestamps import format_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from plugvisor.api.parameters import HistoryQuery, StopQuery
    from plugvisor.api.state import State
    from plugvisor.models.outcome import PluginIds

WAIT_SECONDS = 10.0
"""The front end asks for the status right after a start, and then no more."""
MOST_SAMPLES = 1000
SOURCE = "plugvisor"
_ALIVE = ("running", "starting", "stopping")
_WORDS = {"error": "crashed", "starting": "loading", "stopping": "loading"}


class StartQuery(WaitQuery, frozen=True, kw_only=True):
    """How long to wait."""

    wait: Annotated[float, Meta(ge=0, le=LONGEST_WAIT_SECONDS, description="seconds to wait for the final state")] = (
        WAIT_SECONDS
    )


class NekoHistoryQuery(PeriodQuery, frozen=True, kw_only=True):
    """Which samples of a plugin's usage."""

    limit: Annotated[int, Meta(ge=1, le=MOST_SAMPLES, description="at most this many, the newest")] = DEFAULT_SAMPLES


def find_word(status: str, *, is_enabled: bool) -> str:
    """The front end's word for a status. A plugin that is not enabled is `disabled` once it has no process."""
    return "disabled" if not is_enabled and status not in _ALIVE else _WORDS.get(status, status)


def rewrite(response: Response, change: Callable[[dict[str, Any]], object]) -> Response:
    """The same response with another body."""
    assert isinstance(response, JsonResponse)
    body = msgspec.json.decode(bytes(response.body) + response.rest)
    change(body)
    headers = [header for header in response.raw_headers if header[0] not in (b"content-length", b"content-type")]
    return JsonResponse(msgspec.json.encode(body), response.status_code, headers)


async def list_neko_plugins(request: Request[State]) -> Response:
    """Every plugin, with its metadata and its status."""
    views = request.state["views"]
    document = views.list_plugins(reads_logs=views.has_lines and may_read_logs(request))
    etag = f'{document.etag[:-1]}-neko"'
    if knows_tag(request, etag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"ETag": etag, **REVALIDATE})
    headers = ((b"etag", etag.encode()), (b"cache-control", b"no-cache"))
    return JsonResponse(_translate_list(document.body), headers=headers)


@lru_cache(maxsize=2)  # with last lines and without
def _translate_list(document: bytes) -> bytes:
    """Front ends ask again and again, and the list is the same object until something changes."""
    body = msgspec.json.decode(document)
    for item in body["plugins"]:
        item["status"] = find_word(item["status"], is_enabled=item["enabled"])
        item["input_schema"] = {}
    return msgspec.json.encode(body)


async def show_neko_status(request: Request[State], query: PluginQuery) -> Response:
    """The status of one plugin, or of all."""
    catalog = request.state["manager"].catalog

    def change(body: dict[str, Any]) -> None:
        statuses = body["plugins"] if "plugins" in body else {body["plugin_id"]: body}
        for plugin_id, status in statuses.items():
            status["status"] = find_word(status["status"], is_enabled=catalog[plugin_id].enabled)
            status["source"] = SOURCE
            status["updated_at"] = body["time"]

    return rewrite(await plugins.show_status(request, query), change)


async def start_neko_plugin(request: Request[State], query: StartQuery) -> Response:
    """Start a plugin, and wait until it runs or has failed."""
    return _rewrite_outcome(request, await plugins.start_plugin(request, query))


async def stop_neko_plugin(request: Request[State], query: StopQuery) -> Response:
    """Stop a plugin."""
    return _rewrite_outcome(request, await plugins.stop_plugin(request, query))


async def reload_neko_plugin(request: Request[State], query: WaitQuery) -> Response:
    """Reload a plugin."""
    return _rewrite_outcome(request, await plugins.reload_plugin(request, query))


async def disable_neko_plugin(request: Request[State], query: WaitQuery) -> Response:
    """Stop a plugin and keep it from being started."""
    return _rewrite_outcome(request, await intents.disable_plugin(request, query))


async def start_neko_plugins(request: Request[State], query: WaitQuery, body: PluginIds) -> Response:
    """Start the plugins named, or all that are enabled."""
    return _rewrite_results(request, await bulk.start_plugins(request, query, body))


async def stop_neko_plugins(request: Request[State], query: StopQuery, body: PluginIds) -> Response:
    """Stop the plugins named, or all that run, each after those that depend on it."""
    return _rewrite_results(request, await bulk.stop_plugins(request, query, body))


async def reload_neko_plugins(request: Request[State], query: WaitQuery, body: PluginIds) -> Response:
    """Reload the plugins named, or all that are enabled."""
    return _rewrite_results(request, await bulk.reload_plugins(request, query, body), is_reload=True)


async def list_neko_log_files(request: Request[State]) -> Response:
    """The files that there are."""

    def change(body: dict[str, Any]) -> None:
        for file in body["log_files"]:
            file["modified"] = file["modified_seconds"]

    return rewrite(await files.list_log_files(request), change)


async def list_neko_history(request: Request[State], query: NekoHistoryQuery) -> Response:
    """The usage of one plugin, the oldest sample first."""
    wanted: Any = query
    history: HistoryQuery = wanted  # it has the same members
    return await metrics.list_usage_history(request, history)


async def list_messages(request: Request[State], query: PluginQuery) -> Response:
    """Messages of plugins to a person: none, because plugins cannot send any."""
    if query.plugin_id and query.plugin_id not in request.state["manager"].catalog:
        raise PluginNotFound(query.plugin_id)
    return respond(NekoMessages(plugin_id=query.plugin_id or None, messages=[], count=0, time=format_time()))


def _rewrite_outcome(request: Request[State], response: Response) -> Response:
    def change(body: dict[str, Any]) -> None:
        plugin = request.state["manager"].catalog.get(body["plugin_id"])
        body["status"] = find_word(body["status"], is_enabled=plugin is None or plugin.enabled)
        body["success"] = True

    return rewrite(response, change)


def _rewrite_results(request: Request[State], response: Response, *, is_reload: bool = False) -> Response:
    catalog = request.state["manager"].catalog

    def change(body: dict[str, Any]) -> None:
        results = body["results"]
        for item in results:
            if "status" in item:
                plugin = catalog.get(item["plugin_id"])
                item["status"] = find_word(item["status"], is_enabled=plugin is None or plugin.enabled)
        if is_reload:
            named = {item["plugin_id"] for item in results}
            reloaded = [item["plugin_id"] for item in results if item["ok"]]
            body["success"] = body["ok"]
            body["reloaded"] = reloaded
            body["failed"] = [
                {"plugin_id": item["plugin_id"], "error": item["problem"]["detail"]}
                for item in results
                if not item["ok"]
            ]
            body["skipped"] = [name for name in catalog if name not in named]
            body["message"] = f"{len(reloaded)} of {len(results)} plugins were reloaded"

    return rewrite(response, change)
