"""The limits of a plugin that are in effect, as the API shows them."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from plugvisor.models.body import Amount, Body, Count


class EnforcedLimits(Body, frozen=True, kw_only=True):
    """The limits of the plugin's last launch, and what enforces them."""

    memory: Annotated[Count | UnsetType, Meta(description="bytes")] = UNSET
    cpus: Amount | UnsetType = UNSET
    processes: Annotated[Count | UnsetType, Meta(description="processes and threads")] = UNSET
    open_files: Annotated[Count | UnsetType, Meta(description="of each process")] = UNSET
    enforced_by: Annotated[
        Literal["cgroup", "rlimit", "watch", "none"], Meta(description="the strongest that enforces any of them")
    ]
    watched: Annotated[
        tuple[str, ...] | UnsetType, Meta(description="the limits that the service enforces by measuring the plugin")
    ] = UNSET
    unenforced: Annotated[tuple[str, ...], Meta(description="the limits that nothing enforces here")]
