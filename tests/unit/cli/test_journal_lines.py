"""The lines of `plugvisor journal`, for each kind of entry."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from plugvisor.cli.output import format_table, make_printable
from plugvisor.cli.streams import journal

AT = datetime(2026, 11, 29, 18, 5, 7).astimezone().isoformat()


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"kind": "state", "status": "running", "state": "RUNNING"}, "running (RUNNING)"),
        (
            {"kind": "state", "status": "error", "state": "EXITED", "last_exit": {"code": 3, "at": AT}},
            "error (EXITED), exit code 3",
        ),
        (
            {"kind": "state", "status": "error", "state": "EXITED", "last_exit": {"signal": "SIGKILL", "at": AT}},
            "error (EXITED), SIGKILL",
        ),
        (
            {"kind": "state", "status": "starting", "state": "STARTING", "last_exit": {"signal": "SIGTERM", "at": AT}},
            "starting (STARTING), after SIGTERM",
        ),
        (
            {
                "kind": "state",
                "status": "error",
                "state": "FATAL",
                "last_exit": {"code": 3},
                "detail": "it ended with 3",
            },
            "error (FATAL), it ended with 3",
        ),
        (
            {
                "kind": "operation",
                "verb": "stop",
                "outcome": "ok",
                "milliseconds": 12,
                "identity": "ops",
                "address": "::1",
            },
            "stop, ok, 12 ms, by ops from ::1",
        ),
        (
            {"kind": "operation", "verb": "refresh", "outcome": "ok", "changes": {"added": ["a", "b"], "removed": []}},
            "refresh, ok, 2 added",
        ),
        ({"kind": "check", "subject": "web", "health": "unhealthy", "detail": "refused"}, "web, unhealthy, refused"),
        ({"kind": "identity", "verb": "add", "subject": "ops", "identity": "admin"}, "add ops, by admin"),
        ({"kind": "service", "subject": "supervisord", "verb": "lost"}, "supervisord lost"),
        ({"kind": "service"}, ""),
    ],
)
def test_what_has_happened(entry: dict[str, Any], words: str) -> None:
    assert journal.describe(entry) == words


def test_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    entry = {
        "id": 1,
        "kind": "state",
        "plugin_id": "web",
        "at": AT,
        "status": "running",
        "detail": "\x1b[31mred\n\x9b1m",
    }
    journal.show_line(entry, colored=False)
    journal.show_json(entry)
    line, as_json = capsys.readouterr().out.splitlines()
    assert line == "2026-11-29 18:05:07  web               state      running, \\x1b[31mred\\n\\x9b1m"
    assert as_json.isascii()


def test_the_line_of_an_entry_that_counts_up(capsys: pytest.CaptureFixture[str]) -> None:
    """In a list it stands where it began; what comes just now has happened just now."""
    until = AT.replace("18:05:07", "18:30:00")
    entry = {"id": 1, "kind": "state", "at": AT, "until": until, "times": 40, "status": "error"}
    journal.show_line(entry, colored=False)
    journal.show_latest_line(entry, colored=False)
    assert capsys.readouterr().out.splitlines() == [
        "2026-11-29 18:05:07  -                 state      error, 40 times until 2026-11-29 18:30:00",
        "2026-11-29 18:30:00  -                 state      error, 40 times since 2026-11-29 18:05:07",
    ]


def test_only_what_a_terminal_shows_as_it_is() -> None:
    assert make_printable("你好 é ok") == "你好 é ok"
    assert make_printable("\x1b\r\u202e\x85") == "\\x1b\\r\\u202e\\x85"
    assert make_printable("你 é", "latin-1") == "\\u4f60 é"


def test_a_table() -> None:
    assert format_table([("NAME", "ROLE"), ("a-long-name", "x")]) == "NAME         ROLE\na-long-name  x"


@pytest.mark.parametrize(
    ("entry", "color"),
    [
        ({"kind": "state", "status": "running"}, "\x1b[32m"),
        ({"kind": "state", "status": "error"}, "\x1b[31m"),
        ({"kind": "operation", "verb": "stop", "outcome": "not_running"}, "\x1b[31m"),
        ({"kind": "check", "health": "unhealthy"}, "\x1b[31m"),
        ({"kind": "service", "subject": "supervisord", "verb": "lost"}, "\x1b[31m"),
        ({"kind": "operation", "verb": "stop", "outcome": "ok"}, ""),
    ],
)
def test_colours(entry: dict[str, Any], color: str, capsys: pytest.CaptureFixture[str]) -> None:
    journal.show_line({"id": 1, "at": AT, **entry}, colored=True)
    before, *rest = capsys.readouterr().out.split("\x1b", 1)
    assert "\x1b".join(["", *rest]).startswith(color)
    assert bool(rest) == bool(color), before
