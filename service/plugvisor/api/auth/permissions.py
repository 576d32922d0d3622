"""Checks the role of an identity, and the plugins that it may change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugvisor.errors import Forbidden

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import Request

    from plugvisor.api.state import State
    from plugvisor.models.stored.identity import Identity, Role


def require_role(identity: Identity, role: Role) -> None:
    """Raise `Forbidden` if the role of an identity is not enough."""
    if not identity.has(role):
        raise Forbidden(f"this needs the role {role}, and {identity.name!r} has the role {identity.role}", role)


def require_plugin(identity: Identity, plugin_id: str) -> None:
    """Raise `Forbidden` if an identity may not change a plugin."""
    if not identity.may_change(plugin_id):
        patterns = ", ".join(identity.plugins)
        error = Forbidden(f"{identity.name!r} may not change {plugin_id!r}; its plugins are {patterns}", "")
        error.plugin_id = plugin_id
        raise error


def require_plugins(identity: Identity, plugin_ids: Iterable[str]) -> None:
    """Raise `Forbidden` if an identity may not change one of some plugins."""
    for plugin_id in plugin_ids:
        require_plugin(identity, plugin_id)


def find_identity(request: Request[State]) -> Identity | None:
    """Who has sent a request that anyone may send; None if it has no valid token."""
    identity: Identity | None = request.scope.get("identity")
    if identity is not None:
        return identity
    has_token = any(name == b"authorization" for name, _ in request.scope["headers"])
    return request.state["gate"].identify(request) if has_token else None


def may_read_logs(request: Request[State]) -> bool:
    """Whether who has sent a request that anyone may send may read logs."""
    identity = find_identity(request)
    return identity is not None and identity.has("viewer")
