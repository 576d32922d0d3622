"""The last lines since a moment, across rotations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from plugvisor.logs.files import LogFiles
from plugvisor.logs.marks import mark_end
from plugvisor.manager.output_since import LONGEST_LINE, MOST_LINES, read_since

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def log(tmp_path: Path) -> LogFiles:
    return LogFiles(tmp_path, "echo.log")


def test_only_what_came_since_is_read(log: LogFiles, tmp_path: Path) -> None:
    path = tmp_path / "echo.log"
    path.write_text("old\n")
    mark = mark_end(log)
    assert read_since(log, mark) == []
    with path.open("a") as file:
        file.write("new\nnewer\nwithout an end")
    assert read_since(log, mark) == ["new", "newer", "without an end"]


def test_a_log_that_is_not_there_yet(log: LogFiles, tmp_path: Path) -> None:
    mark = mark_end(log)
    assert read_since(log, mark) == []
    (tmp_path / "echo.log").write_text("first\n")
    assert read_since(log, mark) == ["first"]


def test_a_rotation_in_between(log: LogFiles, tmp_path: Path) -> None:
    path = tmp_path / "echo.log"
    path.write_text("old\n")
    mark = mark_end(log)
    with path.open("a") as file:
        file.write("before\n")
    (tmp_path / "echo.log.1").write_text("older\n")
    (tmp_path / "echo.log.1").rename(tmp_path / "echo.log.2")
    path.rename(tmp_path / "echo.log.1")
    path.write_text("after\n")
    assert read_since(log, mark) == ["before", "after"]


def test_a_log_that_was_truncated(log: LogFiles, tmp_path: Path) -> None:
    path = tmp_path / "echo.log"
    path.write_text("a long old line\n")
    mark = mark_end(log)
    path.write_text("new\n")
    assert read_since(log, mark) == ["new"]


def test_few_and_short_lines_are_kept_of_a_flood(log: LogFiles, tmp_path: Path) -> None:
    mark = mark_end(log)
    (tmp_path / "echo.log").write_text("".join(f"{number} {'x' * 5000}\n" for number in range(500)))
    lines = read_since(log, mark)
    assert [line.split()[0] for line in lines] == [str(number) for number in range(500 - MOST_LINES, 500)]
    assert {len(line) for line in lines} == {LONGEST_LINE}


def test_what_is_no_text_is_made_one(log: LogFiles, tmp_path: Path) -> None:
    mark = mark_end(log)
    (tmp_path / "echo.log").write_bytes(b"\xff\xfe\r\nx\n")
    assert read_since(log, mark) == ["\ufffd\ufffd", "x"]
