"""Manifests as text: read, replaced as a whole, and earlier ones kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plugvisor.engines.engine import Engine
    from plugvisor.manager.installation.installations import Installations
    from plugvisor.manager.journal.recorder import Recorder
    from plugvisor.manager.manager import Manager
    from plugvisor.models.installation.config import Config, ConfigWritten
    from plugvisor.settings import Settings

MOST_EARLIER = 10


class Configurations:
    """Reads and writes the manifests of plugins, those that were put there by hand included."""

    def __init__(
        self, manager: Manager, engine: Engine, installations: Installations, recorder: Recorder, settings: Settings
    ) -> None: ...

    async def describe(self, plugin_id: str) -> Config:
        """The manifest, parsed; raises `PluginNotFound`."""
        raise NotImplementedError

    async def read(self, plugin_id: str, earlier: int = 0) -> tuple[bytes, str]:
        """The manifest's text, or an earlier one, and its etag; raises `PluginNotFound`, `InvalidRequest`."""
        raise NotImplementedError

    async def write(self, plugin_id: str, text: bytes, if_match: str | None, by: str) -> ConfigWritten:
        """Replace the manifest; a plugin that runs goes on with what it was started with.

        Raises:
            PluginNotFound, PreconditionFailed, NotWritable, StorageFull
            InvalidManifest: nothing was changed.
        """
        raise NotImplementedError
