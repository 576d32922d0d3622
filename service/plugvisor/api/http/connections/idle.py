"""How many connections there may be, and which one makes room for another."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class IdleConnections:
    """The idle connections: the one that has been idle longest makes room for a new one."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.waiting: dict[HttpToolsProtocol, None] = {}  # in the order in which they began to

    def make_room(self, newcomer: HttpToolsProtocol, connected: int) -> bool:
        """If `connected` is too many, disconnect one that waits; False if only the newcomer does."""
        if connected <= self.most:
            return True
        oldest = next(iter(self.waiting))
        if oldest is newcomer:
            return False
        del self.waiting[oldest]
        oldest.transport.abort()
        return True
