"""Facts about a plugin beyond its manifest and its process: its health and its dependencies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plugvisor.models.health import Health
    from plugvisor.models.lifecycle import WatchState


@dataclass(frozen=True, slots=True)
class Facts:
    """The same object as long as nothing in it changes."""

    health: Health | None = None
    queued: bool = False
    """Its start waits for its dependencies."""
    unmet: tuple[str, ...] = ()
    """The required dependencies whose condition is not met, if it is queued or has a process."""
    note: str = ""
    """Sentences about them: the check that is down, the dependencies that it waits for or lacks."""
    watch: WatchState | None = None
    """Whether changes of its files reload it; None if they are not watched."""
