"""The limits of one connection and one request: bytes, seconds, and one place among others."""

from __future__ import annotations

import resource

REQUEST_SECONDS = 20.0
"""From a request's first byte (or from the connection, for its first request) to its last."""
IDLE_SECONDS = 75
"""So long a connection is kept for the next request. A client that keeps it longer than the service does may
send one just as it is closed: nginx keeps it for 60 seconds, and most libraries for less."""
UNREAD_SECONDS = 30.0
"""A client that has taken no byte of what it is sent for so long is disconnected."""
MOST_HEAD_BYTES = 64 * 1024
"""Of a request line and its headers."""
MOST_BODY_BYTES = 1024 * 1024
BODY_IDLE_SECONDS = 30.0
"""Of a body that a handler takes as it comes: how long nothing of it may arrive. Also how long the rest of one that was
answered before its end is discarded, so that its client gets to read the answer."""
MOST_PIPELINED = 16
"""Requests that a client may send before the first of them is answered."""
MOST_CONNECTIONS = 12_000
_SPARE_DESCRIPTORS = 256
"""For supervisord's sockets, the manifests and all else that is no client's connection."""


def claim_descriptors() -> int:
    """Raise this process's limit of open files to what it needs; returns how many connections fit in it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = MOST_CONNECTIONS + _SPARE_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    # of a very small limit half is for the clients
    return min(MOST_CONNECTIONS, max(soft - _SPARE_DESCRIPTORS, soft // 2))
