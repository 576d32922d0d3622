"""Times as they are written."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from plugvisor.timestamps import _format_second, format_time

if TYPE_CHECKING:
    from collections.abc import Iterator

LAST = 253_402_300_799.0
"""The last second of the year 9999 in UTC, as which "never" is often written."""


@pytest.fixture
def shanghai(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CST-8")
    time.tzset()
    _format_second.cache_clear()
    yield
    monkeypatch.undo()
    time.tzset()
    _format_second.cache_clear()


@pytest.mark.usefixtures("shanghai")
def test_the_last_hours_that_a_time_can_be_in_are_written_without_the_local_offset() -> None:
    assert format_time(LAST) == "9999-12-31T23:59:59.000000+00:00"
    assert format_time(LAST - 86400) == "9999-12-31T07:59:59.000000+08:00"
