"""The data of server-sent events."""

from msgspec import UNSET

from plugvisor.models.body import Body, Count, OptionalPid, Time
from plugvisor.models.log import LogEntry
from plugvisor.models.plugin import ListedPlugin, Uptime


class SnapshotPlugin(ListedPlugin, frozen=True, kw_only=True):
    """A plugin in a snapshot: as it is listed, with its process."""

    pid: OptionalPid = UNSET
    uptime: Uptime = UNSET


class Snapshot(Body, frozen=True, kw_only=True):
    """The events `snapshot` and `plugins`: every plugin, or the one that was asked for."""

    plugins: tuple[SnapshotPlugin, ...]
    time: Time


class SupervisorLost(Body, frozen=True, kw_only=True):
    """The event `unavailable`."""

    detail: str
    time: Time


class LogBegin(Body, frozen=True, kw_only=True):
    """The event `initial` of a log: its last lines."""

    logs: list[LogEntry]
    log_file: str
    total_lines: Count


class LogAppend(Body, frozen=True, kw_only=True):
    """The event `append` of a log: the lines after those."""

    logs: list[LogEntry]
