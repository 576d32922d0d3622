"""Identities, and what their roles permit."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from plugvisor.models.body import Body, OptionalText, Time

Role = Literal["viewer", "operator", "admin"]
ROLES: tuple[Role, ...] = ("viewer", "operator", "admin")
"""Each may do what those before it may, too."""

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}(?!\n)$"
RESERVED_NAMES = ("admin", "supervisorctl", "docker", "plugvisor", "watch")
"""`admin` is the admin code; the journal names the others, who need no token."""
EVERY_PLUGIN = ("*",)


@dataclass(frozen=True)
class Identity:
    """Who has sent a request."""

    name: str
    role: Role
    plugins: tuple[str, ...] = EVERY_PLUGIN
    """Patterns of the ids of the plugins that it may change."""
    expires_at: float | None = None
    """In seconds since 1970."""

    def has(self, role: Role) -> bool:
        """Whether its role includes another one."""
        return ROLES.index(self.role) >= ROLES.index(role)

    def may_change(self, plugin_id: str) -> bool:
        """Whether a plugin is among those that it may change, if it may change any."""
        return self.plugins == EVERY_PLUGIN or any(fnmatchcase(plugin_id, pattern) for pattern in self.plugins)


Name = Annotated[
    str,
    Meta(
        pattern=NAME_PATTERN,
        description="lower case",
        extra={"rule": "must be 1 to 64 lower-case letters, digits, `.`, `_` or `-`, the first a letter or digit"},
    ),
]
# No other characters: "web-*,db" would be one pattern, which no id matches.
Pattern = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9_*?-]{1,64}$(?!\n)",
        description="an id, in which * is any text",
        extra={
            "rule": "must be ids or patterns like web-*, of letters, digits, `_`, `-`, `*` and `?`, at most 64 each"
        },
    ),
]
Patterns = Annotated[tuple[Pattern, ...], Meta(min_length=1, max_length=64)]


class NewIdentity(Body, frozen=True, kw_only=True):
    """The body of `POST /identities`."""

    name: Name
    role: Role
    plugins: Patterns = EVERY_PLUGIN
    expires_at: Annotated[Time | UnsetType, Meta(description="absent: never")] = UNSET


class IdentityInfo(Body, frozen=True, kw_only=True):
    """An identity as `GET /identities` lists it: without its token, of which the service knows a hash alone."""

    name: str
    role: Role
    plugins: tuple[str, ...]
    created_at: Time | UnsetType = UNSET
    created_by: OptionalText = UNSET
    expires_at: Time | UnsetType = UNSET


class IdentityList(Body, frozen=True, kw_only=True):
    """`GET /identities`: the identity `admin` first, the others by name."""

    identities: tuple[IdentityInfo, ...]


class IssuedToken(Body, frozen=True, kw_only=True):
    """A token, shown this once, and whose it is."""

    name: str
    role: Role
    plugins: tuple[str, ...]
    token: Annotated[str, Meta(description="shown this once")]
    expires_at: Time | UnsetType = UNSET


class WhoAmI(Body, frozen=True, kw_only=True):
    """`GET /whoami`."""

    name: str
    role: Role
    plugins: tuple[str, ...]
    expires_at: Time | UnsetType = UNSET
