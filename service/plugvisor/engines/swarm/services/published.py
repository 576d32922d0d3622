"""The programs that the next start of each plugin uses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from plugvisor.engines.swarm.services import labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugvisor.engines.swarm.services.program import SwarmProgram
    from plugvisor.engines.swarm.watch.table import SwarmTable


class Published:
    """Keeps in memory the programs that starts are to use; what was started from is in each service's labels.

    Its methods are called in threads, too.
    """

    def __init__(self, table: SwarmTable) -> None:
        self._table = table
        self._programs: dict[str, SwarmProgram] = {}

    def publish(self, program: SwarmProgram) -> None:
        """Have the next start of a plugin use a program."""
        self._programs[program.id] = program

    def forget(self, plugin_id: str) -> None:
        """The plugin was removed."""
        self._programs.pop(plugin_id, None)

    def get(self, plugin_id: str) -> SwarmProgram | None:
        """The program that a plugin's next start uses; None: that of its service."""
        return self._programs.get(plugin_id)

    def is_published(self, program: SwarmProgram) -> bool:
        """Whether a plugin's next start uses this program."""
        known = self._programs.get(program.id)
        if known is not None:
            return known.digest == program.digest
        service = self._table.get_service(program.id)
        return service is not None and service["Spec"]["Labels"].get(labels.DIGEST) == program.digest

    def find_unpublished(self, plugin_ids: Sequence[str]) -> list[str]:
        """Those of these plugins that have neither a program nor a service."""
        services = self._table.list_services()
        return [name for name in plugin_ids if name not in self._programs and name not in services]

    def read_directories(self) -> dict[str, Path | None]:
        """The folder that each plugin's process works in."""
        found: dict[str, Path | None] = {}
        for plugin_id, service in self._table.list_services().items():
            path = service["Spec"]["Labels"].get(labels.FOLDER, "")
            found[plugin_id] = Path(path) if path.startswith("/") else None
        return found
