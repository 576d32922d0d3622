"""Brings logs from the swarm into files here, as far as somebody reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from plugvisor.engines.swarm.docker.client import DockerClient
    from plugvisor.engines.swarm.watch.table import SwarmTable


class Spool:
    """Keeps one file of each log, `<log_dir>/<id>.log`, rotated as supervisord's."""

    def __init__(self, client: DockerClient, table: SwarmTable, log_dir: Path) -> None:
        self._client = client
        self._table = table
        self._log_dir = log_dir

    async def bring(self, plugin_id: str) -> None:
        """Append what a plugin has printed since the last time; nothing is raised, and it takes 2 s at most."""
        raise NotImplementedError

    def following(self, plugin_id: str) -> AbstractAsyncContextManager[None]:
        """Append it at once while this is open; several at once share one connection."""
        raise NotImplementedError

    async def close(self) -> None:
        """Follow nothing more."""
        raise NotImplementedError
