"""Identities: list, add, remove, rotate; and who one is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec import UNSET

from plugvisor.api.parameters import parse_time
from plugvisor.api.responses import NO_STORE, respond
from plugvisor.api.state import get_identity
from plugvisor.errors import IdentityExists, InvalidRequest
from plugvisor.models.stored.identity import (
    EVERY_PLUGIN,
    RESERVED_NAMES,
    Identity,
    IdentityInfo,
    IdentityList,
    IssuedToken,
    WhoAmI,
)
from plugvisor.timestamps import format_time

if TYPE_CHECKING:
    from msgspec import UnsetType
    from starlette.requests import Request
    from starlette.responses import Response

    from plugvisor.api.state import State
    from plugvisor.models.stored.identity import NewIdentity

ADMIN = RESERVED_NAMES[0]


async def show_identity(request: Request[State]) -> Response:
    """Whose token or admin code this is."""
    identity = get_identity(request)
    return respond(
        WhoAmI(
            name=identity.name, role=identity.role, plugins=identity.plugins, expires_at=_format(identity.expires_at)
        ),
        headers=NO_STORE,
    )


async def list_identities(request: Request[State]) -> Response:
    """Every identity, without its token."""
    identities = request.state["identities"]
    others = [_describe(each.identity, each.created_at, each.created_by) for each in identities.list_all()]
    return respond(IdentityList(identities=(_describe(identities.admin), *others)), headers=NO_STORE)


async def add_identity(request: Request[State], body: NewIdentity) -> Response:
    """Add an identity; the answer has its token, which is shown this once."""
    request.scope["subject"] = body.name
    request.scope["log_note"] = f"{body.name}: {body.role}"
    if body.name == ADMIN:
        raise IdentityExists(f"the name {ADMIN!r} is that of the admin code")
    if body.name in RESERVED_NAMES:
        raise InvalidRequest(f"the name {body.name!r} is reserved", "name")
    if body.role != "operator" and body.plugins != EVERY_PLUGIN:
        raise InvalidRequest("`plugins` can restrict the role operator alone", "plugins")
    identity = Identity(body.name, body.role, body.plugins, _read_expiry(body.expires_at))
    request.scope["log_note"] = _word(identity)
    token = await request.state["identities"].add(identity, get_identity(request).name)
    return _issue(identity, token)


async def remove_identity(request: Request[State]) -> Response:
    """Remove an identity; its token is no longer valid, and its streams end."""
    name = request.path_params["name"]
    if name == ADMIN:
        raise InvalidRequest(f"{ADMIN!r} cannot be removed; POST /identities/{ADMIN}/rotate makes another code", "name")
    removed = await request.state["identities"].remove(name)
    return respond(_describe(removed.identity, removed.created_at, removed.created_by))


async def rotate_identity(request: Request[State]) -> Response:
    """Give an identity another token; the one before is no longer valid, and its streams end."""
    identity, token = await request.state["identities"].rotate(request.path_params["name"])
    return _issue(identity, token)


async def rotate_admin_code(request: Request[State]) -> Response:
    """Make a random admin code, in force until another one is configured."""
    request.scope["subject"] = ADMIN
    identity, code = await request.state["identities"].rotate_admin()
    return _issue(identity, code)


def _issue(identity: Identity, token: str) -> Response:
    issued = IssuedToken(
        name=identity.name,
        role=identity.role,
        plugins=identity.plugins,
        token=token,
        expires_at=_format(identity.expires_at),
    )
    return respond(issued, headers=NO_STORE)


def _describe(identity: Identity, created_at: float | None = None, created_by: str | UnsetType = UNSET) -> IdentityInfo:
    return IdentityInfo(
        name=identity.name,
        role=identity.role,
        plugins=identity.plugins,
        created_at=_format(created_at),
        created_by=created_by,
        expires_at=_format(identity.expires_at),
    )


def _word(identity: Identity) -> str:
    """An identity's role, plugins and expiry, for the journal and the log."""
    plugins = "" if identity.plugins == EVERY_PLUGIN else f" of {' '.join(identity.plugins)}"
    until = "" if identity.expires_at is None else f", until {format_time(identity.expires_at)}"
    return f"{identity.name}: {identity.role}{plugins}{until}"


def _format(timestamp: float | None) -> str | UnsetType:
    return UNSET if timestamp is None else format_time(timestamp)


def _read_expiry(text: str | UnsetType) -> float | None:
    if text is UNSET:
        return None
    expires_at = parse_time("expires_at", text, 0.0)
    if expires_at <= time.time():
        raise InvalidRequest("`expires_at` must be in the future", "expires_at")
    return expires_at
