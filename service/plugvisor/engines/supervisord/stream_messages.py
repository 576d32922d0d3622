"""The lines of the state stream, as `extension/stream.py` describes them."""

from __future__ import annotations

from typing import Annotated

import msgspec

from plugvisor.models.process import Process


class NamedProcess(Process, frozen=True):
    """A program's process, and which program's."""

    name: str = ""
    is_foreign: bool = False
    """The program is no plugin: it is supervisord's own, or an operator's."""


class Snapshot(msgspec.Struct, tag="snapshot"):
    """Every program, at the beginning of a connection."""

    seq: int
    processes: list[NamedProcess]


class Change(msgspec.Struct, tag="process"):
    """A program's process has changed."""

    seq: int
    process: NamedProcess


class Removal(msgspec.Struct, tag="removed"):
    """A program was removed."""

    seq: int
    name: str


class CheckEnd(msgspec.Struct, tag="check"):
    """The command of a check has ended."""

    seq: int
    number: int
    code: Annotated[int, msgspec.Meta(ge=0, le=255)] | None = None
    signal: str = ""
    error: str = ""
    timed_out: bool = False


class Heartbeat(msgspec.Struct, tag="heartbeat"):
    """Nothing has changed."""

    seq: int


class Stopping(msgspec.Struct, tag="stopping"):
    """supervisord is shutting down."""

    seq: int


decode_message = msgspec.json.Decoder(Snapshot | Change | Removal | CheckEnd | Heartbeat | Stopping).decode
"""Decode one line; raises `msgspec.MsgspecError`."""
