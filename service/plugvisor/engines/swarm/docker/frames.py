"""The Engine's stream of a log: frames of standard output and standard error, each with a time.

Docker cuts lines longer than 16 KB into pieces, each a frame with the time of the whole line; the last one alone ends
with a line break. A task with a terminal has no frames: its answer is plain text.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import NamedTuple

STDOUT, STDERR, SYSTEM_ERROR = 1, 2, 3
"""The streams that frames are of; a frame of the last one says why the Engine cannot read a log."""
LARGEST_FRAME_BYTES = 1024 * 1024
_HEADER_BYTES = 8
_TIME = re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{9}Z ")


class Frame(NamedTuple):
    """A piece of one stream."""

    stream: int
    payload: bytes


class Piece(NamedTuple):
    """A line of a log, or a part of one."""

    stream: int
    time: str
    """Always 30 characters, in UTC and to the nanosecond: the text sorts as the time does."""
    text: bytes
    """With its line break, if that is not in a later piece."""


class FrameDecoder:
    """Splits an answer into its frames, however it arrives."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._is_plain: bool | None = None

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that are complete now; raises `ValueError` if the answer makes no sense."""
        self._rest += data
        if self._is_plain is None and self._rest:
            self._is_plain = self._rest[0] > SYSTEM_ERROR
        return self._split_lines() if self._is_plain else self._split_frames()

    def finish(self) -> list[Frame]:
        """Return the rest at the end of the response; an incomplete frame is dropped."""
        rest, self._rest = bytes(self._rest), bytearray()
        return [Frame(STDOUT, rest)] if self._is_plain and rest else []

    def _split_frames(self) -> list[Frame]:
        frames = []
        position = 0
        rest = self._rest
        while len(rest) - position >= _HEADER_BYTES:
            stream = rest[position]
            size = int.from_bytes(rest[position + 4 : position + _HEADER_BYTES], "big")
            if stream > SYSTEM_ERROR or size > LARGEST_FRAME_BYTES:
                raise ValueError("the log is no sequence of frames")
            end = position + _HEADER_BYTES + size
            if len(rest) < end:
                break
            frames.append(Frame(stream, bytes(rest[position + _HEADER_BYTES : end])))
            position = end
        del rest[:position]
        return frames

    def _split_lines(self) -> list[Frame]:
        *lines, rest = bytes(self._rest).split(b"\n")
        if len(rest) > LARGEST_FRAME_BYTES:
            lines.append(rest)
            rest = b""
        self._rest = bytearray(rest)
        return [Frame(STDOUT, line + b"\n") for line in lines]


def read_piece(frame: Frame) -> Piece | None:
    """Separate the time from the text; None if there is none."""
    match = _TIME.match(frame.payload)
    if match is None:
        return None
    return Piece(frame.stream, match[0][:-1].decode(), frame.payload[match.end() :])


def read_seconds(time: str) -> float:
    """The time of a piece, in seconds since 1970; raises `ValueError` if there is no such day."""
    return datetime.fromisoformat(f"{time[:26]}+00:00").timestamp()
