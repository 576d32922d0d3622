"""Which plugins are to recover, across restarts of the service."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from plugvisor.manager.webhooks.troubled import Troubled
from plugvisor.store.store import Store

from tests.helpers.scenarios import run_scenario

if TYPE_CHECKING:
    from collections.abc import Callable


def run(folder: Path, scenario: Callable[[Troubled, Store], None]) -> None:
    """One life of a service."""

    async def live() -> None:
        store = Store(folder)
        await store.open()
        troubled = Troubled(store)
        await troubled.open()
        scenario(troubled, store)
        troubled.close()
        assert store.on_change == store.on_replaced == []
        await store.close()

    run_scenario(live())


def find_all(troubled: Troubled) -> set[str]:
    return {name for name in "abc" if name in troubled}


def test_they_are_remembered(tmp_path: Path) -> None:
    def first(troubled: Troubled, _store: Store) -> None:
        assert troubled.is_known
        for name in "abac":
            troubled.add(name)
        troubled.remove("b")
        assert find_all(troubled) == {"a", "c"}

    def second(troubled: Troubled, _store: Store) -> None:
        assert find_all(troubled) == {"a", "c"}
        troubled.keep(["b", "c"])
        assert find_all(troubled) == {"c"}

    def third(troubled: Troubled, _store: Store) -> None:
        assert find_all(troubled) == {"c"}

    for life in (first, second, third):
        run(tmp_path, life)


def test_what_the_store_has_missed_is_written_again(tmp_path: Path) -> None:
    def first(troubled: Troubled, store: Store) -> None:
        troubled.add("a")
        store.post(lambda connection: connection.execute("UPDATE troubled SET plugin_id = 'b'"))
        for callback in store.on_replaced:
            callback()

    def second(troubled: Troubled, _store: Store) -> None:
        assert find_all(troubled) == {"a"}

    run(tmp_path, first)
    run(tmp_path, second)


def test_without_a_store_nothing_is_known() -> None:
    async def scenario() -> None:
        troubled = Troubled(Store(Path("/nonexistent")))
        await troubled.open()
        assert not troubled.is_known
        troubled.add("a")
        assert find_all(troubled) == {"a"}
        troubled.close()

    run_scenario(scenario())


def test_what_cannot_be_read_is_not_known(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = Store(tmp_path)
        await store.open()
        with closing(sqlite3.connect(store.path)) as connection:
            connection.execute("DROP TABLE troubled")
        troubled = Troubled(store)
        await troubled.open()
        assert not troubled.is_known
        troubled.close()
        await store.close()

    run_scenario(scenario())
