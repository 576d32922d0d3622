"""The Engine's stream of a log, however it arrives."""

import pytest
from plugvisor.engines.swarm.docker.frames import (
    LARGEST_FRAME_BYTES,
    STDERR,
    STDOUT,
    Frame,
    FrameDecoder,
    read_piece,
    read_seconds,
)

from tests.helpers.fake_task_logs import make_frame, make_time

TIME = "2026-11-30T02:42:13.475220375Z"


@pytest.mark.parametrize("size", [1, 7, 9, 64, 10_000])
def test_frames_are_split_however_they_arrive(size: int) -> None:
    answer = make_frame(b"one\n", TIME) + make_frame(b"", TIME, STDERR) + make_frame(b"\0\xff" * 500, TIME)
    decoder = FrameDecoder()
    frames = [frame for i in range(0, len(answer), size) for frame in decoder.feed(answer[i : i + size])]
    assert [frame.stream for frame in frames] == [STDOUT, STDERR, STDOUT]
    assert [frame.payload.split(b" ", 1)[1] for frame in frames] == [b"one\n", b"", b"\0\xff" * 500]
    assert decoder.finish() == []


def test_an_incomplete_frame_is_dropped_at_the_end() -> None:
    decoder = FrameDecoder()
    assert decoder.feed(make_frame(b"one\n", TIME)[:-1]) == []
    assert decoder.finish() == []


def test_the_answer_for_a_terminal_is_plain_text() -> None:
    decoder = FrameDecoder()
    frames = [*decoder.feed(f"{TIME} one\r\n{TIME} t".encode()), *decoder.feed(b"wo\r\nthree"), *decoder.finish()]
    assert frames == [
        Frame(STDOUT, f"{TIME} one\r\n".encode()),
        Frame(STDOUT, f"{TIME} two\r\n".encode()),
        Frame(STDOUT, b"three"),
    ]


@pytest.mark.parametrize("answer", [b"\x01\0\0\0\xff\xff\xff\xff", b"\0" * 8 + b"\x07" * 8])
def test_an_answer_that_makes_no_sense_is_an_error(answer: bytes) -> None:
    with pytest.raises(ValueError, match="no sequence of frames"):
        FrameDecoder().feed(answer)


def test_a_flood_without_line_breaks_is_not_kept() -> None:
    decoder = FrameDecoder()
    assert len(decoder.feed(b"x" * (LARGEST_FRAME_BYTES + 1))) == 1
    assert decoder.finish() == []


def test_the_time_is_separated_from_the_text() -> None:
    piece = read_piece(Frame(STDERR, f"{TIME}  a b\n".encode()))
    assert piece is not None
    assert (piece.stream, piece.time, piece.text) == (STDERR, TIME, b" a b\n")
    assert read_piece(Frame(STDOUT, b"2026 without a time\n")) is None


def test_times_are_seconds_since_1970() -> None:
    assert read_seconds("1970-01-02T00:00:00.250000000Z") == 86400.25
    assert read_seconds(make_time(61.5)) - read_seconds(make_time(0)) == 61.5
