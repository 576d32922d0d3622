"""A plugin's versions: listing them, rolling back, and removing them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugvisor.api.resources.installation.operations import answer_operation
from plugvisor.api.responses import NO_STORE, respond
from plugvisor.api.state import get_identity

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from plugvisor.api.parameters import WaitQuery
    from plugvisor.api.resources.installation.queries import UninstallQuery
    from plugvisor.api.state import State


async def list_versions(request: Request[State]) -> Response:
    """List the installed versions of a plugin, which one is current, and where each came from."""
    versions = await request.state["installations"].list_versions(request.path_params["plugin_id"])
    return respond(versions, headers=NO_STORE)


async def roll_back_plugin(request: Request[State], query: WaitQuery) -> Response:
    """Make the previous version of a plugin the current one."""
    plugin_id, by = request.path_params["plugin_id"], get_identity(request).name
    under_way = await request.state["installations"].rollback(plugin_id, by)
    return await answer_operation(request, under_way, query.wait_seconds)


async def uninstall_plugin(request: Request[State], query: UninstallQuery) -> Response:
    """Stop a plugin and remove its versions; its data is kept, unless it is purged."""
    plugin_id, by = request.path_params["plugin_id"], get_identity(request).name
    under_way = await request.state["installations"].uninstall(
        plugin_id, by, purge=query.purge, dependents=query.dependents
    )
    return await answer_operation(request, under_way, query.wait_seconds)
