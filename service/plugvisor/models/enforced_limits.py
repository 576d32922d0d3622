"""The limits of a plugin that are in effect, as the engine reports them and as the API shows them."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from plugvisor.models.body import Amount, Body, Count

# what the state stream may say: every value can be shown in JSON
_Bounded = Annotated[int, Meta(ge=0, le=2**53)]
_Amount = Annotated[float, Meta(ge=0, le=1e11)]

LIMIT_KEYS = ("memory", "cpus", "processes", "open_files")
"""The fields of `AppliedLimits` that are limits."""


class AppliedLimits(Struct, frozen=True, omit_defaults=True):
    """The limits of a plugin's last launch, and what enforces them."""

    memory: _Bounded = 0
    cpus: _Amount = 0.0
    processes: _Bounded = 0
    open_files: _Bounded = 0
    enforced_by: Literal["cgroup", "rlimit", "watch", "none"] = "none"
    """The strongest tier that enforces any of them."""
    watched: tuple[str, ...] = ()
    """Those that the service enforces, by measuring the process tree."""
    unenforced: tuple[str, ...] = ()
    """Those that nothing enforces here."""

    def explain(self, reason_of_end: str) -> str:
        """How one was exceeded, if that is why the process was ended, as `Exit.reason` says; empty if it is not."""
        match reason_of_end:
            case "memory limit":
                return f"it used more than its memory limit of {_format_bytes(self.memory)}"
            case "processes limit":
                return f"it had more processes and threads than its limit of {self.processes}"
        return ""


def _format_bytes(count: int) -> str:
    size, unit = float(count), "bytes"
    for larger in ("KiB", "MiB", "GiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.1f}".removesuffix(".0") + f" {unit}"


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
