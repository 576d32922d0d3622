"""The service itself as the API shows it."""

from typing import Literal

from plugvisor.models.body import Body, Count, Pid, Time


class Liveness(Body, frozen=True, kw_only=True):
    """`GET /health`."""

    status: Literal["ok"]
    time: Time


class Readiness(Body, frozen=True, kw_only=True):
    """`GET /available`, when it is."""

    status: Literal["ok"]
    available: Literal[True]
    plugins_count: Count
    time: Time


class SupervisorInfo(Body, frozen=True, kw_only=True):
    """The supervisord that runs the plugins."""

    version: str
    pid: Pid
    state: str
    extension: bool


class ServerInfo(Body, frozen=True, kw_only=True):
    """`GET /server/info`."""

    version: str
    sdk_version: str
    plugins_count: Count
    registered_plugins: list[str]
    running_plugins_count: Count
    running_plugins: list[str]
    supervisor: SupervisorInfo
    time: Time
