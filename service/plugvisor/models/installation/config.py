"""A plugin's manifest, parsed and as text."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType

from plugvisor.models.body import Body, Count, OptionalText, Time


class EarlierManifest(Body, frozen=True, kw_only=True):
    """A text that was replaced."""

    number: Annotated[int, Meta(ge=1, description="1 is the one that was replaced last")]
    replaced_at: Time
    replaced_by: str
    etag: str


class Config(Body, frozen=True, kw_only=True):
    """`GET /plugin/{id}/config`: the manifest, parsed. Its values may be secrets: the role admin is needed."""

    plugin_id: str
    etag: Annotated[str, Meta(description="of the text, for `If-Match`")]
    config: Annotated[dict[str, Any] | UnsetType, Meta(description="every table; absent if it is no TOML")] = UNSET
    problem: Annotated[OptionalText, Meta(description="why it is invalid")] = UNSET
    line: Annotated[Count | UnsetType, Meta(description="where, if that is known")] = UNSET
    column: Count | UnsetType = UNSET
    writable: Annotated[bool, Meta(description="whether PUT can replace it")]
    reload_needed: Annotated[bool, Meta(description="the plugin's process was started with another manifest")]
    earlier: tuple[EarlierManifest, ...]


class ConfigWritten(Body, frozen=True, kw_only=True):
    """The answer to `PUT /plugin/{id}/config/toml`."""

    plugin_id: str
    etag: str
    changed: bool
    reload_needed: Annotated[bool, Meta(description="the plugin's process was started with another manifest")]
    message: str
    warnings: tuple[str, ...]


class ConfigText(Body, frozen=True, kw_only=True):
    """A new text, for clients that send JSON."""

    toml: Annotated[str, Meta(max_length=256 * 1024)]
