"""Points in time as a person writes them on a command line."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from plugvisor.cli.output import make_printable
from plugvisor.errors import ConfigurationError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def read_past(option: str, text: str) -> str:
    """The moment that is as long ago as `1h` says, or the one that is written; raises `ConfigurationError`."""
    return _read(option, text, -1)


def read_future(option: str, text: str) -> str:
    """The moment in as long as `90d` says, or the one that is written; raises `ConfigurationError`."""
    return _read(option, text, 1)


def _read(option: str, text: str, direction: int) -> str:
    """ISO 8601 with an offset; without one, local time is meant, and without a time of day the day's beginning."""
    try:
        if match := re.fullmatch("([0-9]{1,6})([smhdw])", text):
            duration = timedelta(seconds=int(match[1]) * _UNITS[match[2]])
            return (datetime.now().astimezone() + direction * duration).isoformat()
        return datetime.fromisoformat(text).astimezone().isoformat()
    except (ValueError, OverflowError, OSError) as error:
        raise ConfigurationError(
            f"cannot use {option} {text!r}: write a duration like 90s, 30m, 12h, 90d or 2w, "
            "or a date like 2026-12-31 or 2026-12-31T18:00"
        ) from error


def show_time(text: str) -> str:
    """A time of the API's, in this machine's local time, to the second; what is none is shown as it is."""
    try:
        return f"{datetime.fromisoformat(text).astimezone():%F %T}"
    except (ValueError, OverflowError, OSError):
        return make_printable(text)
