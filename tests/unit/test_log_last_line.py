"""The line with which a process that has ended says why."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from plugvisor.logs.files import LogFiles
from plugvisor.logs.last_line import LONGEST, find_last_line, read_last_line
from plugvisor.logs.marks import NO_LOG, Mark, mark_end
from plugvisor.logs.tail import LONGEST_LINE_BYTES

if TYPE_CHECKING:
    from pathlib import Path

TRACEBACK = """\
Traceback (most recent call last):
  File "main.py", line 3, in <module>
    import plugin.sdk
ModuleNotFoundError: No module named 'plugin.sdk'"""
GROUP = """\
  + Exception Group Traceback (most recent call last):
  |   File "main.py", line 9, in <module>
  |     raise
  | ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "main.py", line 4, in work
    |     1 / 0
    |     ~~^~~
    | ZeroDivisionError: division by zero
    +------------------------------------"""
CHAINED = """\
Traceback (most recent call last):
  File "main.py", line 1, in <module>
KeyError: 'a'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "main.py", line 3, in <module>
ValueError: no
more of the text"""


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("\n  \n", ""),
        ("one\ntwo", "two"),
        ("one\n\n  two  \n\n", "two"),
        (TRACEBACK, "ModuleNotFoundError: No module named 'plugin.sdk'"),
        (f"{TRACEBACK}\nERROR:    Exiting.", "ModuleNotFoundError: No module named 'plugin.sdk'"),
        (f"{TRACEBACK}\nbye", "ModuleNotFoundError: No module named 'plugin.sdk'"),
        (CHAINED, "ValueError: no"),
        (GROUP, "ZeroDivisionError: division by zero"),
        ("Traceback (most recent call last):\n  File", "File"),
        ("2026-11-30 06:04:32,131 | ERROR    | it is broken\nbye", "it is broken"),
        ("ERROR:root:it is broken\nbye", "it is broken"),
        ("ERROR: one\nFATAL: two\nbye", "two"),
        ("2026-11-30 06:04:32,131 INFO bye", "bye"),
        ("node:internal\n\nError: Cannot find 'x'\n    at f (a.js:1)\n\nNode.js v18", "Error: Cannot find 'x'"),
        ("TypeError: x is undefined\n    at f", "TypeError: x is undefined"),
        ("panic: no luck\n\ngoroutine 1 [running]:\nexit status 2", "panic: no luck"),
        ("thread 'main' panicked at 'no luck', a.rs:1\nnote: run", "thread 'main' panicked at 'no luck', a.rs:1"),
        ("there were no ERRORS\nbye", "bye"),
        ("\x1b[31mERROR\x1b[0m it is \x1b]0;title\x07broken\nbye", "ERROR it is broken"),
        ("a\x00b\tc\u202ed", "a\ufffdb c\ufffdd"),
        ("x" * LONGEST, "x" * LONGEST),
        ("x" * (LONGEST + 1), "x" * (LONGEST - 1) + "…"),
    ],
)  # fmt: skip
def test_which_line_says_why(text: str, line: str) -> None:
    assert find_last_line(text.split("\n")) == line


class Log:
    """A log that the test writes."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "x.log"
        self.files = LogFiles(folder, "x.log")

    def write(self, text: str) -> None:
        with self.path.open("a") as file:
            file.write(text)

    def read(self, begin: Mark | None = None, started: float = 0.0, slot: int = 0) -> str:
        return read_last_line(self.files, begin, started, slot)[0]


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


def test_no_log(log: Log) -> None:
    assert read_last_line(log.files, None) == ("", NO_LOG)
    assert mark_end(log.files) == NO_LOG
    log.write("ERROR one\ntwo\n")
    assert log.read(NO_LOG) == "ERROR one"


def test_lines_of_an_earlier_process_are_not_considered(log: Log) -> None:
    log.write(f"{TRACEBACK}\nlast\n")
    end = mark_end(log.files)
    assert log.read(end) == ""
    assert log.read(Mark(end.inode, 0)) == "ModuleNotFoundError: No module named 'plugin.sdk'"
    assert log.read(None) == "last", "those before it may be of an earlier process"
    log.write("new")
    assert log.read(end) == "new"
    log.write(" line\nand another\n")
    assert log.read(end) == "and another"
    log.write("ERROR: broken\nbye\n")
    line, new_end = read_last_line(log.files, end)
    assert line == "broken"
    assert new_end == mark_end(log.files) == Mark(end.inode, log.path.stat().st_size)


def test_what_was_written_before_the_start_is_not_considered(log: Log) -> None:
    log.write("an earlier process's\n")
    os.utime(log.path, (1000.0, 1000.0))
    assert log.read(None, started=1000.5) == ""
    assert log.read(None, started=999.5) == "an earlier process's"


def test_a_log_that_was_rotated(log: Log) -> None:
    log.write("ERROR of an earlier process\n")
    begin = mark_end(log.files)
    log.write("ERROR: broken\n")
    log.path.rename(f"{log.path}.1")
    log.write("bye\n")
    assert log.read(begin) == "broken"
    log.path.rename(f"{log.path}.1")
    log.write("ERROR: of whom?\nlast\n")
    assert log.read(begin) == "last", "where it began is not there any more"


def test_a_log_that_was_truncated_or_is_no_file(log: Log) -> None:
    log.write("a long line\n")
    begin = mark_end(log.files)
    log.path.write_text("ERROR\nshort\n"[:12])
    os.truncate(log.path, 0)
    log.write("last\n")
    assert log.read(begin) == "last"
    log.path.unlink()
    log.path.mkdir()
    assert log.read(begin) == ""


def test_a_huge_log_costs_no_more_than_its_end(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    with log.path.open("wb") as file:
        file.truncate(5_000_000_000)
        file.seek(0, os.SEEK_END)
        file.write(b"\nERROR: broken\n" + b"x" * (LONGEST_LINE_BYTES + 7))
    read: list[int] = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, count, at: read.append(count) or pread(fd, count, at))
    assert log.read(NO_LOG).startswith("xxx")
    log.write("\nERROR: two\nbye\n")
    assert log.read(NO_LOG) == "two"
    assert sum(read) < 1_000_000


def test_the_lines_of_one_replica(log: Log) -> None:
    log.write("".join(f"[{slot}@node] {line}\n" for line in TRACEBACK.splitlines() for slot in (2, 1)))
    log.write("[2@node] ERROR of another\n[12@node] bye\n")
    assert log.read(NO_LOG, slot=1) == "ModuleNotFoundError: No module named 'plugin.sdk'"
    assert log.read(NO_LOG, slot=3) == ""
