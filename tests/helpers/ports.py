"""Free TCP ports for servers under test."""

from __future__ import annotations

import contextlib
import random
import socket

_RANGE = range(18_000, 32_000)
"""Below the system's ephemeral ports: a client's own port cannot take one between its choice and its use."""
_reservations: list[socket.socket] = []


def find_free_port() -> int:
    """A port on which nobody listens, and which no other process that calls this gets while this one lives."""
    for port in random.SystemRandom().sample(_RANGE, len(_RANGE)):
        reservation = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(OSError):
            reservation.bind(f"\0plugvisor-test-port-{port}")
            with socket.create_server(("127.0.0.1", port)):
                _reservations.append(reservation)
                return port
        reservation.close()
    raise RuntimeError("no port is free")
