"""Following a log: every line once and in order, through rotation, truncation and removal."""

from __future__ import annotations

import contextlib
import os
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plugvisor.logs import follow
from plugvisor.logs.files import LogFiles
from plugvisor.logs.follow import Follower, Position
from plugvisor.logs.tail import LONGEST_LINE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def log(tmp_path: Path) -> LogFiles:
    return LogFiles(tmp_path, "x.log")


@pytest.fixture
def follower(log: LogFiles) -> Iterator[Follower]:
    made = Follower(log)
    yield made
    made.close()


def append(log: LogFiles, content: bytes) -> None:
    with (log.folder / log.name).open("ab") as file:
        file.write(content)


def rotate(log: LogFiles, backups: int = 3) -> None:
    """Rotate as supervisord does; what it removes is kept elsewhere, so that no new file gets the same inode.

    A position at the first byte has nothing before it that would tell the two apart.
    """
    with contextlib.suppress(FileNotFoundError):
        last = log.folder / f"{log.name}.{backups}"
        last.rename(log.folder / f"removed-{last.stat().st_ino}")
    for number in range(backups - 1, -1, -1):
        source = log.folder / (f"{log.name}.{number}" if number else log.name)
        if source.exists():
            source.rename(log.folder / f"{log.name}.{number + 1}")
    append(log, b"")


def count_rotations(log: LogFiles, position: Position) -> int:
    """How often the file of a position was rotated."""
    paths = [log.folder / log.name, *(log.folder / f"{log.name}.{number}" for number in (1, 2, 3))]
    return [path.exists() and path.stat().st_ino for path in paths].index(position.inode)


def read_all(follower: Follower) -> list[str]:
    """Read until there is no more; fails if the reader would have to begin again."""
    messages = []
    while True:
        new = follower.read()
        assert new is not None
        messages += [entry.message for entry in new.entries]
        if not new.has_more:
            return messages


def test_a_log_that_is_created(log: LogFiles, follower: Follower) -> None:
    assert follower.begin(100).entries == []
    assert follower.position is None
    assert read_all(follower) == []
    append(log, b"a\nb")
    assert read_all(follower) == ["a"]
    append(log, b"c\n")
    assert read_all(follower) == ["bc"]


def test_it_begins_with_the_last_complete_lines(log: LogFiles, follower: Follower) -> None:
    append(log, b"a\nb\nc\nhalf")
    assert [entry.message for entry in follower.begin(2).entries] == ["b", "c"]
    assert read_all(follower) == []
    append(log, b" done\nd\n")
    assert read_all(follower) == ["half done", "d"]


def test_it_begins_with_a_line_that_is_cut_by_a_rotation(log: LogFiles, follower: Follower) -> None:
    append(log, b"a\nhalf")
    rotate(log)
    append(log, b" and")
    assert [entry.message for entry in follower.begin(2).entries] == ["a"]
    assert read_all(follower) == []
    append(log, b" done\n")
    assert read_all(follower) == ["half and done"]


@pytest.mark.parametrize("rotations", [1, 2, 3])
def test_rotations_between_two_reads(log: LogFiles, follower: Follower, rotations: int) -> None:
    append(log, b"0\n")
    follower.begin(1)
    expected = []
    for number in range(rotations):
        append(log, b"%d a\n%d is cut " % (number, number))
        rotate(log)
        append(log, b"in half\n")
        expected += [f"{number} a", f"{number} is cut in half"]
    assert read_all(follower) == expected
    append(log, b"z\n")
    assert read_all(follower) == ["z"]


def test_more_rotations_than_kept_files(log: LogFiles, follower: Follower) -> None:
    append(log, b"a\n")
    follower.begin(1)
    for number in range(6):
        append(log, b"%d\n" % number)
        rotate(log)
    assert read_all(follower) == ["0", "3", "4", "5"], "its own file is held open; the others are gone"
    append(log, b"6\n")
    assert read_all(follower) == ["6"]


def test_the_first_lines_are_limited_in_bytes(log: LogFiles, follower: Follower) -> None:
    append(log, (b"x" * 9999 + b"\n") * 1000)
    assert 10 < len(follower.begin(10_000).entries) <= follow.MOST_BEGUN_BYTES // 9999


def test_a_log_that_is_removed(log: LogFiles, follower: Follower) -> None:
    """As `supervisorctl clear` does it: the rotated files stay, and are not read again."""
    append(log, b"old\n")
    rotate(log)
    append(log, b"a\n")
    follower.begin(1)
    for number in (1, 2):  # times are compared, and a file system's are no finer than some milliseconds
        if (log.folder / f"{log.name}.{number}").exists():
            os.utime(log.folder / f"{log.name}.{number}", (1, 1))
    (log.folder / log.name).unlink()
    assert read_all(follower) == []
    append(log, b"b\n")
    assert read_all(follower) == ["b"]


