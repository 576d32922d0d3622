"""The end of a log: the same lines as by reading all of it, at a cost that does not depend on its length."""

from __future__ import annotations

import os
import time
import tracemalloc
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plugvisor.logs import tail
from plugvisor.logs.files import LogFile, LogFiles
from plugvisor.logs.tail import LONGEST_LINE_BYTES, Query, Tail, read_backwards, read_tail

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def log(tmp_path: Path) -> LogFiles:
    return LogFiles(tmp_path, "x.log")


def write(log: LogFiles, *contents: bytes) -> None:
    """Write the current file and the rotated ones, newest first."""
    for number, content in enumerate(contents):
        (log.folder / (f"{log.name}.{number}" if number else log.name)).write_bytes(content)


def find(log: LogFiles, query: Query | None = None) -> Tail:
    with log.open_all() as files:
        return read_tail(files, query or Query())


def messages(found: Tail) -> list[str]:
    return [entry.message for entry in found.entries]


def test_no_file_is_an_empty_log(log: LogFiles) -> None:
    assert find(log) == Tail([], 0)
    write(log, b"")
    assert find(log) == Tail([], 0)


def test_the_last_lines_in_order(log: LogFiles) -> None:
    write(log, b"".join(b"line %d\n" % number for number in range(1000)))
    found = find(log, Query(lines=3))
    assert messages(found) == ["line 997", "line 998", "line 999"]
    assert found.total_lines == 1000
    assert len(find(log).entries) == 100
    assert len(find(log, Query(lines=10_000)).entries) == 1000


def test_an_incomplete_line_is_a_line(log: LogFiles) -> None:
    write(log, b"a\nb")
    assert messages(find(log)) == ["a", "b"]
    assert find(log).total_lines == 2


def test_rotated_files_are_read_if_the_current_one_has_too_few_lines(log: LogFiles) -> None:
    write(log, b"half\n6\n7\n", b"4\n5 is cut in ", b"1\n2\n3\n")
    assert messages(find(log)) == ["1", "2", "3", "4", "5 is cut in half", "6", "7"]
    assert messages(find(log, Query(lines=3))) == ["5 is cut in half", "6", "7"]
    assert find(log).total_lines == 3, "of the current file"
    (log.folder / log.name).unlink()
    assert messages(find(log, Query(lines=2))) == ["4", "5 is cut in "]


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.lists(st.sampled_from([b"\n", b"a", b"bc", b"\r\n", b"\xe4", "你".encode()]), max_size=40).map(b"".join),
    cuts=st.lists(st.integers(0, 40), max_size=3),
    block=st.integers(1, 9),
)
def test_reading_backwards_finds_the_same_lines(log: LogFiles, content: bytes, cuts: list[int], block: int) -> None:
    """For any division of the log into files, and of the files into blocks."""
    bounds = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    pieces = [content[start:end] for start, end in pairwise(bounds)]
    for path in log.folder.iterdir():
        path.unlink()
    write(log, *reversed(pieces))
    expected = content.removesuffix(b"\n").split(b"\n") if content else []
    with pytest.MonkeyPatch.context() as patch, log.open_all() as files:
        patch.setattr(tail, "_BLOCK_BYTES", block)
        assert list(read_backwards(files))[::-1] == expected


def test_a_line_of_50_megabytes(log: LogFiles) -> None:
    write(log, b"before\n" + b"x" * 50_000_000 + b"\nafter\n")
    tracemalloc.start()
    try:
        found = find(log, Query(lines=3))
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    before, long, after = messages(found)
    assert (before, after) == ("before", "after")
    assert long == "x" * LONGEST_LINE_BYTES + f" … [cut: {50_000_000 - LONGEST_LINE_BYTES} more bytes]"


def test_a_line_longer_than_the_searched_bytes_is_shown(log: LogFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "MOST_SCANNED_BYTES", 1_000_000)
    write(log, b"before\n" + b"x" * 5_000_000)
    [message] = messages(find(log))
    assert message.startswith("[cut: the beginning of a long line] xxx")


