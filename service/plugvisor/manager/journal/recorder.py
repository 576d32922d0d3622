"""Writes what happens to the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugvisor.models.stored.journal import JournalEntry, NewEntry
    from plugvisor.store.store import Store


class Recorder:
    """Takes entries from anywhere in the event loop, and has them written together."""

    def __init__(self, store: Store) -> None:
        self.on_entry: list[Callable[[JournalEntry], object]] = []
        """Called with each entry that was added or has changed, in order, once it is in the store."""
        self._store = store

    def note(self, entry: NewEntry) -> None:
        """Something has happened; nothing is raised, and nothing waited for."""
