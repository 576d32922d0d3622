"""The protocol of what an engine of many machines keeps for the service."""

from __future__ import annotations

from typing import Protocol


class KeptState(Protocol):
    """Where an engine of many machines keeps a few rows for the service, whichever of them it is started on next."""

    is_own: bool
    """Whether this process has saved the newest, when that was loaded or saved last."""

    async def load(self) -> tuple[int, bytes] | None:
        """The newest that was kept, and its number; None if there is none.

        Raises:
            SupervisorUnavailable
            StoreUnavailable: it cannot be read.
        """

    async def save(self, number: int, data: bytes) -> bool:
        """Keep some data, and of what was kept before only the newest; returns False if the number is taken.

        Raises:
            SupervisorUnavailable: it may be kept nevertheless.
            StoreUnavailable: it cannot be kept.
        """
