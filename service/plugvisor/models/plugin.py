"""A plugin as the API shows it: in the list, in a status, its health and its manifest."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from plugvisor.models.body import Body, Count, Flag, OptionalPid, OptionalText, Pid, Time
from plugvisor.models.cluster.task import TaskInfo
from plugvisor.models.enforced_limits import EnforcedLimits
from plugvisor.models.health import CheckStatus, Health
from plugvisor.models.lifecycle import (
    Check,
    Condition,
    Level,
    Limits,
    LogOptions,
    Placement,
    PythonRequirement,
    Requirement,
    Restart,
    Watch,
    WatchState,
)
from plugvisor.models.manifest import SupervisorOptions
from plugvisor.models.process import Exit, Status
from plugvisor.models.stored.intent import DisabledInfo, IntentInfo

StateName = Literal["STOPPED", "STARTING", "RUNNING", "BACKOFF", "STOPPING", "EXITED", "FATAL", "UNKNOWN"]
"""The names of `ProcessState`."""
Strings = tuple[str, ...]


class Author(Body, frozen=True, kw_only=True):
    """`[plugin.author]`."""

    name: OptionalText = UNSET
    email: OptionalText = UNSET
    url: OptionalText = UNSET


class Dependency(Body, frozen=True, kw_only=True):
    """A `[[plugin.dependency]]`."""

    id: OptionalText = UNSET
    entry: OptionalText = UNSET
    custom_event: OptionalText = UNSET
    recommended: OptionalText = UNSET
    supported: OptionalText = UNSET
    untested: OptionalText = UNSET
    providers: Strings | UnsetType = UNSET
    conflicts: Strings | UnsetType = UNSET


class ManifestError(Body, frozen=True, kw_only=True):
    """Why a manifest is invalid, and on which line of `plugin.toml`."""

    line: Annotated[int, Meta(ge=1)] | None
    message: str


class DependsOn(Body, frozen=True, kw_only=True):
    """A plugin that another one depends on, and what must be true of it before that starts."""

    id: str
    condition: Condition
    required: bool


class LastExit(Body, frozen=True, kw_only=True):
    """How a process ended: with a code or by a signal."""

    code: Count | UnsetType = UNSET
    signal: OptionalText = UNSET
    reason: Annotated[OptionalText, Meta(description="why it was ended, if a check or a limit has ended it")] = UNSET
    at: Time


def show_exit(ended: Exit, at: str) -> LastExit:
    """How a process ended, as clients see it; `at` is its time as it is written there."""
    reason = ended.reason or UNSET
    if ended.signal:
        return LastExit(signal=ended.signal, reason=reason, at=at)
    return LastExit(code=ended.code or 0, reason=reason, at=at)


State = Annotated[StateName, Meta(description="the state that the status comes from, by supervisord's name for it")]
Detail = Annotated[
    OptionalText,
    Meta(description="why it is as it is, for a person; with a token, also what it printed last before it ended"),
]
Restarts = Annotated[Count | UnsetType, Meta(description="by the engine itself")]
OptionalExit = (
    Annotated[LastExit, Meta(extra_json_schema={"oneOf": [{"required": ["code"]}, {"required": ["signal"]}]})]
    | UnsetType
)
OptionalLimits = EnforcedLimits | UnsetType
OptionalTime = Time | UnsetType
OptionalFlag = Flag | UnsetType
OptionalError = ManifestError | UnsetType
OptionalHealth = Annotated[
    Health | UnsetType, Meta(description="whether its checks pass; absent without checks or without a process")
]
OptionalUnmet = Annotated[
    Strings | UnsetType,
    Meta(description="the required dependencies whose condition is not met, while it waits for them or has a process"),
]
OptionalQueued = Annotated[OptionalFlag, Meta(description="its start waits for its dependencies")]
OptionalDisabled = Annotated[DisabledInfo | UnsetType, Meta(description="by a request; absent if it is not")]
OptionalIntent = Annotated[
    IntentInfo | UnsetType, Meta(description="what an operator has asked for last; absent: the manifest decides")
]
OptionalNode = Annotated[
    OptionalText, Meta(description="on a swarm: the node that its process runs on, or ran on last")
]
OptionalTasks = Annotated[
    tuple[TaskInfo, ...] | UnsetType, Meta(description="on a swarm: one for each replica, and the last that ended")
]
OptionalWatch = Annotated[
    WatchState | UnsetType,
    Meta(description="whether changes of its files reload it; `incomplete`: not those of all, `detail` says why"),
]
Uptime = Annotated[Count | UnsetType, Meta(description="whole seconds")]


class ListedPlugin(Body, frozen=True, kw_only=True):
    """An item of `GET /plugins`. Nothing in it changes by the passing of time alone."""

    id: str
    name: str
    version: str
    description: str
    status: Status
    enabled: bool
    runtime_enabled: bool
    runtime_auto_start: bool
    author: Author | None
    dependencies: tuple[Dependency, ...]
    sdk_version: str | None
    sdk_recommended: str | None
    sdk_supported: str | None
    sdk_untested: str | None
    sdk_conflicts: Strings
    entries: Annotated[Strings, Meta(max_length=0)]
    depends_on: tuple[DependsOn, ...]
    dependents: Annotated[Strings, Meta(description="the ids of the plugins that depend on it")]
    state: State
    detail: Detail = UNSET
    manifest_error: OptionalError = UNSET
    restarts: Restarts = UNSET
    last_exit: OptionalExit = UNSET
    retry_at: OptionalTime = UNSET
    flapping: OptionalFlag = UNSET
    limits: OptionalLimits = UNSET
    health: OptionalHealth = UNSET
    queued: OptionalQueued = UNSET
    unmet: OptionalUnmet = UNSET
    watch: OptionalWatch = UNSET
    intent: OptionalIntent = UNSET
    node: OptionalNode = UNSET
    tasks: OptionalTasks = UNSET
    disabled: OptionalDisabled = UNSET


class PluginList(Body, frozen=True, kw_only=True):
    """`GET /plugins`."""

    plugins: tuple[ListedPlugin, ...]
    message: str


class ProcessStatus(Body, frozen=True, kw_only=True):
    """One plugin's status among all of them. `pid` and `uptime` are there while a process is alive."""

    status: Status
    state: State
    detail: Detail = UNSET
    manifest_error: OptionalError = UNSET
    restarts: Restarts = UNSET
    last_exit: OptionalExit = UNSET
    retry_at: OptionalTime = UNSET
    flapping: OptionalFlag = UNSET
    limits: OptionalLimits = UNSET
    health: OptionalHealth = UNSET
    queued: OptionalQueued = UNSET
    unmet: OptionalUnmet = UNSET
    watch: OptionalWatch = UNSET
    intent: OptionalIntent = UNSET
    node: OptionalNode = UNSET
    tasks: OptionalTasks = UNSET
    pid: OptionalPid = UNSET
    uptime: Uptime = UNSET


