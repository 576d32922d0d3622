"""The journal: what has happened, and by whom."""

from typing import Annotated, Literal, get_args

from msgspec import UNSET, Meta, Struct, UnsetType

from plugvisor.models.body import Body, Count, OptionalText, Time
from plugvisor.models.health import Health
from plugvisor.models.outcome import RefreshResult
from plugvisor.models.plugin import OptionalExit, State
from plugvisor.models.process import Status

Kind = Literal["state", "check", "limit", "operation", "identity", "installation", "service"]
KINDS: tuple[Kind, ...] = get_args(Kind)
LONGEST_COUNT_SECONDS = 3600.0
"""How long one entry goes on being counted up, at most."""


class Facts(Body, frozen=True, kw_only=True):
    """An entry's contents beside its time, kind and plugin."""

    # a process
    status: Status | UnsetType = UNSET
    state: State | UnsetType = UNSET
    last_exit: OptionalExit = UNSET
    health: Health | UnsetType = UNSET
    # who did what
    identity: Annotated[
        OptionalText,
        Meta(
            description="who has asked for it; `supervisorctl` or `docker` for an operator, `watch` for changed files"
        ),
    ] = UNSET
    address: Annotated[OptionalText, Meta(description="of the client")] = UNSET
    verb: Annotated[
        OptionalText,
        Meta(description="start, stop, reload, refresh, enable, disable, suspend, …; of the service what has happened"),
    ] = UNSET
    outcome: Annotated[OptionalText, Meta(description="ok, or the code of the problem")] = UNSET
    milliseconds: Count | UnsetType = UNSET
    request_id: OptionalText = UNSET
    changes: RefreshResult | UnsetType = UNSET
    subject: Annotated[
        OptionalText, Meta(description="the identity, check, limit or part of the service that it is about")
    ] = UNSET
    detail: Annotated[OptionalText, Meta(description="in words, for a person")] = UNSET


class NewEntry(Struct, frozen=True):
    """Something that has happened."""

    kind: Kind
    facts: Facts
    plugin_id: str = ""
    """Empty if it is not about one plugin."""
    at: float = 0.0
    """In seconds since 1970; 0: now."""


class JournalEntry(Facts, frozen=True, kw_only=True):
    """An entry of the journal."""

    id: Annotated[int, Meta(ge=1, description="stays the same while it is counted up")]
    at: Time
    kind: Kind
    plugin_id: OptionalText = UNSET
    times: Annotated[
        Annotated[int, Meta(ge=2)] | UnsetType, Meta(description="how often it has happened; absent: once")
    ] = UNSET
    until: Annotated[Time | UnsetType, Meta(description="when it has happened last, if more than once")] = UNSET


class JournalGap(Body, frozen=True, kw_only=True):
    """The event `gap` of the journal's stream: entries after the last one that was received are no longer kept."""

    detail: str
    time: Time


class Journal(Body, frozen=True, kw_only=True):
    """`GET /journal`: newest first."""

    entries: tuple[JournalEntry, ...]
    after: Annotated[
        OptionalText, Meta(description="the parameter `after` for the next, older entries; absent if there are none")
    ] = UNSET
