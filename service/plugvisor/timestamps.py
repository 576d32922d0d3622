"""Times as they are written, in the API and in the journal."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache


def format_time(timestamp: float | None = None) -> str:
    """ISO 8601 with microseconds and the local offset; now, or at seconds since 1970."""
    seconds, microseconds = divmod(to_microseconds(time.time() if timestamp is None else timestamp), 1_000_000)
    date_and_time, offset = _format_second(seconds)
    return f"{date_and_time}.{microseconds:06}{offset}"


def to_microseconds(timestamp: float) -> int:
    """The whole microseconds of seconds since 1970, as `format_time` writes them."""
    return int(timestamp * 1_000_000)


@lru_cache(maxsize=16)
def _format_second(seconds: int) -> tuple[str, str]:
    """Looking the time zone up takes longer than all the rest of an answer."""
    moment = datetime.fromtimestamp(seconds, UTC)
    with suppress(OverflowError):  # the last hours of the year 9999, in the east
        moment = moment.astimezone()
    return moment.strftime("%Y-%m-%dT%H:%M:%S"), moment.isoformat()[19:]
