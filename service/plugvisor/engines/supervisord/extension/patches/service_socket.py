"""Keeps the service's socket open while no process of the service runs, if supervisord has opened it.

supervisor 4.3.0 counts who uses the socket of an `[fcgi-program:x]`, and closes it when its last process has ended.
"""

from __future__ import annotations

from typing import Any

from plugvisor.engines.supervisord.extension.patches.operators import SERVICE


class ServiceSocket:
    """A reference to the socket."""

    def __init__(self, supervisord: Any) -> None:
        self._supervisord = supervisord
        self._group: Any = None
        self._socket: Any = None

    def hold(self) -> None:
        """Hold the socket of the group that there is by now."""
        group = self._supervisord.process_groups.get(SERVICE)
        if group is not self._group:
            manager = getattr(group, "socket_manager", None)
            self._group = group
            self._socket = manager.get_socket() if manager is not None else None  # counted

    def release(self) -> None:
        """Hold it no longer."""
        self._socket = None
