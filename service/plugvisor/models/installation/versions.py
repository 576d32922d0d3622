"""`GET /plugin/{id}/versions`."""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from plugvisor.models.body import Body, Flag, OptionalText, Time


class InstalledVersion(Body, frozen=True, kw_only=True):
    """A version, and where it has come from."""

    version: Annotated[str, Meta(description="as its manifest has it; may be empty")]
    sha256: Annotated[str, Meta(description="of the package")]
    source: Annotated[str, Meta(description="the name of the package's file")]
    installed_at: Time
    installed_by: str
    current: Annotated[Flag | UnsetType, Meta(description="it is the one that is started")] = UNSET
    previous: Annotated[Flag | UnsetType, Meta(description="it is the one that a rollback leads to")] = UNSET
    environment: Annotated[Flag | UnsetType, Meta(description="it has an environment of its own")] = UNSET
    python: Annotated[OptionalText, Meta(description="the version of the environment's interpreter")] = UNSET


class Versions(Body, frozen=True, kw_only=True):
    """Every version of a plugin, the newest first; none of one that was put there by hand."""

    plugin_id: str
    installed: Annotated[bool, Meta(description="false: it was put there by hand")]
    versions: tuple[InstalledVersion, ...]
