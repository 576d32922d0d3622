"""The bodies of operations on plugins."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from plugvisor.models.body import Body, OptionalPid, OptionalText
from plugvisor.models.plugin import Detail, OptionalHealth, OptionalIntent, OptionalQueued, OptionalUnmet, State
from plugvisor.models.problem import Problem
from plugvisor.models.process import Status

MOST_PLUGINS = 4096
"""As many as one request may name."""

OptionalRemembered = Annotated[
    Literal[False] | UnsetType,
    Meta(description="what was asked for may not outlive a restart: it cannot be stored now"),
]


class Outcome(Body, frozen=True, kw_only=True):
    """The outcome of a start, stop or reload."""

    plugin_id: str
    status: Status
    state: State
    detail: Detail = UNSET
    message: str
    health: OptionalHealth = UNSET
    queued: OptionalQueued = UNSET
    unmet: OptionalUnmet = UNSET
    pid: OptionalPid = UNSET
    remembered: OptionalRemembered = UNSET


class Switched(Body, frozen=True, kw_only=True):
    """Whether a plugin can be started, and what is wanted of it, after that was changed."""

    plugin_id: str
    enabled: bool
    intent: OptionalIntent = UNSET


class RefreshResult(Body, frozen=True, kw_only=True):
    """The ids that a refresh has found, sorted."""

    added: list[str]
    changed: list[str]
    removed: list[str]
    invalid: list[str]


class PluginIds(Body, frozen=True, kw_only=True):
    """The plugins that a bulk operation is about; absent: all."""

    plugin_ids: Annotated[list[str], Meta(max_length=MOST_PLUGINS)] | UnsetType = UNSET


class BulkItem(Body, frozen=True, kw_only=True):
    """One plugin's result in a bulk operation: an outcome, or else a problem."""

    plugin_id: str
    ok: bool
    status: Status | UnsetType = UNSET
    state: State | UnsetType = UNSET
    detail: Detail = UNSET
    message: OptionalText = UNSET
    health: OptionalHealth = UNSET
    queued: OptionalQueued = UNSET
    unmet: OptionalUnmet = UNSET
    pid: OptionalPid = UNSET
    remembered: OptionalRemembered = UNSET
    problem: Problem | UnsetType = UNSET


class BulkResult(Body, frozen=True, kw_only=True):
    """The result of a bulk operation; `ok` if all of it succeeded."""

    ok: bool
    results: list[
        Annotated[
            BulkItem,
            Meta(
                extra_json_schema={
                    "oneOf": [
                        {"properties": {"ok": {"const": True}}, "required": ["status", "state", "message"]},
                        {"properties": {"ok": {"const": False}}, "required": ["problem"]},
                    ]
                }
            ),
        ]
    ]
