"""Lines of logs: what each logger's form tells, and that no bytes at all can raise or take long."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plugvisor.logs.lines import LEVELS, SPELLINGS, find_moment, parse_line
from plugvisor.logs.tail import LONGEST_LINE_BYTES, cut_line, decode_line
from plugvisor.models.log import LogEntry

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose offset is not that of UTC and changes twice a year."""
    from plugvisor.logs.lines import _find_zone  # noqa: PLC0415 - its memory is of another zone

    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    _find_zone.cache_clear()
    yield
    monkeypatch.undo()
    time.tzset()
    _find_zone.cache_clear()


WHEN = "2026-11-22T10:11:12+01:00"
MILLISECONDS = "2026-11-22T10:11:12.123000+01:00"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # logging: its default, and what people make of it
        ("WARNING:root:careful", LogEntry(None, "WARNING", "root", None, "careful")),
        ("2026-11-22 10:11:12,123 INFO a - b", LogEntry(MILLISECONDS, "INFO", None, None, "a - b")),
        ("2026-11-22 10:11:12,123 - my.mod - INFO - a", LogEntry(MILLISECONDS, "INFO", "my.mod", None, "a")),
        ("2026-11-22 10:11:12 [my.mod] DEBUG: a", LogEntry(WHEN, "DEBUG", "my.mod", None, "a")),
        ("2026-11-22 10:11:12 [ERROR] a", LogEntry(WHEN, "ERROR", None, None, "a")),
        ("2026-11-22 10:11:12 INFO main.py:7: a", LogEntry(WHEN, "INFO", "main.py", 7, "a")),
        ("2026-11-22 10:11:12 INFO [main.py:7] a", LogEntry(WHEN, "INFO", "main.py", 7, "a")),
        ("2026-11-22 10:11:12 - [x] - INFO - main.py:7 - a", LogEntry(WHEN, "INFO", "main.py", 7, "a")),
        # a replica's
        ("[2@node-1] 2026-11-22 10:11:12 ERROR a", LogEntry(WHEN, "ERROR", None, None, "[2@node-1] a")),
        ("[2@node-1] a", LogEntry(None, None, None, None, "[2@node-1] a")),
        # loguru
        (
            "2026-11-22 10:11:12.123 | INFO     | m.x:run:7 - a | b",
            LogEntry(MILLISECONDS, "INFO", "m.x:run", 7, "a | b"),
        ),
        (
            "\x1b[32m2026-11-22 10:11:12.123\x1b[0m | \x1b[1mSUCCESS \x1b[0m | "
            "\x1b[36m__main__\x1b[0m:\x1b[36m<module>\x1b[0m:\x1b[36m7\x1b[0m - \x1b[1ma\x1b[0m",
            LogEntry(MILLISECONDS, "SUCCESS", "__main__:<module>", 7, "\x1b[1ma\x1b[0m"),
        ),
        # uvicorn, gunicorn
        ("INFO:     Started", LogEntry(None, "INFO", None, None, "Started")),
        ("\x1b[32mINFO\x1b[0m:     Started", LogEntry(None, "INFO", None, None, "Started")),
        ('INFO:     127.0.0.1:5321 - "GET /"', LogEntry(None, "INFO", None, None, '127.0.0.1:5321 - "GET /"')),
        ("[2026-11-22 10:11:12 +0100] [7] [INFO] a", LogEntry(WHEN, "INFO", None, None, "[7] [INFO] a")),
        # ours, supervisord's, syslog's, nginx's, Go's
        (
            "2026-11-22 10:11:12 INFO 127.0.0.1 POST /x: 200",
            LogEntry(WHEN, "INFO", None, None, "127.0.0.1 POST /x: 200"),
        ),
        ("2026-11-22 10:11:12,123 CRIT a", LogEntry(MILLISECONDS, "CRITICAL", None, None, "a")),
        ("<34>1 2026-11-22T10:11:12+01:00 host app: a", LogEntry(WHEN, None, None, None, "host app: a")),
        ("2026/11/22 10:11:12 [warn] 7#0: a", LogEntry(WHEN, "WARNING", None, None, "7#0: a")),
        ("2026/11/22 10:11:12 a", LogEntry(WHEN, None, None, None, "a")),
        # times
        ("[2026-11-22T10:11:12Z] ERROR a", LogEntry("2026-11-22T10:11:12+00:00", "ERROR", None, None, "a")),
        ("2026-07-22 10:11:12 a", LogEntry("2026-07-22T10:11:12+02:00", None, None, None, "a")),
        ("2026-11-22 10:11:12 -5 degrees", LogEntry(WHEN, None, None, None, "-5 degrees")),
        ("2026-11-22 10:11:12", LogEntry(WHEN, None, None, None, "")),
        # nothing is taken out of a sentence
        ("2026-11-22 10:11:12 Got an ERROR from x", LogEntry(WHEN, "ERROR", None, None, "Got an ERROR from x")),
        ("2026-11-22 10:11:12 This is no INFO", LogEntry(WHEN, None, None, None, "This is no INFO")),
        ("2026-11-22 10:11:12 INFORMATION a", LogEntry(WHEN, None, None, None, "INFORMATION a")),
    ],
)
def test_what_a_line_tells(text: str, expected: LogEntry) -> None:
    assert parse_line(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "Traceback (most recent call last):",
        '  File "x.py", line 3, in f',
        "ERROR in foo",
        "error: lower case may begin a sentence",
        "10:11:12 INFO without a date",
        "2026-02-31 10:11:12 INFO no such day",
        "2026-11-22 10:11:60 INFO no such second",
        "0000-01-01 00:00:00 INFO no such year",
        "2026-11-22 10:11:123 INFO no time",
        "Feb 31 10:11:12 host no such day",
        "你好 \x00\x1b[2J\x07 \u2028 \ufeff",
    ],
)
def test_a_line_that_tells_nothing_comes_whole(text: str) -> None:
    assert parse_line(text) == LogEntry(None, None, None, None, text)


