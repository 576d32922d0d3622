"""Whether what listens at an address of this machine is this user's own, or root's."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from pathlib import Path

_PROC_NET = Path("/proc/net")
_LISTEN = "0A"
"""In /proc/net/tcp (`include/net/tcp_states.h` of Linux)."""


def is_own(connection: socket.socket, run_dir: Path) -> bool:
    """Whether the other end is a process of this user, of root, or of the owner of the run folder.

    Where the system does not say whose it is, it is if it is on this machine.
    """
    owners = {os.geteuid(), 0}
    with contextlib.suppress(OSError):
        owners.add(run_dir.stat().st_uid)
    if connection.family == socket.AF_UNIX:
        return _find_peer_uid(connection) in {*owners, None}
    peer, here = connection.getpeername()[0], connection.getsockname()[0]
    if peer != here and not (peer.startswith("127.") and here.startswith("127.")):
        return False
    uids = _list_listeners(connection.getpeername()[1])
    return uids is None or (bool(uids) and uids <= owners)


def _find_peer_uid(connection: socket.socket) -> int | None:
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", credentials)[1]
    return uid


def _list_listeners(port: int) -> set[int] | None:
    """The users of the sockets that listen at a port; None if that cannot be known."""
    uids = set()
    is_known = False
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            text = (_PROC_NET / name).read_text(encoding="ascii")
            is_known = True
            for line in text.splitlines()[1:]:
                _, local, _, state, _, _, _, uid, *_ = line.split()
                if state == _LISTEN and int(local.rpartition(":")[2], 16) == port:
                    uids.add(int(uid))
    return uids if is_known else None
