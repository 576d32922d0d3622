"""Finds the process that uses a TCP port, if /proc shows it (Linux)."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TIME_WAIT, _LISTEN = 0x06, 0x0A
"""States in /proc/net/tcp (`include/net/tcp_states.h` of Linux)."""
TIME_WAIT_SECONDS = 60.0
"""How long Linux keeps the port of a client that has ended its connection."""
_ENDED = "is not free yet, because a client that had it has just ended its connection (TIME_WAIT)"


@dataclass(frozen=True)
class _Use:
    """One socket with that port as its own."""

    state: int
    inode: str


def describe_port_user(port: int) -> str:
    """Who uses a port, and what to do about it, as a part of a sentence."""
    uses = sorted(_list_uses(port), key=lambda use: use.state != _LISTEN)
    if not uses:
        return f"port {port} is in use; end what uses it"
    process = _describe_process(uses[0].inode)
    if uses[0].state == _LISTEN:
        return f"port {port} is in use by {process}; end that"
    if any(use.state != _TIME_WAIT for use in uses):
        use = next(use for use in uses if use.state != _TIME_WAIT)
        return f"port {port} is in use by {_describe_process(use.inode)}, as a client of another server; end that"
    return f"port {port} {_ENDED}; try again in a minute"


def describe_ended_client(port: int) -> str:
    """Why a port will be free by itself within a minute, as a sentence; empty if it will not."""
    uses = _list_uses(port)
    return f"port {port} {_ENDED}" if uses and all(use.state == _TIME_WAIT for use in uses) else ""


def listens(pid: int, port: int) -> bool | None:
    """Whether a process has a socket open that listens at a port; None if its open files cannot be seen."""
    inodes = {f"socket:[{use.inode}]" for use in _list_uses(port) if use.state == _LISTEN}
    try:
        for descriptor in (_PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # it was closed just now
                if os.readlink(descriptor) in inodes:
                    return True
    except OSError:
        return None
    return False


def _list_uses(port: int) -> list[_Use]:
    uses = []
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (_PROC / "net" / name).read_text().splitlines()[1:]:
                _, local, _, state, *_, inode = line.split()[:10]
                if int(local.rpartition(":")[2], 16) == port:
                    uses.append(_Use(int(state, 16), inode))
    return uses


def _describe_process(inode: str) -> str:
    """The process that has a socket open; one of another user's cannot be seen."""
    for folder in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for descriptor in (folder / "fd").iterdir():
                if os.readlink(descriptor) == f"socket:[{inode}]":
                    return f"process {folder.name} ({(folder / 'comm').read_text().strip()})"
    return "a process that cannot be seen from here"
