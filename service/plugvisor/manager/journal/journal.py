"""The journal, with all that writes to it of its own accord."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from plugvisor import VERSION
from plugvisor.manager.journal.health_follower import HealthFollower
from plugvisor.manager.journal.process_follower import ProcessFollower
from plugvisor.manager.journal.pruner import Pruner
from plugvisor.manager.journal.recorder import Recorder
from plugvisor.manager.status import describe
from plugvisor.models.stored.journal import Facts, NewEntry

if TYPE_CHECKING:
    from plugvisor.engines.engine import Engine
    from plugvisor.manager.intents.intents import Intents
    from plugvisor.manager.manager import Manager
    from plugvisor.models.process import Asked
    from plugvisor.store.store import Store


class Journal:
    """Follows what happens from `open` to `close`.

    Args:
        days: how long entries are kept.
        megabytes: how large the database may be.
    """

    def __init__(self, store: Store, intents: Intents, days: int, megabytes: int) -> None:
        self.recorder = Recorder(store)
        self._store = store
        self._pruner = Pruner(store, self.recorder, days, megabytes)
        self._processes: ProcessFollower | None = None
        self._healths: HealthFollower | None = None
        intents.on_asked.append(self._on_asked)

    async def load(self) -> None:
        """Go on from what the journal has; nothing is raised."""
        await self.recorder.load()
        self._note_service("started", f"Plugvisor {VERSION}")

    async def open(self, manager: Manager, engine: Engine) -> None:
        """Begin to follow the plugins' processes and checks; nothing is raised."""
        self._processes = ProcessFollower(
            engine, self.recorder, lambda plugin_id, process: describe(process, manager.facts(plugin_id))
        )
        self._healths = HealthFollower(engine, manager.monitor, self.recorder)
        await self._healths.open(self._store, manager.catalog)
        await self._processes.open(self._store, manager.catalog)
        self._pruner.open()

    async def close(self) -> None:
        """Follow them no more, and write what is left."""
        if self._healths is not None:
            self._healths.close()
        if self._processes is not None:
            await self._processes.close()
        await self._pruner.close()
        self._note_service("stopped")
        await self.recorder.close()

    def _on_asked(self, plugin_id: str, asked: Asked) -> None:
        verb = "start" if asked.wanted == "running" else "stop"
        self.recorder.note(NewEntry("operation", Facts(identity=asked.by, verb=verb), plugin_id, asked.at))

    def _note_service(self, verb: str, detail: str = "") -> None:
        facts = Facts(subject="service", verb=verb, detail=detail or UNSET)
        self.recorder.note(NewEntry("service", facts))
