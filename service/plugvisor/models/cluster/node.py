"""A machine that plugins run on."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta

from plugvisor.models.body import Body, Count, OptionalText, Time

NodeState = Literal["ready", "down", "disconnected", "unknown"]
Availability = Literal["active", "pause", "drain"]
Role = Literal["manager", "worker"]


class Node(Body, frozen=True, kw_only=True):
    """A machine, and what is known of it."""

    id: str
    name: str
    state: NodeState
    availability: Availability
    role: Role
    leader: Annotated[bool, Meta(description="whether it is the manager that decides")] = False
    address: OptionalText = UNSET
    detail: Annotated[OptionalText, Meta(description="what is wrong with it, for a person")] = UNSET
    engine_version: OptionalText = UNSET
    cpus: Annotated[float, Meta(ge=0)]
    memory: Annotated[Count, Meta(description="in bytes")]
    tasks: Annotated[Count, Meta(description="how many tasks of plugins run there")]
    plugins: Annotated[tuple[str, ...], Meta(description="the ids of the plugins that have a task there, sorted")]


class NodeList(Body, frozen=True, kw_only=True):
    """`GET /nodes`."""

    nodes: tuple[Node, ...]
    time: Time
