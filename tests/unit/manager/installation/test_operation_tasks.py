"""Operations as tasks: accepted, cancelled, interrupted, and noted in the journal."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from plugvisor.api.problems import make_problem
from plugvisor.errors import (
    AlreadyInstalled,
    InstallationOff,
    NotCancellable,
    OperationCancelled,
    OperationInterrupted,
    StoreUnavailable,
    TooManyOperations,
)
from plugvisor.manager.installation import operation_tasks as module
from plugvisor.manager.installation.operation_tasks import OperationTasks
from plugvisor.manager.installation.registry import Registry
from plugvisor.store.store import Store

from tests.helpers.scenarios import let_tasks_run, run_scenario, wait_until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from plugvisor.manager.installation.live_operation import LiveOperation
    from plugvisor.manager.journal.recorder import Recorder
    from plugvisor.models.stored.journal import NewEntry


class Setup:
    """Tasks on a real store, and what the journal got."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder)
        self.registry = Registry(self.store, make_problem)
        self.entries: list[NewEntry] = []
        self.obstacle: Exception | None = None
        self.may_go_on = asyncio.Event()
        self.ended: list[str] = []
        recorder = cast("Recorder", SimpleNamespace(note=self.entries.append))
        self.tasks = OperationTasks(self.registry, recorder, self._check)

    async def _check(self) -> None:
        if self.obstacle is not None:
            raise self.obstacle

    async def wait(self, _operation: LiveOperation) -> None:
        """Work that goes on until the test lets it end."""
        await self.may_go_on.wait()

    async def wait_committed(self, operation: LiveOperation) -> None:
        """The same, of what cannot be cancelled."""
        operation.commit()
        await self.may_go_on.wait()

    def outcomes(self) -> list[tuple[str | Any, str | Any, str]]:
        """What the journal says: the verb, the outcome and the plugin of each entry."""
        return [(entry.facts.verb, entry.facts.outcome, entry.plugin_id) for entry in self.entries]


def run(folder: Path, scenario: Callable[[Setup], Awaitable[Any]]) -> None:
    """Run a scenario."""

    async def opened() -> None:
        setup = Setup(folder)
        await setup.store.open()
        await setup.registry.load()
        await scenario(setup)
        await setup.tasks.close()
        await setup.registry.close()
        await setup.store.close()

    run_scenario(opened())


async def fail(_operation: LiveOperation) -> None:
    raise AlreadyInstalled("it is there")


async def break_down(_operation: LiveOperation) -> None:
    raise ZeroDivisionError


