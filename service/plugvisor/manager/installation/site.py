"""The install folder, with what every use case of installation needs."""

from __future__ import annotations

import asyncio
import os
import stat
from collections import Counter
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from plugvisor.errors import NotInstalled, SupervisorUnavailable
from plugvisor.users import permits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from plugvisor.engines.engine import Engine
    from plugvisor.manager.installation.workers import Workers
    from plugvisor.manager.manager import Manager
    from plugvisor.users import Users


T = TypeVar("T")

SILENCE_SECONDS = 1.0
"""The pause before something is tried again while the engine is silent."""


@dataclass(frozen=True)
class Site:
    """The install folder, its workers, and the turns of its plugins."""

    manager: Manager
    engine: Engine
    workers: Workers
    _turns: dict[str, asyncio.Lock] = field(default_factory=dict)
    _queues: Counter[str] = field(default_factory=Counter)
    """By plugin, how many hold its turn or wait for it."""

    @property
    def install_dir(self) -> Path:
        """The folder."""
        return self.workers.install_dir

    @asynccontextmanager
    async def turn(self, plugin_id: str) -> AsyncIterator[None]:
        """A plugin's turn, which is held while its files are changed."""
        key = plugin_id.casefold()  # ids that differ in case alone share it, for their folders may be the same
        self._queues[key] += 1
        try:
            async with self._turns.setdefault(key, asyncio.Lock()):
                yield
        finally:
            self._queues[key] -= 1

    def is_free(self, plugin_id: str) -> bool:
        """Whether a plugin's turn is neither held nor waited for."""
        return not self._queues[plugin_id.casefold()]

    def check_own(self, plugin_id: str) -> None:
        """Raise `NotInstalled` if the catalog has a plugin of this id that is not in its install folder."""
        plugin = self.manager.catalog.get(plugin_id)
        if plugin is not None and plugin.folder not in (None, self.install_dir / plugin_id):
            raise NotInstalled(
                f"it was put there by hand, in the folder {plugin.name_of_folder!r}; remove that folder first"
            )


async def outlast_silence(action: Callable[[], Awaitable[T]]) -> T:
    """Repeat an idempotent action until the engine answers."""
    while True:
        with suppress(SupervisorUnavailable):
            return await action()
        await asyncio.sleep(SILENCE_SECONDS)


def find_obstacle(folder: Path, users: Users | None) -> str:
    """Why plugins cannot be installed in a folder, for a person; empty if nothing is known. This blocks."""
    try:
        status = os.stat(folder)
        is_read_only = bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except OSError as error:
        return f"the install folder cannot be used: {error.strerror}"
    if not stat.S_ISDIR(status.st_mode):
        return "the install folder is no folder"
    if is_read_only:
        return "the install folder is on a read-only file system"
    if users is None:
        return "" if os.access(folder, os.W_OK | os.X_OK) else "the install folder cannot be written to"
    if permits(status, users.plugins, stat.S_IWOTH | stat.S_IXOTH):
        return ""
    return f"the user {users.plugins.name!r} of the plugins cannot write to the install folder"
