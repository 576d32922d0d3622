"""The journal's tables: what is added, counted up, found and pruned, and that no question looks at all of it."""

from __future__ import annotations

import itertools
import math
import random
import re
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest
from plugvisor.models.stored.journal import KINDS, LONGEST_COUNT_SECONDS
from plugvisor.store.schema import open_database
from plugvisor.store.tables.journal import (
    Filter,
    StoredEntry,
    find_pruned,
    make_page_query,
    prune,
    read_last,
    read_last_sequence,
    read_news,
    read_page,
    save,
    sum_up,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence
    from pathlib import Path

FACTS = b'{"state":"RUNNING"}'
PLUGINS = ("", "a", "b")
PAGES = 1 << 20
NONE_TOO_OLD, NONE_TOO_LARGE = -math.inf, 1 << 60


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_database(tmp_path / "x.db")) as connection:
        yield connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    yield
    connection.execute("COMMIT")


def make_entry(at: float, kind: str = "state", plugin_id: str = "a", facts: bytes = FACTS) -> StoredEntry:
    return StoredEntry(0, 0, at, at, 1, kind, plugin_id, facts)  # type: ignore[arg-type]


def add(connection: sqlite3.Connection, *entries: StoredEntry, last: int = 0) -> list[StoredEntry]:
    with transaction(connection):
        return save(connection, entries, last).entries


def fill(connection: sqlite3.Connection, count: int) -> list[StoredEntry]:
    """Entries of every kind and plugin, at random times, some of which were counted up."""
    chance = random.Random(4)
    entries = []
    for _ in range(count):
        at = chance.uniform(0, 50_000)
        until = at + chance.choice([0, 0, chance.uniform(0, LONGEST_COUNT_SECONDS)])
        kind, plugin_id = chance.choice(KINDS), chance.choice(PLUGINS)
        entries.append(StoredEntry(0, 0, at, until, 1 if at == until else 2, kind, plugin_id, FACTS))
    return add(connection, *entries)


def test_an_entry_that_is_counted_up_keeps_its_id_and_gets_another_sequence(database: sqlite3.Connection) -> None:
    first, second = add(database, make_entry(1.0), make_entry(2.0))
    assert [(entry.id, entry.sequence) for entry in (first, second)] == [(1, 1), (2, 2)]
    [again] = add(database, first._replace(until=3.0, times=2, facts=b"{}"))
    assert again == first._replace(sequence=3, until=3.0, times=2, facts=b"{}")
    assert read_page(database, Filter(), 10, None) == [second, again]
    assert read_news(database, Filter(), 0).entries == [second, again]
    assert (sum_up(database).entries, read_last_sequence(database)) == (2, 3)


def test_an_entry_of_another_database_is_not_overwritten(database: sqlite3.Connection) -> None:
    [other] = add(database, make_entry(1.0, "check", "other"))
    [added] = add(database, make_entry(2.0)._replace(id=other.id, times=7))
    assert added.id != other.id
    assert read_page(database, Filter(), 10, None) == [added, other]


def test_a_new_database_goes_on_from_the_sequences_of_the_one_before(database: sqlite3.Connection) -> None:
    [entry] = add(database, make_entry(1.0), last=41)
    assert entry.sequence == 42
    assert find_pruned(database) == 41
    add(database, make_entry(2.0), last=42)
    assert find_pruned(database) == 41
    assert (sum_up(database).entries, read_last_sequence(database)) == (2, 43)


def test_an_entry_that_a_failed_write_has_added_is_not_added_again(database: sqlite3.Connection) -> None:
    entries = [make_entry(1.0), make_entry(1.0, plugin_id="b")]
    known = add(database, make_entry(1.0))
    unnoticed = add(database, *entries, last=1)
    added = add(database, *entries, make_entry(2.0), last=1)
    assert [entry.id for entry in added] == [*(entry.id for entry in unnoticed), 4]
    assert [entry.id for entry in read_page(database, Filter(), 10, None)] == [4, 3, 2, known[0].id]


@pytest.mark.parametrize("plugin_id", PLUGINS)
@pytest.mark.parametrize("kinds", [(), ("state",), ("check", "limit", "service")])
@pytest.mark.parametrize(("since", "until"), [(-math.inf, math.inf), (20_000, 30_000), (20_000, 20_000.5), (9e9, 9e10)])
def test_every_page_is_what_the_filters_say(
    database: sqlite3.Connection, plugin_id: str, kinds: tuple[str, ...], since: float, until: float
) -> None:
    entries = fill(database, 2000)
    expected = sorted(
        (
            entry
            for entry in entries
            if (not plugin_id or entry.plugin_id == plugin_id)
            and (not kinds or entry.kind in kinds)
            and entry.at <= until
            and entry.until >= since
        ),
        key=lambda entry: (-entry.at, -entry.id),
    )
    which = Filter(plugin_id, kinds, since, until)  # type: ignore[arg-type]
    found: list[StoredEntry] = []
    while page := read_page(database, which, 70, found[-1].id if found else None):
        found += page
    assert found == expected


def test_entries_of_one_moment_are_on_one_page_each(database: sqlite3.Connection) -> None:
    entries = add(database, *[make_entry(5.0) for _ in range(7)])
    pages = [read_page(database, Filter(), 3, after) for after in (None, entries[4].id, entries[1].id)]
    assert [*itertools.chain(*pages)] == entries[::-1]