@pytest.mark.parametrize("content", [b"", b"b\n", b"a longer line than the one before\nb\n"])
def test_a_log_that_is_truncated(log: LogFiles, follower: Follower, content: bytes) -> None:
    append(log, b"one\ntwo\nhalf")
    follower.begin(10)
    read_all(follower)
    (log.folder / log.name).write_bytes(content)  # the same file, from its beginning
    assert read_all(follower) == ["half", *content.decode().splitlines()]
    append(log, b"c\n")
    assert read_all(follower) == ["c"]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.sampled_from([b"\n", b"a", b"line\n", b"1\n2\n3", b"x" * 50, b"\n\n"]),
            st.sampled_from(["rotate", "read", "resume"]),
        ),
        max_size=40,
    ),
    st.integers(1, 20),
)
def test_every_line_once_and_in_order(log: LogFiles, steps: list[bytes | str], most: int) -> None:
    """For any sequence of writes, rotations, reads and resumptions.

    The file that is read next is at most the second of the rotated ones.
    """
    for path in log.folder.iterdir():
        path.unlink()
    append(log, b"")
    written = b""
    seen: list[str] = []
    rotations = 0
    follower = Follower(log)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(follow, "MOST_READ_BYTES", most)
        patch.setattr(follow, "MOST_READ_LINES", 2)
        follower.begin(1)
        try:
            for step in [*steps, "read"]:
                if isinstance(step, bytes):
                    append(log, step)
                    written += step
                elif step == "rotate" and rotations < 2:
                    rotate(log)
                    rotations += 1
                elif step == "read":
                    seen += read_all(follower)
                    rotations = 0
                elif step == "resume" and follower.position is not None:
                    position = Position.parse(str(follower.position))
                    assert position == follower.position
                    follower.close()
                    follower = Follower(log)
                    if not follower.resume(position):
                        return  # rotated away while no line was completed
                    rotations = count_rotations(log, position)
            assert seen == written.decode().split("\n")[:-1]
        finally:
            follower.close()


def test_a_position_belongs_to_its_file(log: LogFiles, follower: Follower) -> None:
    append(log, b"a\nb\n")
    follower.begin(1)
    position = follower.position
    assert position is not None
    append(log, b"c\n")
    rotate(log)
    append(log, b"d\n")
    other = Follower(log)
    assert other.resume(position)
    assert read_all(other) == ["c", "d"]
    other.close()
    assert not Follower(log).resume(Position(position.inode + 1000, position.offset, position.checksum))
    assert not Follower(log).resume(Position(position.inode, 10**17, position.checksum))
    # the number of a file that is gone, given to another one
    (log.folder / f"{log.name}.1").write_bytes(b"other content\n")
    assert not Follower(log).resume(position)


@pytest.mark.parametrize(
    "text", ["", "1", "1-2", "1-2-3", "1-2-0000000g", "-1-2-00000000", "9" * 21 + "-2-00000000", "1-2-00000000\n"]
)
def test_an_invalid_position_is_rejected(text: str) -> None:
    assert Position.parse(text) is None


def test_a_reader_too_far_behind_begins_again(
    log: LogFiles, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(log, b"a\n")
    follower.begin(1)
    position = follower.position
    assert position is not None
    monkeypatch.setattr(follow, "MOST_BEHIND_BYTES", 500_000)
    append(log, b"b\n" * 200_000)
    rotate(log)
    append(log, b"b\n" * 200_000)
    assert follower.read() is None
    assert not Follower(log).resume(position)
    follower.begin(1)
    append(log, b"c\n")
    assert read_all(follower) == ["c"]


def test_a_line_of_50_megabytes(log: LogFiles, follower: Follower) -> None:
    append(log, b"a\n")
    follower.begin(1)
    tracemalloc.start()
    try:
        for _ in range(50):
            append(log, b"x" * 1_000_000)
            assert read_all(follower) == []
        append(log, b"\nb\n")
        long, after = read_all(follower)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()
    assert long == "x" * LONGEST_LINE_BYTES + f" … [cut: {50_000_000 - LONGEST_LINE_BYTES} more bytes]"
    assert after == "b"


def test_a_flood_of_line_breaks_is_read_in_portions(log: LogFiles, follower: Follower) -> None:
    append(log, b"a\n")
    follower.begin(1)
    append(log, b"\n" * 10_000)
    counts = []
    while (news := follower.read()) is not None and news.entries:
        counts.append(len(news.entries))
    assert counts == [follow.MOST_READ_LINES] * 5


def test_no_file_is_left_open(log: LogFiles) -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = count()
    follower = Follower(log)
    for number in range(5):
        append(log, b"%d\n" % number)
        follower.begin(1)
        position = follower.position
        assert position is not None
        assert follower.resume(position)
        rotate(log)
        read_all(follower)
    follower.close()
    assert count() == before
