"""Starts that are owed: of plugins that are stopped only to be started again.

A note of each lies in the run folder from before the stop until after the start. A service that is killed in
between finds it when it comes back, and starts the plugin, unless somebody has decided otherwise meanwhile.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from plugvisor.models.process import Process

logger = logging.getLogger(__name__)


class OwedStarts:
    """The notes. A disk that is full or broken costs the note, never the operation."""

    def __init__(self, run_dir: Path) -> None:
        self._folder = run_dir / "owed"

    def note(self, plugin_id: str, process: Process) -> None:
        """A plugin with this process is about to be stopped and started again."""
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            (self._folder / plugin_id).write_text(str(process.last_start))
        except OSError as error:
            logger.warning("cannot note that %r is to be started again: %s", plugin_id, error)

    def drop(self, plugin_id: str) -> None:
        """It has been started, or somebody wants it stopped."""
        with contextlib.suppress(OSError):
            (self._folder / plugin_id).unlink(missing_ok=True)

    def drop_all(self) -> None:
        """A new supervisord begins: what was to run then is for the manifests to say."""
        for plugin_id in self._read():
            self.drop(plugin_id)

    def is_owed(self, plugin_id: str, process: Process) -> bool:
        """Whether a plugin is still to be started; not where somebody has started it since the note."""
        return self._read().get(plugin_id) == str(process.last_start)

    def list_ids(self) -> list[str]:
        """The plugins with a note."""
        return sorted(self._read())

    def _read(self) -> dict[str, str]:
        with contextlib.suppress(OSError):
            return {path.name: path.read_text() for path in self._folder.iterdir()}
        return {}