def test_after_an_entry_that_is_gone_there_is_nothing(database: sqlite3.Connection) -> None:
    add(database, make_entry(1.0))
    assert read_page(database, Filter(), 10, 99) == []


@pytest.mark.parametrize("plugin_id", ["", "a"])
@pytest.mark.parametrize("kinds", [(), ("state",), ("check", "limit")])
@pytest.mark.parametrize("period", [(-math.inf, math.inf), (1.0, math.inf), (-math.inf, 2.0), (1.0, 2.0)])
@pytest.mark.parametrize("after", [None, (1.5, 3)])
def test_no_filter_makes_it_look_at_everything(
    database: sqlite3.Connection,
    plugin_id: str,
    kinds: Sequence[str],
    period: tuple[float, float],
    after: tuple[float, int] | None,
) -> None:
    """Each part is a search in an index that has every column but the plugin's other kinds."""
    statement, values = make_page_query(Filter(plugin_id, kinds, *period), 100, after)  # type: ignore[arg-type]
    plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
    tables = [step for step in plan if "journal" in step]
    has_bounds = period != (-math.inf, math.inf) or after is not None
    index = r"journal_by_plugin \(plugin_id=\? AND kind=\?" if plugin_id else r"journal_by_kind \(kind=\?"
    assert len(tables) == len(kinds or KINDS)
    for step in tables:
        assert re.match(rf"SEARCH journal USING INDEX {index}{' AND ' if has_bounds else ''}", step), step
    # what is sorted is what each part has found: at most a page
    assert not [step for step in plan if "SCAN" in step and "subquery" not in step]


def test_news_come_in_pieces(database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugvisor.store.tables.journal.SCANNED_ENTRIES", 100)
    entries = fill(database, 250)
    which = Filter("a", ("state", "check"))
    found: list[StoredEntry] = []
    sequence, has_more, pieces = 0, True, 0
    while has_more:
        news = read_news(database, which, sequence)
        found += news.entries
        sequence, has_more, pieces = news.sequence, news.has_more, pieces + 1
    assert (sequence, pieces) == (250, 3)
    assert found == [entry for entry in entries if entry.plugin_id == "a" and entry.kind in ("state", "check")]
    assert read_news(database, which, sequence) == ([], 250, False)


def test_the_last_of_each_plugin_is_the_one_that_was_counted_up_last(database: sqlite3.Connection) -> None:
    first, _, _, b = add(
        database, make_entry(1.0), make_entry(2.0), make_entry(9.0, "check"), make_entry(1.0, plugin_id="b")
    )
    [again] = add(database, first._replace(until=3.0, times=2))
    assert read_last(database, "state", ["a", "b", "none"]) == {"a": again, "b": b}


# -- pruning


def prune_all(connection: sqlite3.Connection, before: float, most_bytes: int, most_entries: int = 100) -> int:
    total = 0
    while True:
        with transaction(connection):
            count = prune(connection, before, most_bytes, most_entries, PAGES)
        if not count:
            return total
        assert count <= most_entries
        total += count


def test_what_is_too_old_is_deleted(database: sqlite3.Connection) -> None:
    add(database, *[make_entry(float(number)) for number in range(1000)])
    assert prune_all(database, 700.0, NONE_TOO_LARGE) == 700
    assert [entry.at for entry in read_page(database, Filter(), 1000, None)] == [*range(999, 699, -1)]
    assert find_pruned(database) == 700
    assert prune_all(database, 700.0, NONE_TOO_LARGE) == 0


def test_an_old_entry_that_was_counted_up_is_kept(database: sqlite3.Connection) -> None:
    first, _, _ = add(database, *[make_entry(float(number)) for number in range(3)])
    add(database, first._replace(until=100.0, times=2))
    assert prune_all(database, 50.0, NONE_TOO_LARGE) == 2
    [kept] = read_page(database, Filter(), 10, None)
    assert (kept.at, kept.until) == (0.0, 100.0)


def test_the_newest_entry_is_kept_and_with_it_the_sequence(database: sqlite3.Connection) -> None:
    add(database, *[make_entry(float(number)) for number in range(300)])
    assert prune_all(database, 1e12, NONE_TOO_LARGE) == 299
    assert [entry.sequence for entry in add(database, make_entry(1.0))] == [301]


def test_what_is_behind_a_young_entry_is_not_too_old(database: sqlite3.Connection) -> None:
    """The clock was wrong for a while."""
    add(database, make_entry(1.0), make_entry(1e10), make_entry(2.0), make_entry(3.0))
    assert prune_all(database, 1e9, NONE_TOO_LARGE) == 1


def test_a_journal_that_is_too_large_shrinks_and_so_does_its_file(database: sqlite3.Connection, tmp_path: Path) -> None:
    add(database, *[make_entry(float(number), facts=b"x" * 500) for number in range(5000)])
    before = sum_up(database)
    assert before.size_bytes > 2_500_000
    deleted = prune_all(database, NONE_TOO_OLD, 1_000_000)
    after = sum_up(database)
    assert 900_000 < after.size_bytes <= 1_000_000
    assert after.entries == before.entries - deleted
    assert read_last_sequence(database) == 5000
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert (tmp_path / "x.db").stat().st_size == after.size_bytes, "no page of it is free"
    assert read_page(database, Filter(), 1, None)[0].at == 4999.0
