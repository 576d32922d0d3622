"""The five basic endpoints, and refresh: handlers that translate, and no more."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.responses import Response

from plugvisor.api.auth.permissions import may_read_logs, require_plugins
from plugvisor.api.problems import find_code
from plugvisor.api.responses import REVALIDATE, JsonResponse, knows_tag, respond
from plugvisor.api.state import get_identity
from plugvisor.api.views import make_outcome
from plugvisor.models.outcome import RefreshResult

if TYPE_CHECKING:
    from starlette.requests import Request

    from plugvisor.api.parameters import PluginQuery, StopQuery, WaitQuery
    from plugvisor.api.state import State
    from plugvisor.manager.outcome import Outcome

WAITING = "Plugin waits for its dependencies"


async def list_plugins(request: Request[State]) -> Response:
    """Every plugin, with its metadata and its status."""
    views = request.state["views"]
    document = views.list_plugins(reads_logs=views.has_lines and may_read_logs(request))
    if knows_tag(request, document.etag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"ETag": document.etag, **REVALIDATE})
    return JsonResponse(document.body, headers=((b"etag", document.etag.encode()), (b"cache-control", b"no-cache")))


async def show_status(request: Request[State], query: PluginQuery) -> Response:
    """The status of one plugin, or of all."""
    views = request.state["views"]
    reads_logs = views.has_lines and may_read_logs(request)
    if query.plugin_id:
        return JsonResponse(views.show_one(query.plugin_id, reads_logs=reads_logs))
    body, rest = views.show_all(reads_logs=reads_logs)
    return JsonResponse(body, rest=rest)


async def start_plugin(request: Request[State], query: WaitQuery) -> Response:
    """Start a plugin."""
    plugin_id = request.path_params["plugin_id"]
    outcome = await request.state["manager"].start(plugin_id, query.wait_seconds, by=get_identity(request).name)
    return answer_outcome(plugin_id, outcome, "Plugin started successfully", WAITING)


async def stop_plugin(request: Request[State], query: StopQuery) -> Response:
    """Stop a plugin."""
    plugin_id = request.path_params["plugin_id"]
    manager, identity = request.state["manager"], get_identity(request)
    dependents = manager.stops.list_running_dependents([plugin_id]) if query.dependents else []
    if dependents:
        require_plugins(identity, dependents)
        results = await manager.stops.stop_with_dependents(plugin_id, dependents, query.wait_seconds, by=identity.name)
        outcome = results.pop(plugin_id)
        request.scope["outcomes"] = {name: find_code(result) for name, result in results.items()}
        if isinstance(outcome, BaseException):
            raise outcome
    else:
        outcome = await manager.stop(plugin_id, query.wait_seconds, by=identity.name)
    return answer_outcome(plugin_id, outcome, "Plugin stopped successfully", "Plugin is stopping")


async def reload_plugin(request: Request[State], query: WaitQuery) -> Response:
    """Reload a plugin."""
    plugin_id = request.path_params["plugin_id"]
    outcome = await request.state["manager"].reload(plugin_id, query.wait_seconds, by=get_identity(request).name)
    return answer_outcome(
        plugin_id, outcome, "Plugin reloaded successfully", WAITING if outcome.process.queued else "Plugin is reloading"
    )


async def refresh_plugins(request: Request[State]) -> Response:
    """Read the plugins folder again: what becomes of the plugins that the client may change."""
    refreshed = await request.state["manager"].refresh(get_identity(request).may_change)
    result = RefreshResult(
        added=refreshed.added,
        changed=refreshed.changed,
        removed=refreshed.removed,
        invalid=refreshed.invalid,
    )
    request.scope["changes"] = result
    return respond(result)


def answer_outcome(plugin_id: str, outcome: Outcome, done: str, under_way: str = "") -> JsonResponse:
    """Respond with what an operation on a plugin has led to."""
    message, status = (done, HTTPStatus.OK) if outcome.finished else (under_way, HTTPStatus.ACCEPTED)
    return respond(make_outcome(plugin_id, outcome, message), status)
