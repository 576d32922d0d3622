"""How far each task's log was read, so that every line is taken once.

A connection begins a little before the last piece that was taken, as each stream of a task is in order for itself, but
not with the other one. Pieces of one time are counted, as several can have it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plugvisor.engines.swarm.docker.frames import Piece


@dataclass
class Reached:
    """A place in one stream of one task."""

    time: str = ""
    """Of the last piece that was taken."""
    count: int = 0
    """How many pieces of that time were taken."""


@dataclass
class TaskPosition:
    """How far one task's log was read."""

    streams: dict[int, Reached] = field(default_factory=dict)
    is_complete: bool = False
    """Whether the task had ended before its log was read to the end."""

    @property
    def time(self) -> str:
        """Of the newest piece that was taken; empty if there is none."""
        return max((reached.time for reached in self.streams.values()), default="")

    def copy(self) -> TaskPosition:
        """A copy that can be changed."""
        streams = {number: Reached(reached.time, reached.count) for number, reached in self.streams.items()}
        return TaskPosition(streams, self.is_complete)


class Connection:
    """The part of a task's log that one answer has brought. Several may read the same task at once."""

    def __init__(self) -> None:
        self.has_met = False
        """Whether something has come that had been taken before: nothing is missing in between."""
        self._seen: dict[int, Reached] = {}
        self._beyond: set[int] = set()
        """The streams of which something new has come."""

    @property
    def is_new(self) -> bool:
        """Whether nothing has come yet."""
        return not self._seen

    def take(self, piece: Piece, position: TaskPosition) -> bool:
        """Return whether a piece is new, and note it in the position then."""
        seen = self._seen.setdefault(piece.stream, Reached())
        if piece.time < seen.time:  # the node's clock was set back: what comes after something new is new
            return piece.stream in self._beyond
        seen.count = seen.count + 1 if piece.time == seen.time else 1
        seen.time = piece.time
        reached = position.streams.setdefault(piece.stream, Reached())
        if (piece.time, seen.count) <= (reached.time, reached.count):
            self.has_met = True
            return False
        reached.time, reached.count = seen.time, seen.count
        self._beyond.add(piece.stream)
        return True


def dump_positions(tasks: Mapping[str, TaskPosition]) -> dict[str, Any]:
    """Positions as JSON."""
    return {
        task_id: {
            "streams": {str(number): [reached.time, reached.count] for number, reached in position.streams.items()},
            "complete": position.is_complete,
        }
        for task_id, position in tasks.items()
    }


def load_positions(found: Any) -> dict[str, TaskPosition]:
    """Positions from JSON; raises `ValueError`, `TypeError`, `AttributeError` or `KeyError` for anything else."""
    return {
        str(task_id): TaskPosition(
            {int(number): Reached(str(time), int(count)) for number, (time, count) in entry["streams"].items()},
            bool(entry["complete"]),
        )
        for task_id, entry in found.items()
    }
