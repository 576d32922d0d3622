"""Operations that install, update, roll back or remove a plugin, under way and ended."""

from typing import Annotated, Literal, get_args

from msgspec import UNSET, Meta, UnsetType

from plugvisor.models.body import Body, Count, Flag, OptionalText, Time
from plugvisor.models.problem import Problem

Verb = Literal["install", "update", "rollback", "uninstall"]
Phase = Literal["received", "verified", "environment", "swap", "start"]
PHASES: tuple[Phase, ...] = get_args(Phase)
OperationState = Literal["running", "succeeded", "failed", "cancelled", "interrupted"]
Percent = Annotated[int, Meta(ge=0, le=100)]


class OperationSummary(Body, frozen=True, kw_only=True):
    """An operation as every reader may see it: also the event `operation` of `GET /events`."""

    id: str
    verb: Verb
    plugin_id: Annotated[OptionalText, Meta(description="absent until the package has said it")] = UNSET
    state: OperationState
    phase: Annotated[Phase, Meta(description="which it has reached")]
    percent: Percent
    lines: Annotated[Count, Meta(description="how many lines its log has had so far")]
    begun_at: Time
    ended_at: Time | UnsetType = UNSET


class Operation(OperationSummary, frozen=True, kw_only=True):
    """An operation, without its log."""

    by: Annotated[str, Meta(description="the identity that has asked for it")]
    version: Annotated[OptionalText, Meta(description="that becomes current, as its manifest has it")] = UNSET
    previous_version: Annotated[OptionalText, Meta(description="that was current")] = UNSET
    sha256: Annotated[OptionalText, Meta(description="of the package")] = UNSET
    environment: Annotated[bool | UnsetType, Meta(description="whether the version has an environment of its own")] = (
        UNSET
    )
    unchanged: Annotated[Flag | UnsetType, Meta(description="the same package was current already")] = UNSET
    problem: Annotated[Problem | UnsetType, Meta(description="why it has failed")] = UNSET


class OperationLog(Operation, frozen=True, kw_only=True):
    """`GET /operations/{id}`: an operation with its log."""

    log: Annotated[tuple[str, ...], Meta(description="the newest lines")]


class OperationList(Body, frozen=True, kw_only=True):
    """`GET /operations`: newest first."""

    operations: tuple[Operation, ...]
