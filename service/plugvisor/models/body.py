"""The base of the structs that become JSON, and the types of their members."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, UnsetType


class Body(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A JSON object whose members are all known. A member that is UNSET is absent, never null."""


Count = Annotated[int, Meta(ge=0)]
Amount = Annotated[float, Meta(ge=0)]
Pid = Annotated[int, Meta(ge=1)]
Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
"""ISO 8601 with microseconds and an offset, as `format_time` writes it."""
Flag = Literal[True]
"""Present only when it is so."""

OptionalText = str | UnsetType
OptionalPid = Pid | UnsetType
