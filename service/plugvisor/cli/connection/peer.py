"""Whether what listens at an address of this machine is this user's own, or root's."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_End = tuple[bytes, int]
"""The address and the port of one end of a connection."""
_PROC_NET = Path("/proc/net")
_LISTEN = "0A"
"""In /proc/net/tcp (`include/net/tcp_states.h` of Linux)."""
_MAPPED = bytes(10) + b"\xff\xff"
"""The beginning of an IPv4 address among those of IPv6."""


def is_own(connection: socket.socket, run_dir: Path) -> bool:
    """Whether the other end is a process of this user, of root, of the owner of the run folder, or the service's user.

    Where the system does not say whose it is, it is if it is on this machine.
    """
    owners = {os.geteuid(), 0}
    with contextlib.suppress(OSError):
        owners.add(run_dir.stat().st_uid)
    with contextlib.suppress(OSError, ValueError):
        # only the run folder's owner and the service can write there; engines.supervisord would be a slow import
        found = re.search(r"^service_uid=(\d+)$", (run_dir / "users.conf").read_text(encoding="utf-8"), re.MULTILINE)
        owners |= {int(found[1])} if found else set()
    if connection.family == socket.AF_UNIX:
        return _find_peer_uid(connection) in {*owners, None}
    host, port, *_ = connection.getpeername()
    here, here_port, *_ = connection.getsockname()
    if host != here and not (host.startswith("127.") and here.startswith("127.")):
        return False
    other_end = socket.inet_pton(connection.family, host), port
    this_end = socket.inet_pton(connection.family, here), here_port
    return set(_list_users(other_end, this_end)) <= owners


def _find_peer_uid(connection: socket.socket) -> int | None:
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", credentials)[1]
    return uid


def _list_users(other_end: _End, this_end: _End) -> Iterator[int]:
    """The users of the sockets that can have accepted a connection, and of the one that has; none if not known.

    Both are needed: until it is accepted, a connection is shown as root's, and whoever has accepted one may listen no
    more. The system shows those that listen first.
    """
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (_PROC_NET / name).read_text(encoding="ascii").splitlines()[1:]:
                _, local, remote, state, _, _, _, uid, *_ = line.split()
                host, port = _read_end(local)
                listens = state == _LISTEN and port == other_end[1] and host in (other_end[0], b"")
                if listens or ((host, port) == other_end and _read_end(remote) == this_end):
                    yield int(uid)


def _read_end(text: str) -> _End:
    address, _, port = text.partition(":")
    return _read_address(address), int(port, 16)


def _read_address(text: str) -> bytes:
    """An address of /proc/net/tcp, which is in words of the machine's byte order; empty if it is all addresses."""
    words = [int(text[start : start + 8], 16).to_bytes(4, sys.byteorder) for start in range(0, len(text), 8)]
    address = b"".join(words).removeprefix(_MAPPED)
    return address if any(address) else b""
