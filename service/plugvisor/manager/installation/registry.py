"""The operations of installation: what is under way, what was done, and who is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from plugvisor.models.installation.operation import Operation, OperationLog, OperationSummary
    from plugvisor.store.store import Store

MOST_LINES = 1000
"""Of one operation's log; older ones are dropped."""
LONGEST_LINE = 2000
"""In characters."""


class Registry:
    """Every operation that is kept, from memory; the store has each before it is answered, and when it has ended."""

    def __init__(self, store: Store) -> None:
        self.on_change: list[Callable[[str], object]] = []
        """Called with the id of an operation that has changed, at most four times a second for each."""
        self._store = store

    async def load(self) -> None:
        """Read what the store has; those that had not ended are interrupted. Nothing is raised."""
        raise NotImplementedError

    def list_all(self) -> Sequence[Operation]:
        """Every operation, the newest first."""
        raise NotImplementedError

    def get(self, operation_id: str) -> OperationLog:
        """An operation with its log; raises `OperationNotFound`."""
        raise NotImplementedError

    def summarise(self, operation_id: str) -> OperationSummary:
        """What every reader may see of it; raises `OperationNotFound`."""
        raise NotImplementedError
