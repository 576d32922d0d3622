"""An entry that can still be counted up, and what makes two of them one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from plugvisor.store.tables.journal import StoredEntry

if TYPE_CHECKING:
    from plugvisor.models.stored.journal import Facts, NewEntry

Key = tuple[Any, ...]
LONGEST_DETAIL = 2000
"""In characters."""
_REQUESTS = ("operation", "identity", "installation")
_FORBIDDEN = "forbidden"


def make_key(entry: NewEntry) -> Key | None:
    """The key shared by entries that are counted as one; None for a request, which is always an entry of its own.

    Requests that a role does not permit are counted: otherwise any token could fill the journal with them.

    Details and the time of a process's end are not part of it: they differ each time.
    """
    facts = entry.facts
    if entry.kind in _REQUESTS and facts.outcome != _FORBIDDEN:
        return None
    ended = facts.last_exit
    return (
        entry.kind,
        entry.plugin_id,
        facts.status,
        facts.state,
        facts.health,
        facts.identity,
        facts.address,
        facts.verb,
        facts.outcome,
        facts.subject,
        UNSET if ended is UNSET else (ended.code, ended.signal, ended.reason),
    )


def _encode(facts: Facts) -> bytes:
    if facts.detail is not UNSET and len(facts.detail) > LONGEST_DETAIL:
        facts = msgspec.structs.replace(facts, detail=f"{facts.detail[:LONGEST_DETAIL]}…")
    return msgspec.json.encode(facts)


class OpenEntry:
    """An entry that is written, or waits for that."""

    __slots__ = ("_at", "_kind", "_plugin_id", "_text", "_until", "id", "times")

    def __init__(self, entry: NewEntry, at: float) -> None:
        self.id = 0
        """In the store; 0 if it has none."""
        self._kind = entry.kind
        self._plugin_id = entry.plugin_id.encode("utf-8", "replace").decode()  # a client's, perhaps
        self._at = self._until = at
        self.times = 1
        self._text = _encode(entry.facts)  # here, where the error of what is no text concerns this one

    def accepts(self, at: float, window_seconds: float, longest_seconds: float) -> bool:
        """Whether an occurrence at a time is counted here: soon after the last, not too long after the first."""
        return 0 <= at - self._until <= window_seconds and at - self._at <= longest_seconds

    def count_up(self, at: float, facts: Facts) -> None:
        """Count another occurrence; its facts replace the last ones."""
        self._text = _encode(facts)
        self._until = at
        self.times += 1

    def freeze(self) -> StoredEntry:
        """The entry as it is now."""
        return StoredEntry(self.id, 0, self._at, self._until, self.times, self._kind, self._plugin_id, self._text)
