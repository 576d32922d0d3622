"""Query parameters of installation."""

import re
from typing import Annotated

import msgspec
from msgspec import Meta

from plugvisor.api.parameters import DEFAULT_ENTRIES, MOST_ENTRIES, Query, StopQuery, WaitQuery
from plugvisor.errors import InvalidRequest
from plugvisor.manager.installation.earlier_manifests import MOST_KEPT
from plugvisor.models.manifest import PluginId

LONGEST_SOURCE = 200
"""In characters."""
LONGEST_ID = 64


class InstallQuery(WaitQuery, frozen=True, kw_only=True):
    """Which package it is, and what to do with it."""

    sha256: Annotated[str, Meta(description="of the package, in hexadecimal; nothing is done with another one")] = ""
    start: Annotated[bool, Meta(description="true: start the plugin, if it does not run")] = False
    replace: Annotated[bool, Meta(description="true: update the plugin, if it is installed")] = False
    plugin_id: Annotated[str, Meta(max_length=LONGEST_ID, description="the plugin that it must be a package of")] = ""
    source: Annotated[str, Meta(max_length=LONGEST_SOURCE, description="the name of the package's file")] = ""

    @property
    def digest(self) -> str | None:
        """The SHA-256, in lower case; None if it was not given. Raises `InvalidRequest`."""
        if self.sha256 and not re.fullmatch("[0-9A-Fa-f]{64}", self.sha256):
            raise InvalidRequest("`sha256` must be 64 hexadecimal digits", "sha256")
        return self.sha256.lower() or None

    @property
    def expected_id(self) -> str:
        """The plugin that it must be a package of; empty: any. Raises `InvalidRequest`."""
        try:
            return msgspec.convert(self.plugin_id, PluginId) if self.plugin_id else ""
        except msgspec.ValidationError:
            raise InvalidRequest("`plugin_id` must be the id of a plugin", "plugin_id") from None

    @property
    def file_name(self) -> str:
        """The name of the package's file; raises `InvalidRequest`."""
        if not self.source.isprintable():
            raise InvalidRequest("`source` must be a file's name, without control characters", "source")
        return self.source


class ConfigQuery(Query, frozen=True, kw_only=True):
    """Which text of a manifest."""

    earlier: Annotated[
        int, Meta(ge=0, le=MOST_KEPT, description="a text that was replaced: 1 is the newest; 0: the present one")
    ] = 0


class UninstallQuery(StopQuery, frozen=True, kw_only=True):
    """How long to wait, what to stop too, and what to remove too."""

    purge: Annotated[bool, Meta(description="true: remove its data, too")] = False


class OperationsQuery(Query, frozen=True, kw_only=True):
    """Which operations."""

    plugin_id: Annotated[str, Meta(description="only of this plugin")] = ""
    limit: Annotated[int, Meta(ge=1, le=MOST_ENTRIES, description="at most this many, the newest")] = DEFAULT_ENTRIES
