"""One process of a plugin on one node of a swarm."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta

from plugvisor.models.body import Body, Count, OptionalPid, OptionalText, Time


class Task(msgspec.Struct, frozen=True):
    """A task at one instant, in the swarm's own words."""

    id: str
    node_id: str
    """Empty while no node is chosen."""
    node: str
    """The node's name; its id if that is not known."""
    state: str
    desired: str
    """The state that the swarm wants it to be in."""
    at: float
    """When its state was reported, in seconds since 1970."""
    slot: int = 0
    """Which of a plugin's replicas it is, from 1; 0 if it is none of them."""
    pid: int = 0
    """Its node's own number; 0 if no process is alive."""
    exit_code: int | None = None
    error: str = ""
    """Why it is as it is; may contain no path and no secret."""
    address: str = ""
    """Where it can be reached: in the network that it has joined, or its node's if it has the node's own network."""
    is_lost: bool = False
    """Its node does not answer, so that it may still run."""


class TaskInfo(Body, frozen=True, kw_only=True):
    """One of a plugin's tasks, as a status lists it."""

    id: str
    slot: Annotated[Count, Meta(description="which replica it is, from 1")]
    node: Annotated[str, Meta(description="the node's name; empty while none is chosen")]
    state: Annotated[str, Meta(description="the swarm's word")]
    desired: Annotated[str, Meta(description="the state that the swarm wants it to be in")]
    pid: OptionalPid = UNSET
    exit_code: Annotated[int, Meta(ge=-1)] | msgspec.UnsetType = UNSET
    error: Annotated[OptionalText, Meta(description="why it is as it is")] = UNSET
    lost: Annotated[bool, Meta(description="its node does not answer: it may still run")] = False
    at: Time
