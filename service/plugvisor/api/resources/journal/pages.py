"""`GET /journal`: pages of it, newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET
from msgspec.structs import asdict

from plugvisor.api.responses import NO_STORE, JsonResponse
from plugvisor.models.stored.journal import Facts, Journal, JournalEntry
from plugvisor.store.tables.journal import Filter, read_page
from plugvisor.timestamps import format_time

if TYPE_CHECKING:
    import sqlite3

    from starlette.requests import Request
    from starlette.responses import Response

    from plugvisor.api.parameters import JournalQuery
    from plugvisor.api.state import State
    from plugvisor.store.tables.journal import StoredEntry

_facts = msgspec.json.Decoder(Facts)


async def list_entries(request: Request[State], query: JournalQuery) -> Response:
    """The journal, newest first."""
    since, until = query.period
    which = Filter(query.plugin_id, query.kinds, since, until)
    after_id, limit = query.after_id, query.limit

    def render(connection: sqlite3.Connection) -> bytes:
        rows = read_page(connection, which, limit + 1, after_id)
        page = rows[:limit]
        after = str(page[-1].id) if len(rows) > limit else UNSET
        return msgspec.json.encode(Journal(entries=tuple(map(show_entry, page)), after=after))

    return JsonResponse(await request.state["store"].read(render), headers=NO_STORE)


def show_entry(stored: StoredEntry) -> JournalEntry:
    """A row of the journal as clients get it."""
    is_repeated = stored.times > 1
    return JournalEntry(
        **asdict(_facts.decode(stored.facts)),
        id=stored.id,
        at=format_time(stored.at),
        kind=stored.kind,
        plugin_id=stored.plugin_id or UNSET,
        times=stored.times if is_repeated else UNSET,
        until=format_time(stored.until) if is_repeated else UNSET,
    )
