"""Lines of logs as JSON objects (`PLUGVISOR_LOG_FORMAT=json`).

    {"time": "2026-11-30T06:15:00.123456Z", "level": "INFO", "logger": "plugvisor.cli.service", "message": "…"}
    {"time": "2026-11-30T06:15:00.124001Z", "plugin": "heartbeat", "line": "2026-11-30 14:15:00 beat 9"}

The first form is the service's and supervisord's, with `exception` if there was one; the second is a plugin's, on
standard output alone. No plugin can write the first: what it prints is text in the second.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

_UNSAFE = re.compile("[\x7f-\x9f\u2028\u2029]")
"""The characters that JSON allows in a string, and that a terminal or a reader of lines does not take for text."""
_OURS = {"time", "level", "logger", "message", "exception"}
_NEEDED = _OURS - {"exception"}


def format_moment(seconds: float) -> str:
    """A time by RFC 3339, in UTC, with microseconds; `seconds` are since 1970."""
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat(timespec='microseconds')[:26]}Z"


def dump_line(fields: dict[str, str]) -> str:
    """A line, without a line break; a lone surrogate is written as `\\udc80` in the text."""
    safe = {name: value.encode("utf-8", "backslashreplace").decode() for name, value in fields.items()}
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(safe, ensure_ascii=False))


def parse_own_line(line: str | bytes) -> dict[str, str] | None:
    """The fields of a line of the first form; None if it is anything else."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or not fields.keys() >= _NEEDED or not fields.keys() <= _OURS:
        return None
    return fields if all(isinstance(value, str) for value in fields.values()) else None
