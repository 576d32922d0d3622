"""The lines of `plugvisor logs`: their form, their order, and what must not reach a terminal."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from plugvisor.api.resources.logs.files import SERVER_ID
from plugvisor.api.resources.logs.streams import MOST_STREAMS
from plugvisor.cli.streams import logs, selection
from plugvisor.cli.streams.log_follower import Filter
from plugvisor.cli.streams.log_lines import LineFormat, merge, show_message
from plugvisor.cli.verbs import streams
from plugvisor.logs import lines, tail

AT = datetime(2026, 11, 29, 18, 5, 7).astimezone()


def entry(message: str, timestamp: datetime | str | None = None, **more: Any) -> dict[str, Any]:
    """A line as the service sends it."""
    when = timestamp.isoformat() if isinstance(timestamp, datetime) else timestamp
    return {"timestamp": when, "level": None, "file": None, "line": None, "message": message, **more}


def test_what_the_command_knows_of_the_service() -> None:
    """It does not import these: that would take as long as the rest of the command."""
    assert streams.LEVELS == lines.LEVELS
    assert logs.MOST_LINES == tail.MOST_LINES
    assert logs.MOST_FOLLOWED == MOST_STREAMS
    assert selection.SERVER_ID == SERVER_ID


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (entry("plain"), "plain"),
        (entry("x", AT), "2026-11-29 18:05:07  x"),
        (entry("x", AT.replace(microsecond=42_000), level="INFO"), "2026-11-29 18:05:07.042  INFO      x"),
        (entry("x", level="CRITICAL", file="a/b.py", line=7), "CRITICAL  a/b.py:7  x"),
        (entry("x", file="uvicorn\x1b[2J"), "uvicorn\\x1b[2J  x"),
        (entry("x", "0001-01-01T00:00:00+14:00"), "0001-01-01T00:00:00+14:00  x"),
        (entry("x", "never\n"), "never\\n  x"),
    ],
)
def test_a_line(line: dict[str, Any], text: str) -> None:
    assert LineFormat(["web"], colored=False, as_json=False).show("web", line) == text


def test_colours_of_the_command() -> None:
    shown = LineFormat(["a", "long"], colored=True, as_json=False).show("a", entry("x", level="ERROR"))
    assert shown == "\x1b[36ma    | \x1b[0m\x1b[31mERROR   \x1b[0m  x"


def test_json() -> None:
    shown = LineFormat(["a", "b"], colored=True, as_json=True).show("a", entry("\x1b[31m你\n"))
    assert json.loads(shown) == {"plugin_id": "a", **entry("\x1b[31m你\n")}
    assert shown.isascii()


@pytest.mark.parametrize(
    "text",
    [
        "\x1b[2J", "\x1b[1;1H", "\x1b]0;title\x07", "\x1b]8;;http://x\x1b\\", "\x1bP$q\x1b\\", "\x1b[?1049h", "\x1b[6n",
        "\x1bc", "\x9b31m", "\x1b[31", "\x1b[>4;2m", "\x1b[31 m", "\b\b", "\r", "\x07", "\u202e",
        "\x1b[" + 100 * "1" + "m",
    ],
)  # fmt: skip
def test_what_must_not_reach_a_terminal(text: str) -> None:
    """Not even between colours."""
    for shown in (show_message(f"a{text}b", colored=True), show_message(f"\x1b[31ma{text}b", colored=True)):
        rest = shown.replace("\x1b[31m", "").replace("\x1b[0m", "")
        assert rest.isprintable(), rest


def test_colours_of_plugins() -> None:
    text = "\x1b[38;5;9mred\x1b[0m \x1b[38:2::1:2:3mrgb\tx"
    assert show_message(text, colored=False) == "red rgb\tx"
    assert show_message(text, colored=True) == text + "\x1b[0m", "no colour goes on into the next line"
    assert show_message("plain", colored=True) == "plain"


def test_several_logs_by_time() -> None:
    later = AT.replace(minute=6)
    found = merge(
        {
            "a": [entry("a0"), entry("a2", later), entry("a3", AT), entry("a4")],
            "b": [entry("b1", AT), entry("b5", AT.replace(minute=7))],
            "c": [entry("c0")],
        }
    )
    assert [line["message"] for _, line in found] == ["a0", "c0", "b1", "a2", "a3", "a4", "b5"]


def test_which_lines_there_are_already() -> None:
    there = [entry("early"), entry("one", AT), entry("two"), entry("three", AT.replace(minute=6), level="ERROR")]
    assert Filter(2).find_newest(there) == there[2:]
    assert Filter(0).find_newest(there) == []
    assert Filter(9, since=AT.isoformat()).find_newest(there) == there[1:]
    assert Filter(9, since=AT.replace(minute=7).isoformat()).find_newest(there) == []
    assert Filter(9, level="ERROR").find_newest(there) == there[3:]
    assert Filter(9, search="TW").find_newest(there) == [there[2]]
    assert Filter(9, since=AT.isoformat()).find(there) == there, "what is new is new enough"
    assert (Filter(5).lines_to_read, Filter(0).lines_to_read, Filter(5, search="x").lines_to_read) == (5, 1, 10_000)
