"""Whether what listens at an address of this machine is this user's own, or root's."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROC_NET = Path("/proc/net")
_LISTEN = "0A"
"""In /proc/net/tcp (`include/net/tcp_states.h` of Linux)."""
_MAPPED = bytes(10) + b"\xff\xff"
"""What an IPv4 address begins with among those of IPv6."""


def is_own(connection: socket.socket, run_dir: Path) -> bool:
    """Whether the other end is a process of this user, of root, or of the owner of the run folder.

    Where the system does not say whose it is, it is if it is on this machine.
    """
    owners = {os.geteuid(), 0}
    with contextlib.suppress(OSError):
        owners.add(run_dir.stat().st_uid)
    if connection.family == socket.AF_UNIX:
        return _find_peer_uid(connection) in {*owners, None}
    host, port, *_ = connection.getpeername()
    here = connection.getsockname()[0]
    if host != here and not (host.startswith("127.") and here.startswith("127.")):
        return False
    return set(_list_listeners(socket.inet_pton(connection.family, host), port)) <= owners


def _find_peer_uid(connection: socket.socket) -> int | None:
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", credentials)[1]
    return uid


def _list_listeners(host: bytes, port: int) -> Iterator[int]:
    """The users of the sockets that can have accepted a connection to an address; none if that cannot be known."""
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (_PROC_NET / name).read_text(encoding="ascii").splitlines()[1:]:
                _, local, _, state, _, _, _, uid, *_ = line.split()
                address, _, number = local.partition(":")
                if state == _LISTEN and int(number, 16) == port and _read_address(address) in (host, b""):
                    yield int(uid)


def _read_address(text: str) -> bytes:
    """An address of /proc/net/tcp, which is in words of the machine's byte order; empty if it is all addresses."""
    words = [int(text[start : start + 8], 16).to_bytes(4, sys.byteorder) for start in range(0, len(text), 8)]
    address = b"".join(words).removeprefix(_MAPPED)
    return address if any(address) else b""