def test_an_operation_that_succeeds(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        under_way = await setup.tasks.begin(
            "install", "ada", setup.wait, lambda: setup.ended.append("x"), plugin_id="echo"
        )
        assert await under_way.wait(0) is None
        setup.may_go_on.set()
        operation = await under_way.wait(None)
        assert operation
        assert (operation.state, operation.percent, operation.by) == ("succeeded", 100, "ada")
        assert setup.ended == ["x"]
        assert setup.outcomes() == [("install", "ok", "echo")]

    run(tmp_path, scenario)


def test_an_operation_that_fails_says_what_and_why_to_everyone_who_waits(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        under_way = await setup.tasks.begin("install", "ada", fail, plugin_id="echo")
        for _ in range(2):
            with pytest.raises(AlreadyInstalled, match=r"^cannot install 'echo': it is there$"):
                await under_way.wait(None)
        operation = setup.registry.get(under_way.operation_id)
        assert operation.problem
        assert (operation.state, operation.problem.code) == ("failed", "already_installed")
        assert setup.outcomes() == [("install", "already_installed", "echo")]

    run(tmp_path, scenario)


def test_a_defect_is_a_failure_like_any_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(setup: Setup) -> None:
        under_way = await setup.tasks.begin("update", "ada", break_down, plugin_id="echo")
        with pytest.raises(ZeroDivisionError):
            await under_way.wait(None)
        assert setup.outcomes() == [("update", "internal_error", "echo")]
        assert "ZeroDivisionError" in caplog.text

    run(tmp_path, scenario)


def test_a_client_that_goes_away_cancels_nothing(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        client = asyncio.create_task(setup.tasks.begin("install", "ada", setup.wait))
        await asyncio.sleep(0)
        client.cancel()
        await wait_until(setup.registry.list_all)
        [operation] = setup.registry.list_all()
        assert operation.state == "running"
        setup.may_go_on.set()
        await wait_until(lambda: setup.registry.get(operation.id).state == "succeeded")

    run(tmp_path, scenario)


@pytest.mark.parametrize("obstacle", [InstallationOff("there is no folder"), TooManyOperations("not yet")])
def test_what_cannot_begin_leaves_nothing(tmp_path: Path, obstacle: Exception) -> None:
    async def scenario(setup: Setup) -> None:
        setup.obstacle = obstacle
        with pytest.raises(type(obstacle)):
            await setup.tasks.begin("install", "ada", setup.wait, lambda: setup.ended.append("x"))
        assert setup.ended == ["x"]
        assert setup.registry.list_all() == []
        assert setup.entries == []

    run(tmp_path, scenario)


def test_what_cannot_be_stored_does_not_begin(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.store.close()
        with pytest.raises(StoreUnavailable):
            await setup.tasks.begin("install", "ada", setup.wait, lambda: setup.ended.append("x"))
        assert setup.ended == ["x"]

    run(tmp_path, scenario)


def test_only_so_many_are_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_UNFINISHED", 2)

    async def scenario(setup: Setup) -> None:
        first, _ = [await setup.tasks.begin("install", "ada", setup.wait) for _ in range(2)]
        for _ in range(3):
            with pytest.raises(TooManyOperations):
                await setup.tasks.begin("install", "ada", setup.wait)
        setup.may_go_on.set()
        await first.wait(None)
        await setup.tasks.begin("install", "ada", setup.wait)

    run(tmp_path, scenario)


# -- cancelled and interrupted


def test_an_operation_is_cancelled(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        under_way = await setup.tasks.begin("install", "ada", setup.wait, lambda: setup.ended.append("x"))
        operation = setup.registry.find(under_way.operation_id)
        await setup.tasks.cancel(operation)
        assert setup.ended == ["x"]
        assert operation.describe().state == "cancelled"
        with pytest.raises(OperationCancelled):
            await under_way.wait(None)
        with pytest.raises(NotCancellable, match="ended"):
            await setup.tasks.cancel(operation)
        assert setup.outcomes() == [("install", "cancelled", "")]

    run(tmp_path, scenario)


def test_an_operation_is_cancelled_twice(tmp_path: Path) -> None:
    """The second cancellation, and the end of the service, do not interrupt its cleaning up."""

    async def scenario(setup: Setup) -> None:
        cleaned: list[str] = []

        async def clean_up(operation: LiveOperation) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await setup.may_go_on.wait()
                cleaned.append(operation.id)

        under_way = await setup.tasks.begin("install", "ada", clean_up)
        operation = setup.registry.find(under_way.operation_id)
        cancellations = []
        for _ in range(2):
            cancellations.append(asyncio.create_task(setup.tasks.cancel(operation)))
            await let_tasks_run()
        closing = asyncio.create_task(setup.tasks.close())
        await let_tasks_run()
        assert operation.is_running
        setup.may_go_on.set()
        await asyncio.gather(*cancellations, closing)
        assert cleaned == [operation.id]
        assert operation.state == "cancelled"

    run(tmp_path, scenario)


def test_what_is_kept_of_an_error_keeps_nothing_else(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        async def fail_for_a_reason(_operation: LiveOperation) -> None:
            try:
                int("it is no number")
            except ValueError as error:
                raise AlreadyInstalled("it is there") from error

        under_way = await setup.tasks.begin("install", "ada", fail_for_a_reason)
        operation = setup.registry.find(under_way.operation_id)
        await operation.settled.wait()
        assert operation.error
        assert (operation.error.__cause__, operation.error.__context__, operation.error.__traceback__) == (None,) * 3

    run(tmp_path, scenario)


def test_what_has_changed_what_is_current_cannot_be_cancelled(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        under_way = await setup.tasks.begin("install", "ada", setup.wait_committed)
        with pytest.raises(NotCancellable, match="too far"):
            await setup.tasks.cancel(setup.registry.find(under_way.operation_id))
        setup.may_go_on.set()
        assert await under_way.wait(None)

    run(tmp_path, scenario)


def test_what_was_cancelled_does_not_change_what_is_current(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        changed: list[str] = []

        async def ignore(operation: LiveOperation) -> None:
            """Its last step is under way in another task, which is not cancelled."""
            with suppress(asyncio.CancelledError):
                await setup.may_go_on.wait()
            operation.commit()
            changed.append(operation.id)

        under_way = await setup.tasks.begin("install", "ada", ignore)
        await setup.tasks.cancel(setup.registry.find(under_way.operation_id))
        assert changed == []
        assert setup.outcomes() == [("install", "cancelled", "")]

    run(tmp_path, scenario)


def test_the_end_of_the_service_interrupts_what_can_be_cancelled_and_waits_for_the_rest(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        building = await setup.tasks.begin("install", "ada", setup.wait)
        swapping = await setup.tasks.begin("update", "ada", setup.wait_committed)
        closing = asyncio.create_task(setup.tasks.close())
        with pytest.raises(OperationInterrupted):
            await building.wait(None)
        await let_tasks_run()
        assert not closing.done()
        with pytest.raises(OperationInterrupted):
            await setup.tasks.begin("install", "ada", setup.wait)
        setup.may_go_on.set()
        await closing
        assert setup.outcomes() == [("install", "interrupted", ""), ("update", "ok", "")]
        assert await swapping.wait(None)

    run(tmp_path, scenario)


def test_what_does_not_end_in_time_is_interrupted_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOSE_SECONDS", 0.05)

    async def scenario(setup: Setup) -> None:
        under_way = await setup.tasks.begin("update", "ada", setup.wait_committed)
        await setup.tasks.close()
        with pytest.raises(OperationInterrupted):
            await under_way.wait(None)
        assert setup.registry.get(under_way.operation_id).state == "interrupted"

    run(tmp_path, scenario)