def test_the_search_is_limited_in_bytes(log: LogFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    write(log, *[b"".join(b"%d %d\n" % (file, number) for number in range(50_000)) for file in range(4)])
    assert messages(find(log, Query(search="3 77"))) != []
    monkeypatch.setattr(tail, "MOST_SCANNED_BYTES", 200_000)
    assert messages(find(log, Query(search="3 77"))) == []
    assert messages(find(log, Query(search="0 49999"))) == ["0 49999"]


def test_the_search_is_limited_in_lines(log: LogFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    write(log, b"first\n" + b"\n" * 1_000_000)
    monkeypatch.setattr(tail, "MOST_SCANNED_LINES", 1000)
    assert find(log, Query(search="first")).entries == []


def test_the_result_is_limited_in_bytes(log: LogFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "MOST_ANSWERED_BYTES", 1000)
    write(log, b"".join(b"%099d\n" % number for number in range(100)))
    found = messages(find(log))
    assert [int(message) for message in found] == list(range(90, 100))


def test_only_the_last_bytes_are_counted(log: LogFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "MOST_COUNTED_BYTES", 1000)
    write(log, b"%09d\n" % 7 * 500)
    assert find(log).total_lines == 100


class Counting(LogFile):
    """Counts the bytes that are read."""

    count = 0

    def read(self, position: int, count: int) -> bytes:
        data = super().read(position, count)
        Counting.count += len(data)
        return data


@pytest.mark.parametrize("rotated", [0, 3])
def test_a_huge_file_costs_the_same_as_a_small_one(log: LogFiles, rotated: int) -> None:
    """2 GB, of which only the end was written: the rest is a hole and reads as zeros."""
    path = log.folder / log.name
    lines = b"".join(b"2026-11-22 10:11:12 INFO line %d\n" % number for number in range(1000))
    with path.open("wb") as file:
        file.truncate(2 * 2**30)
        file.seek(0, os.SEEK_END)
        file.write(lines)
    for number in range(1, rotated + 1):
        (log.folder / f"{log.name}.{number}").write_bytes(b"old\n")
    with log.open_all() as files:
        counting = [Counting(os.dup(file.descriptor), file.name) for file in files]
        Counting.count = 0
        tracemalloc.start()
        began = time.process_time()
        found = read_tail(counting, Query())
        took = time.process_time() - began
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        for file in counting:
            file.close()
    assert messages(found)[-1] == "line 999"
    assert len(found.entries) == 100
    assert Counting.count <= tail.MOST_COUNTED_BYTES + 64 * 1024
    assert peak < 2_000_000
    assert took < 0.5  # a few milliseconds without a tracer


# -- queries


WRITTEN = b"""\
2026-11-22 10:00:00 INFO The first
2026-11-22 10:01:00 ERROR The second
Traceback (most recent call last):
ValueError: three
2026-11-22 10:02:00 WARN The fourth \xc3\x84
2026-11-22 10:03:00+00:00 INFO in brackets [ERROR]
"""


@pytest.fixture
def written(log: LogFiles, monkeypatch: pytest.MonkeyPatch) -> LogFiles:
    write(log, WRITTEN)
    return log


def moment(minute: int, second: int = 0) -> float:
    """Return a moment in local time, like a line without an offset."""
    return time.mktime((2026, 11, 22, 10, minute, second, 0, 0, -1))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Query(level="INFO"), ["The first", "in brackets [ERROR]"]),
        (Query(level="ERROR"), ["The second"]),
        (Query(level="WARNING"), ["The fourth Ä"]),
        (Query(level="DEBUG"), []),
        (Query(search="the F"), ["The first", "The fourth Ä"]),
        (Query(search="ä"), ["The fourth Ä"]),
        (Query(search="valueERROR"), ["ValueError: three"]),
        (Query(search="10:01"), ["The second"]),
        (Query(search="the", level="ERROR"), ["The second"]),
        (Query(search="the", lines=1), ["The fourth Ä"]),
        (
            Query(start=moment(1), end=moment(1)),
            ["The second", "Traceback (most recent call last):", "ValueError: three"],
        ),
        (Query(start=moment(1), end=moment(1), lines=2), ["Traceback (most recent call last):", "ValueError: three"]),
        (Query(start=moment(1, 1), end=moment(2)), ["The fourth Ä"]),
        (Query(end=moment(0)), ["The first"]),
        (Query(start=moment(0), end=moment(2), search="three"), ["ValueError: three"]),
        (Query(start=4e9), []),
    ],
)
def test_filters(written: LogFiles, query: Query, expected: list[str]) -> None:
    assert messages(find(written, query)) == expected


def test_lines_before_the_first_time_have_none(log: LogFiles) -> None:
    write(log, b"untimed\n2026-11-22 10:00:00 a\n")
    assert messages(find(log, Query(start=0.0))) == ["a"]
    assert messages(find(log)) == ["untimed", "a"]


# -- files that are no files, or not the same any more


def test_only_regular_files_are_read(log: LogFiles) -> None:
    secret = log.folder / "secret"
    secret.write_text("secret")
    (log.folder / log.name).symlink_to(secret)
    assert find(log).entries == []
    (log.folder / log.name).unlink()
    os.mkfifo(log.folder / log.name)  # opening one waits for a writer
    assert find(log).entries == []
    (log.folder / log.name).unlink()
    (log.folder / log.name).mkdir()
    assert find(log).entries == []
    write(LogFiles(log.folder, f"{log.name}.1"), b"old\n")
    assert messages(find(log)) == ["old"]


@contextmanager
def cut_while_reading(log: LogFiles, size: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Truncate the file before its second block is read."""
    read = LogFile.read
    calls = []

    def read_and_cut(self: LogFile, position: int, count: int) -> bytes:
        calls.append(position)
        if len(calls) == 2:
            os.truncate(log.folder / log.name, size)
        return read(self, position, count)

    with monkeypatch.context() as patch:
        patch.setattr(LogFile, "read", read_and_cut)
        yield
    assert len(calls) > 2


@pytest.mark.parametrize("size", [0, 1, 100, 300_000, 399_999])
def test_a_file_that_is_truncated_while_it_is_read(log: LogFiles, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    write(log, b"".join(b"%09d\n" % number for number in range(50_000)))
    with cut_while_reading(log, size, monkeypatch):
        found = find(log, Query(lines=10_000))
    assert messages(found)[-1] == f"{49_999:09}"


def test_a_rotation_while_the_files_are_opened(log: LogFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    write(log, b"3\n", b"2\n", b"1\n")
    open_file = LogFiles.open_file
    rotations = []

    def open_and_rotate(self: LogFiles, number: int = 0) -> LogFile | None:
        file = open_file(self, number)
        if number == 0 and len(rotations) < 2:
            rotations.append(number)
            for old in (3, 2, 1, 0):
                source = log.folder / (f"{log.name}.{old}" if old else log.name)
                if source.exists():
                    source.rename(log.folder / f"{log.name}.{old + 1}")
            write(log, b"%d\n" % (3 + len(rotations)))
        return file

    monkeypatch.setattr(LogFiles, "open_file", open_and_rotate)
    assert messages(find(log)) == ["1", "2", "3", "4", "5"]
