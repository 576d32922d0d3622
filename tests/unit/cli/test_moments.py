"""Moments on a command line: durations, dates, and what is neither."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from plugvisor.cli.moments import read_future, read_past, show_time
from plugvisor.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("90s", timedelta(seconds=90)),
        ("0s", timedelta()),
        ("30m", timedelta(minutes=30)),
        ("12h", timedelta(hours=12)),
        ("90d", timedelta(days=90)),
        ("2w", timedelta(weeks=2)),
    ],
)
def test_a_duration(text: str, duration: timedelta) -> None:
    before = datetime.now(UTC)
    past, future = (datetime.fromisoformat(read("--x", text)) for read in (read_past, read_future))
    after = datetime.now(UTC)
    assert before - duration <= past <= after - duration
    assert before + duration <= future <= after + duration


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-12-31", datetime(2026, 12, 31).astimezone()),
        ("2026-12-31T18:00", datetime(2026, 12, 31, 18).astimezone()),
        ("2026-12-31T18:00:00Z", datetime(2026, 12, 31, 18, tzinfo=UTC)),
        ("2026-12-31T18:00+08:00", datetime(2026, 12, 31, 10, tzinfo=UTC)),
    ],
)
def test_a_date(text: str, moment: datetime) -> None:
    assert datetime.fromisoformat(read_past("--x", text)) == moment
    assert read_past("--x", text) == read_future("--x", text)
    assert datetime.fromisoformat(read_past("--x", text)).tzinfo is not None


@pytest.mark.parametrize("text", ["", "1", "h", "-1h", "1 h", "1y", "tomorrow", "2026-13-01", "999999w", "٣h", "1h\n"])
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^cannot use --since '.*: write a duration like"):
        read_past("--since", text)


def test_a_time_is_shown_without_fractions() -> None:
    moment = datetime.now().astimezone()
    assert show_time(moment.astimezone(UTC).isoformat()) == moment.strftime("%Y-%m-%d %H:%M:%S")
