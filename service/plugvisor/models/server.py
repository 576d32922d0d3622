"""The service itself as the API shows it."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta

from plugvisor.models.body import Body, Count, OptionalPid, OptionalText, Time


class Liveness(Body, frozen=True, kw_only=True):
    """`GET /health`."""

    status: Literal["ok"]
    time: Time


class StoreStatus(Body, frozen=True, kw_only=True):
    """Whether what happens now is remembered."""

    status: Literal["ok", "unavailable"]
    detail: Annotated[OptionalText, Meta(description="why nothing is remembered, for a person")] = UNSET
    set_aside: Annotated[
        OptionalText, Meta(description="name of the broken file in the state folder, if there was one since the start")
    ] = UNSET


class Readiness(Body, frozen=True, kw_only=True):
    """`GET /available`, when it is."""

    status: Literal["ok"]
    available: Literal[True]
    plugins_count: Count
    store: StoreStatus
    warning: Annotated[OptionalText, Meta(description="what an operator should mend although everything works")] = UNSET
    time: Time


class SupervisorInfo(Body, frozen=True, kw_only=True):
    """The supervisord that runs the plugins; of another engine the same as `EngineDescription`, for older clients."""

    version: str
    pid: Annotated[OptionalPid, Meta(description="absent if the engine is no process of this machine")] = UNSET
    state: str
    extension: Annotated[bool, Meta(description="whether it answers")]


class EngineDescription(Body, frozen=True, kw_only=True):
    """The engine, which runs the plugins."""

    name: Annotated[str, Meta(description="`supervisord` or `swarm`")]
    version: str
    state: Annotated[str, Meta(description="in its own words")]
    lacks: Annotated[dict[str, str], Meta(description="what it cannot do, and why, for a person")]


class InstallationInfo(Body, frozen=True, kw_only=True):
    """Whether plugins can be installed."""

    on: bool
    reason: Annotated[OptionalText, Meta(description="why they cannot, for a person")] = UNSET
    package_mb: Annotated[Count, Meta(description="the largest package, in megabytes")]


class ServerInfo(Body, frozen=True, kw_only=True):
    """`GET /server/info`."""

    version: str
    sdk_version: str
    plugins_count: Count
    registered_plugins: list[str]
    running_plugins_count: Count
    running_plugins: list[str]
    engine: EngineDescription
    supervisor: SupervisorInfo
    installation: InstallationInfo
    time: Time
