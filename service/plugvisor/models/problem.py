"""RFC 9457 problem details."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from plugvisor.models.body import Body, Count, OptionalText, Time

Number = Annotated[int, Meta(ge=1)]


class Problem(Body, frozen=True, kw_only=True):
    """An error: `detail` is for a person, all other members are for programs."""

    type: Literal["about:blank"]
    title: str
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: Annotated[str, Meta(description="a sentence for a person")]
    code: Annotated[str, Meta(description="stable, for programs")]
    plugin_id: Annotated[OptionalText, Meta(description="the plugin that could not be changed or found")] = UNSET
    operation_id: Annotated[OptionalText, Meta(description="the operation that has failed, which has a log")] = UNSET
    dependency: Annotated[OptionalText, Meta(description="the plugin that it requires and cannot have")] = UNSET
    parameter: Annotated[OptionalText, Meta(description="the parameter, or member of the body, that is invalid")] = (
        UNSET
    )
    role: Annotated[OptionalText, Meta(description="the role that the request needs")] = UNSET
    entry: Annotated[OptionalText, Meta(description="the entry of the package that is refused")] = UNSET
    line: Annotated[Number | UnsetType, Meta(description="where the manifest is invalid")] = UNSET
    column: Annotated[Number | UnsetType, Meta(description="where in the line, if that is known")] = UNSET
    rolled_back: Annotated[
        bool | UnsetType, Meta(description="after an update: whether the version before is current again")
    ] = UNSET
    log: Annotated[tuple[str, ...] | UnsetType, Meta(description="the last lines of the build, or of the plugin")] = (
        UNSET
    )
    retry_after: Annotated[Count | UnsetType, Meta(description="seconds, as in the header Retry-After")] = UNSET


class Unavailable(Problem, frozen=True, kw_only=True):
    """The problem that the service is not ready."""

    available: Literal[False]
    plugins_count: Count
    time: Time
