"""Operations: stored before they are answered, announced at a bounded rate, bounded in memory."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.api.problems import make_problem
from plugvisor.errors import BuildFailed, OperationCancelled, OperationNotFound, StoreUnavailable
from plugvisor.manager.installation import live_operation
from plugvisor.manager.installation import registry as module
from plugvisor.manager.installation.registry import Registry
from plugvisor.store.store import FILE_NAME, Store
from plugvisor.store.tables import operations as stored

from tests.helpers.scenarios import run_scenario, wait_until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from plugvisor.manager.installation.live_operation import LiveOperation


def run(folder: Path, scenario: Callable[[Registry, Store], Awaitable[Any]]) -> None:
    """Run a scenario with a registry on a real store."""

    async def opened() -> None:
        store = Store(folder)
        await store.open()
        registry = Registry(store, make_problem)
        await registry.load()
        await scenario(registry, store)
        await registry.close()
        await store.close()

    run_scenario(opened())


def read_states(folder: Path) -> dict[str, str]:
    """What another connection sees: what has been committed."""
    with sqlite3.connect(f"file:{folder}/{FILE_NAME}?mode=ro", uri=True) as connection:
        return dict(connection.execute("SELECT id, state FROM operation"))


def test_an_operation_is_stored_when_it_begins_and_when_it_has_ended(tmp_path: Path) -> None:
    async def scenario(registry: Registry, _store: Store) -> None:
        operation = await registry.begin("install", "ada", sha256="0" * 64)
        assert read_states(tmp_path) == {operation.id: "running"}
        registry.succeed(operation)
        await registry.wait_saved()
        assert read_states(tmp_path) == {operation.id: "succeeded"}

    run(tmp_path, scenario)


def test_what_is_found_out_is_stored_at_once(tmp_path: Path) -> None:
    async def begin(registry: Registry, _store: Store) -> None:
        operation = await registry.begin("install", "ada")
        operation.set(plugin_id="echo")
        await registry.wait_saved()
        with sqlite3.connect(f"file:{tmp_path}/{FILE_NAME}?mode=ro", uri=True) as connection:
            [(state, body)] = connection.execute("SELECT state, body FROM operation")
        assert (state, json.loads(body)["plugin_id"]) == ("running", "echo")

    run(tmp_path, begin)


def test_an_operation_that_cannot_be_stored_does_not_begin(tmp_path: Path) -> None:
    async def scenario(registry: Registry, store: Store) -> None:
        await store.close()
        with pytest.raises(StoreUnavailable):
            await registry.begin("install", "ada")
        assert registry.list_all() == []

    run(tmp_path, scenario)


def test_what_has_not_ended_is_interrupted_at_the_next_start_once(tmp_path: Path) -> None:
    ids: list[str] = []
    noted: list[str] = []

    async def begin(registry: Registry, _store: Store) -> None:
        ids.extend([(await registry.begin("install", "ada", plugin_id="echo")).id for _ in range(2)])
        registry.succeed(registry.find(ids[0]))

    async def look(registry: Registry, _store: Store) -> None:
        described = {each.id: (each.state, each.by, each.plugin_id) for each in registry.list_all()}
        assert described == {ids[0]: ("succeeded", "ada", "echo"), ids[1]: ("interrupted", "ada", "echo")}
        problem = registry.get(ids[1]).problem
        assert problem
        assert problem.code == "interrupted"
        await registry.wait_saved()
        assert read_states(tmp_path)[ids[1]] == "interrupted"

    async def load_again() -> None:
        store = Store(tmp_path)
        await store.open()
        registry = Registry(store, make_problem)
        registry.on_interrupted.append(lambda operation: noted.append(operation.id))
        await registry.load()
        await look(registry, store)
        await registry.close()
        await store.close()

    run(tmp_path, begin)
    run_scenario(load_again())
    assert noted == [ids[1]]
    run_scenario(load_again())
    assert noted == [ids[1]]


def test_an_end_that_cannot_be_stored_is_stored_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.02)

    async def scenario(registry: Registry, store: Store) -> None:
        operation = await registry.begin("install", "ada")
        write, failures = store.write, 0

        async def fail(work: Callable[[sqlite3.Connection], Any]) -> Any:
            nonlocal failures
            failures += 1
            if failures < 3:
                raise StoreUnavailable("the disk is full")
            return await write(work)

        monkeypatch.setattr(store, "write", fail)
        registry.succeed(operation)
        assert registry.get(operation.id).state == "succeeded"
        await wait_until(lambda: read_states(tmp_path) == {operation.id: "succeeded"})
        assert failures == 3

    run(tmp_path, scenario)


def test_a_new_database_gets_what_is_known(tmp_path: Path) -> None:
    async def scenario(registry: Registry, _store: Store) -> None:
        operation = await registry.begin("install", "ada")
        for path in list(tmp_path.glob(f"{FILE_NAME}*")):  # noqa: ASYNC240 - a test
            path.unlink()
        await wait_until(lambda: (tmp_path / FILE_NAME).exists() and _has_table(tmp_path))
        await wait_until(lambda: read_states(tmp_path) == {operation.id: "running"})

    run(tmp_path, scenario)


def _has_table(folder: Path) -> bool:
    with sqlite3.connect(f"file:{folder}/{FILE_NAME}?mode=ro", uri=True) as connection:
        return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'operation'").fetchall())


def test_what_is_stored_and_makes_no_sense_is_left_out(tmp_path: Path) -> None:
    async def spoil(registry: Registry, store: Store) -> None:
        kept = await registry.begin("install", "ada")
        rows = [stored.StoredOperation("x", 1.0, "running", b"{"), stored.StoredOperation("y", 2.0, "running", b"\xff")]
        await store.write(lambda connection: stored.save(connection, rows))
        registry.succeed(kept)

    async def look(registry: Registry, _store: Store) -> None:
        assert [each.state for each in registry.list_all()] == ["succeeded"]

    run(tmp_path, spoil)
    run(tmp_path, look)


# -- what is told


def test_changes_are_announced_at_most_four_times_a_second_and_the_end_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANNOUNCE_SECONDS", 0.2)

    async def scenario(registry: Registry, _store: Store) -> None:
        announced: list[tuple[int, str]] = []

        def note(operation_id: str) -> None:
            summary = registry.summarise(operation_id)
            announced.append((summary.lines, summary.state))

        registry.on_change.append(note)
        operation = await registry.begin("install", "ada")
        for _ in range(500):
            operation.note("a line")
        assert announced == [(0, "running")]
        await wait_until(lambda: len(announced) > 1)
        assert announced == [(0, "running"), (500, "running")]
        operation.note("another")
        registry.succeed(operation)
        assert announced[2:] == [(501, "succeeded")]
        operation.note("after the end")
        assert announced[3:] == [(502, "succeeded")]

    run(tmp_path, scenario)


def test_a_callback_that_fails_disturbs_nobody(tmp_path: Path) -> None:
    async def scenario(registry: Registry, _store: Store) -> None:
        called: list[str] = []
        registry.on_change.append(lambda _: 1 / 0)
        registry.on_change.append(called.append)
        operation = await registry.begin("install", "ada")
        assert called == [operation.id]

    run(tmp_path, scenario)


def test_a_summary_has_neither_lines_nor_names_nor_problems(tmp_path: Path) -> None:
    async def scenario(registry: Registry, _store: Store) -> None:
        operation = await registry.begin("install", "ada", plugin_id="echo", sha256="0" * 64)
        operation.note("a secret")
        registry.fail(operation, BuildFailed("it cannot be built", ["a secret"]))
        summary = str(registry.summarise(operation.id))
        assert "secret" not in summary
        assert "ada" not in summary
        assert "built" not in summary
        assert registry.get(operation.id).log[0] == "a secret"

    run(tmp_path, scenario)


def test_an_operation_that_is_unknown(tmp_path: Path) -> None:
    async def scenario(registry: Registry, _store: Store) -> None:
        for ask in (registry.get, registry.summarise):
            with pytest.raises(OperationNotFound, match="no operation 'nope'"):
                ask("nope")

    run(tmp_path, scenario)


def test_neither_phase_nor_percentage_goes_back(tmp_path: Path) -> None:
    async def scenario(registry: Registry, _store: Store) -> None:
        operation = await registry.begin("install", "ada")
        operation.reach("environment", 40)
        operation.reach("verified", 30)
        summary = operation.summarise()
        assert (summary.phase, summary.percent) == ("environment", 40)
        registry.fail(operation, OperationCancelled("it was cancelled"))
        summary = operation.summarise()
        assert (summary.state, summary.percent) == ("cancelled", 40)

    run(tmp_path, scenario)


# -- how much is kept


def test_a_log_keeps_its_newest_lines(tmp_path: Path) -> None:
    async def scenario(registry: Registry, _store: Store) -> None:
        operation = await registry.begin("install", "ada")
        for number in range(live_operation.MOST_LINES + 5):
            operation.note(f"line {number}")
        log = registry.get(operation.id)
        assert (len(log.log), log.lines) == (live_operation.MOST_LINES, live_operation.MOST_LINES + 5)
        assert log.log[0] == "line 5"
        operation.note("x" * 5000 + "\ud800")
        assert len(registry.get(operation.id).log[-1]) == live_operation.LONGEST_LINE + 1
        for _ in range(200):
            operation.note("y" * 2000)
        assert operation.characters <= live_operation.MOST_CHARACTERS
        assert operation.characters == sum(map(len, registry.get(operation.id).log))

    run(tmp_path, scenario)


def test_old_operations_are_forgotten_but_none_that_is_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "MOST_KEPT", 3)

    async def scenario(registry: Registry, _store: Store) -> None:
        running = await registry.begin("install", "ada")
        ended = [await _end(registry) for _ in range(4)]
        assert [each.id for each in registry.list_all()] == [*(each.id for each in ended[:1:-1]), running.id]
        await registry.wait_saved()
        assert read_states(tmp_path).keys() == {each.id for each in ended[1:]} | {running.id}

    run(tmp_path, scenario)


async def _end(registry: Registry, line: str = "") -> LiveOperation:
    operation = await registry.begin("install", "ada")
    for _ in range(30):
        operation.note(line)
    registry.succeed(operation)
    return operation


def test_the_logs_of_older_operations_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_OLD_CHARACTERS", 1000)

    async def scenario(registry: Registry, _store: Store) -> None:
        old, new = await _end(registry, "x" * 25), await _end(registry, "x" * 25)
        assert len(registry.get(old.id).log) == module.OLD_LINES
        assert len(registry.get(new.id).log) == 30

    run(tmp_path, scenario)
