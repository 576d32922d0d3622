"""One operation, while it is under way and after."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from plugvisor.errors import OperationCancelled
from plugvisor.models.installation.operation import PHASES, Operation, OperationLog, OperationSummary
from plugvisor.store.tables.operations import StoredOperation
from plugvisor.timestamps import format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from plugvisor.models.installation.operation import OperationState, Phase, Verb
    from plugvisor.models.problem import Problem

MOST_LINES = 1000
"""Of one operation's log; older ones are dropped."""
LONGEST_LINE = 2000
"""In characters."""
MOST_CHARACTERS = 128 * 1024
"""Of one operation's log."""
_SUMMARY = OperationSummary.__struct_fields__
_OPERATION = Operation.__struct_fields__


class LiveOperation:
    """An operation and its log; each change is announced.

    Args:
        on_change: called after each change, with whether it must be stored at once.
    """

    def __init__(self, body: OperationLog, begun_at: float, on_change: Callable[[LiveOperation, bool], object]) -> None:
        self.begun_at = begun_at
        """In seconds since 1970."""
        self.is_final = body.state != "running"
        """Whether it can no longer be cancelled: it has ended, or has changed what is current."""
        self.error: Exception | None = None
        """Why it has failed; None of an operation of an earlier run of the service."""
        self.is_cancelled = False
        """Whether a client has cancelled it."""
        self.settled = asyncio.Event()
        """Set when it has ended, and the store has taken that or has failed once."""
        self._fields: dict[str, Any] = {name: getattr(body, name) for name in _OPERATION}
        self._lines = deque(body.log)
        self._characters = sum(map(len, body.log))
        self._on_change = on_change
        self._began = time.monotonic()
        if self.is_final:
            self.settled.set()

    @property
    def id(self) -> str:
        """Its id."""
        return str(self._fields["id"])

    @property
    def verb(self) -> str:
        """Its verb."""
        return str(self._fields["verb"])

    @property
    def by(self) -> str:
        """The name of the identity that has asked for it."""
        return str(self._fields["by"])

    @property
    def plugin_id(self) -> str:
        """Of the plugin; empty until the package has said it."""
        return self._fields["plugin_id"] or ""

    @property
    def state(self) -> str:
        """Whether it is under way, or how it has ended."""
        return str(self._fields["state"])

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.state == "running"

    @property
    def milliseconds(self) -> int:
        """How long it has taken so far."""
        return round((time.monotonic() - self._began) * 1000)

    @property
    def characters(self) -> int:
        """The size of its log."""
        return self._characters

    # -- what happens

    def note(self, line: str) -> None:
        """Add a line to its log."""
        self._add_line(line)
        self._on_change(self, False)

    def reach(self, phase: Phase, percent: int, line: str = "") -> None:
        """A phase begins, or goes on; neither it nor the percentage ever goes back."""
        if PHASES.index(phase) > PHASES.index(self._fields["phase"]):
            self._fields["phase"] = phase
        self._fields["percent"] = max(self._fields["percent"], percent)
        if line:
            self._add_line(line)
        self._on_change(self, False)

    def set(self, **fields: Any) -> None:
        """Set fields of `Operation`."""
        self._fields |= fields
        self._on_change(self, True)

    def commit(self) -> None:
        """From now on it cannot be cancelled; raises `OperationCancelled` if it was."""
        if self.is_cancelled:
            raise OperationCancelled("it was cancelled")
        self.is_final = True

    def end(self, state: OperationState, problem: Problem | None = None, error: Exception | None = None) -> None:
        """It has ended."""
        self.is_final = True
        if error is not None:  # it is kept as long as this, and a traceback keeps all that its functions had
            error.__cause__ = error.__context__ = error.__traceback__ = None
        self.error = error
        percent = 100 if state == "succeeded" else self._fields["percent"]
        self._fields |= {"state": state, "percent": percent, "ended_at": format_time()}
        if problem is not None:
            self._fields["problem"] = problem
            self._add_line(problem.detail)
        self._on_change(self, False)

    def cut_log(self, most_lines: int) -> None:
        """Keep only the newest lines of its log."""
        while len(self._lines) > most_lines:
            self._drop_line()

    # -- what it is

    def summarise(self) -> OperationSummary:
        """The part that every reader may see."""
        return OperationSummary(**{name: self._fields[name] for name in _SUMMARY})

    def describe(self) -> Operation:
        """All but its log."""
        return Operation(**self._fields)

    def describe_with_log(self) -> OperationLog:
        """All of it."""
        return OperationLog(**self._fields, log=tuple(self._lines))

    def freeze(self) -> StoredOperation:
        """All of it, for the store."""
        body = msgspec.json.encode(self.describe_with_log())
        return StoredOperation(self.id, self.begun_at, self._fields["state"], body)

    # -- parts

    def _add_line(self, line: str) -> None:
        text = line.encode("utf-8", "replace").decode()
        text = text if len(text) <= LONGEST_LINE else f"{text[:LONGEST_LINE]}…"
        self._lines.append(text)
        self._fields["lines"] += 1
        self._characters += len(text)
        while len(self._lines) > MOST_LINES or self._characters > MOST_CHARACTERS:
            self._drop_line()

    def _drop_line(self) -> None:
        self._characters -= len(self._lines.popleft())


def make_body(
    operation_id: str, verb: Verb, by: str, begun_at: float, fields: Iterable[tuple[str, Any]]
) -> OperationLog:
    """An operation that begins."""
    return OperationLog(
        id=operation_id,
        verb=verb,
        state="running",
        phase="received",
        percent=0,
        lines=0,
        begun_at=format_time(begun_at),
        by=by,
        log=(),
        **{name: value or UNSET for name, value in fields},
    )
