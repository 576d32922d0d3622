"""Logs as the API shows them."""

from typing import Annotated

from msgspec import Meta

from plugvisor.models.body import Amount, Body, Count, Time


class LogEntry(Body, frozen=True, kw_only=False):
    """One line of a log. What it does not tell is None; one in which nothing is recognised is all message."""

    timestamp: str | None
    """ISO 8601 with the line's own offset from UTC, or else this machine's."""
    level: str | None
    """One of `LEVELS`."""
    file: str | None
    """Where in the source it was logged, as the line tells it: a file, a module or a logger's name."""
    line: Count | None
    message: str
    """The rest of the line, colours included."""


class Log(Body, frozen=True, kw_only=True):
    """`GET /plugin/{plugin_id}/logs`: the newest lines, the oldest of them first."""

    plugin_id: str
    logs: list[LogEntry]
    total_lines: Count
    returned_lines: Count
    log_file: str


class LogFile(Body, frozen=True, kw_only=True):
    """A file that holds a part of a log."""

    filename: str
    size: Count
    modified: Time
    modified_seconds: Annotated[Amount, Meta(description="the same in seconds since 1970")]


class LogFileList(Body, frozen=True, kw_only=True):
    """`GET /plugin/{plugin_id}/logs/files`: the newest file first."""

    plugin_id: str
    log_files: list[LogFile]
    count: Count
    time: Time