class PluginStatus(Body, frozen=True, kw_only=True):
    """One plugin's status by itself."""

    plugin_id: str
    status: Status
    state: State
    detail: Detail = UNSET
    manifest_error: OptionalError = UNSET
    restarts: Restarts = UNSET
    last_exit: OptionalExit = UNSET
    retry_at: OptionalTime = UNSET
    flapping: OptionalFlag = UNSET
    limits: OptionalLimits = UNSET
    health: OptionalHealth = UNSET
    queued: OptionalQueued = UNSET
    unmet: OptionalUnmet = UNSET
    watch: OptionalWatch = UNSET
    intent: OptionalIntent = UNSET
    node: OptionalNode = UNSET
    tasks: OptionalTasks = UNSET
    pid: OptionalPid = UNSET
    uptime: Uptime = UNSET
    time: Time


class AllStatuses(Body, frozen=True, kw_only=True):
    """Every plugin's status by its id."""

    plugins: dict[str, ProcessStatus]
    time: Time


class ManifestFields(Body, frozen=True, kw_only=True):
    """The manifest's keys that decide how a plugin runs."""

    command: list[str]
    entry: str
    enabled: bool
    auto_start: bool
    environment: Annotated[list[str], Meta(description="the names alone: values are often secrets")]
    environment_files: Annotated[list[str], Meta(description="those of them whose values are read from files")]
    supervisor: SupervisorOptions
    checks: dict[str, Check]
    depends_on: dict[str, Requirement]
    restart: Restart
    limits: Limits
    python: PythonRequirement
    replicas: int
    placement: Placement
    logs: LogOptions
    watch: Watch
    critical: bool


class PluginManifest(Body, frozen=True, kw_only=True):
    """`GET /plugin/{plugin_id}/manifest`."""

    plugin_id: str
    folder: Annotated[str, Meta(description="its name; empty if it is gone")]
    manifest: ManifestFields | None
    problem: str
    manifest_error: OptionalError = UNSET
    warnings: Annotated[
        Strings, Meta(description="keys of `plugin.toml` that are probably misspelt, or have no effect here")
    ]
    time: Time


class CheckResult(Body, frozen=True, kw_only=True):
    """One of a plugin's checks."""

    name: str
    level: Level
    status: CheckStatus
    failures: Annotated[Count, Meta(description="in a row; during `startup` none counts until the first success")]
    last_error: Annotated[OptionalText, Meta(description="why the last attempt failed; absent if it passed")] = UNSET
    at: Annotated[OptionalTime, Meta(description="when the last attempt ended")] = UNSET


class PluginHealth(Body, frozen=True, kw_only=True):
    """Whether a plugin's process is alive, and whether its checks pass."""

    alive: bool
    status: Literal["running", "stopped", "crashed"]
    pid: Pid | None
    exitcode: Annotated[int, Meta(description="of a signal its number, negative")] | None
    health: OptionalHealth = UNSET
    checks: Annotated[
        tuple[CheckResult, ...] | UnsetType, Meta(description="absent without checks or without a process")
    ] = UNSET
