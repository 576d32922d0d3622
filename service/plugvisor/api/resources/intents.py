"""Disabling and enabling plugins, and forgetting their intents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from plugvisor.api.resources.plugins import answer_outcome
from plugvisor.api.responses import respond
from plugvisor.api.state import get_identity, get_plugin
from plugvisor.api.status_fields import make_intent
from plugvisor.models.outcome import Switched

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from plugvisor.api.parameters import WaitQuery
    from plugvisor.api.state import State


async def disable_plugin(request: Request[State], query: WaitQuery) -> Response:
    """Stop a plugin, and keep it from being started."""
    plugin_id = get_plugin(request).id
    by = get_identity(request).name
    outcome = await request.state["manager"].switch.disable(plugin_id, by, query.wait_seconds)
    return answer_outcome(plugin_id, outcome, "Plugin disabled successfully", "Plugin is disabled and stopping")


async def enable_plugin(request: Request[State]) -> Response:
    """Allow that a disabled plugin is started; it is not started."""
    await request.state["manager"].switch.enable(get_plugin(request).id)
    return _show(request)


async def forget_intent(request: Request[State]) -> Response:
    """Forget what was asked for last: the manifest decides whether the plugin is started at boot."""
    await request.state["manager"].switch.forget_intent(get_plugin(request).id)
    return _show(request)


def _show(request: Request[State]) -> Response:
    plugin = get_plugin(request)
    intent = request.state["intents"].all.get(plugin.id)
    shown = UNSET if intent is None else make_intent(intent)
    return respond(Switched(plugin_id=plugin.id, enabled=plugin.enabled, intent=shown))