def test_a_syslog_line_is_of_the_last_year() -> None:
    now = datetime.now(UTC).astimezone()
    today = parse_line(f"{now:%b} {now.day:2} 00:00:00 host app[7]: a")
    assert (today.timestamp or "").startswith(f"{now:%Y-%m-%d}T00:00:00")
    assert today.message == "host app[7]: a"
    later = now.replace(day=1, month=now.month % 12 + 1)
    if later.year == now.year and (later - now).days > 2:
        parsed = parse_line(f"{later:%b}  1 00:00:00 a").timestamp or ""
        assert parsed.startswith(str(now.year - 1 if later > now else now.year))


@pytest.mark.parametrize("word", SPELLINGS)
def test_every_spelling_is_a_level(word: str) -> None:
    for text in (f"{word}: a", f"[{word.lower()}] a", f"2026-11-22 10:11:12 {word} a"):
        assert parse_line(text).level == SPELLINGS[word]
    assert SPELLINGS[word] in LEVELS


def test_a_moment_is_the_same_as_the_entrys_timestamp() -> None:
    for text in ("2026-11-22 10:11:12,123 INFO a", "2026-11-22T10:11:12-05:00 a", "2026-07-01 00:00:00 a"):
        timestamp = parse_line(text).timestamp
        assert timestamp
        assert find_moment(text) == datetime.fromisoformat(timestamp).timestamp()
    assert find_moment("a") is None


PIECES = st.sampled_from(
    [
        *("2026-11-22 10:11:12", ",123", "Z", "+01:00", "Nov 22 10:11:12", "<34>", "INFO", "ERROR", "[", "]", "(", "|"),
        *(
            " - ",
            ": ",
            ":",
            "main.py:7",
            "a:b:7",
            "\x1b[1m",
            "\x1b[",
            "\x1b",
            "\r",
            "\t",
            " ",
            "\x00",
            "\ud7ff",
            "9999-12-31",
        ),
    ]
)


@given(st.one_of(st.binary(), st.lists(PIECES).map(lambda pieces: "".join(pieces).encode())))
def test_any_bytes_are_an_entry_that_json_can_hold(line: bytes) -> None:
    text = decode_line(line.replace(b"\n", b""))
    entry = parse_line(text)
    told = json.loads(msgspec.json.encode(entry))
    assert told["message"] == entry.message
    assert text.endswith(entry.message)
    assert entry.level is None or entry.level in LEVELS
    assert (find_moment(text) is None) == (entry.timestamp is None)


@pytest.mark.parametrize(
    "start", ["", "2026-11-22 10:11:12 ", "2026-11-22 10:11:12 INFO ", "INFO:", "Nov 22 10:11:12 "]
)
@pytest.mark.parametrize(
    "piece", ["a", " ", "a ", "[", "a:", ":", "-", "| ", "\x1b[1m", "\x1b[", "a.py", "0", "2026-", "<"]
)
def test_no_line_takes_long(start: str, piece: str) -> None:
    text = (start + piece * LONGEST_LINE_BYTES)[:LONGEST_LINE_BYTES]
    took = []
    for _ in range(5):
        began = time.process_time()
        parse_line(text)
        took.append(time.process_time() - began)
    assert min(took) < 0.005


def test_a_long_line_is_cut_with_a_mark() -> None:
    assert cut_line(b"x" * LONGEST_LINE_BYTES, LONGEST_LINE_BYTES) == b"x" * LONGEST_LINE_BYTES
    cut = decode_line(cut_line(b"x" * LONGEST_LINE_BYTES, LONGEST_LINE_BYTES + 5))
    assert cut == "x" * LONGEST_LINE_BYTES + " … [cut: 5 more bytes]"


def test_the_moment_of_a_replicas_line_is_found() -> None:
    assert find_moment("[12@node1] 2026-11-22 10:11:12 a") == find_moment("2026-11-22 10:11:12 a")
