"""Operations: one after another for one plugin, side by side for different ones, and the server's own."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.errors import NotRunning, StartFailed, SupervisorConfused, SupervisorUnavailable
from plugvisor.manager import operations as module
from plugvisor.manager.operations import Operations

from tests.helpers.scenarios import let_tasks_run, run_scenario

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def run(scenario: Callable[[Operations], Awaitable[Any]]) -> None:
    async def opened() -> None:
        operations = Operations()
        await scenario(operations)
        await operations.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}, "nothing is left behind"

    run_scenario(opened())


class Operation:
    """An operation that does what the test says."""

    def __init__(self, error: Exception | None = None) -> None:
        self.began = self.ended = False
        self.finish = asyncio.Event()
        self.accept = asyncio.Event()
        self._error = error

    async def __call__(self, accepted: asyncio.Event) -> str:
        self.began = True
        await self.accept.wait()
        accepted.set()
        await self.finish.wait()
        self.ended = True
        if self._error:
            raise self._error
        return "done"

    def go(self) -> None:
        """Let it go on to its end."""
        self.accept.set()
        self.finish.set()


# -- order


def test_one_after_another_for_one_plugin_in_the_order_in_which_they_came() -> None:
    async def scenario(operations: Operations) -> None:
        made = [Operation() for _ in range(3)]
        verbs = ("start", "stop", "start")
        tasks = [asyncio.create_task(operations.run(verb, "a", each)) for verb, each in zip(verbs, made, strict=True)]
        for number, operation in enumerate(made):
            await let_tasks_run()
            assert [each.began for each in made] == [number >= other for other in range(3)]
            operation.go()
        assert await asyncio.gather(*tasks) == ["done"] * 3

    run(scenario)


def test_different_plugins_do_not_wait_for_each_other() -> None:
    async def scenario(operations: Operations) -> None:
        slow, quick = Operation(), Operation()
        waiting = asyncio.create_task(operations.run("stop", "a", slow))
        await let_tasks_run()
        quick.go()
        assert await operations.run("stop", "b", quick) == "done"
        assert not waiting.done()
        slow.go()
        await waiting

    run(scenario)


def test_a_second_stop_shares_the_first_and_nothing_else_does() -> None:
    async def scenario(operations: Operations) -> None:
        asked = [("stop", True), ("stop", True), ("start", False), ("start", False)]
        asked += [("stop", False), ("stop", True), ("stop", False), ("reload", False)]
        made = [Operation() for _ in asked]
        tasks = [
            asyncio.create_task(operations.run(verb, "a", each, is_shared=is_shared))
            for (verb, is_shared), each in zip(asked, made, strict=True)
        ]
        for operation in made:
            await let_tasks_run()
            operation.go()
        await asyncio.gather(*tasks)
        assert [operation.began for operation in made] == [True, False, True, True, True, True, False, True]
        afterwards = Operation()
        afterwards.go()
        await operations.run("stop", "a", afterwards, is_shared=True)
        assert afterwards.began, "what has ended is not shared"

    run(scenario)


# -- clients that go away


@pytest.mark.parametrize("wait_seconds", [None, 20.0])
@pytest.mark.parametrize("is_accepted", [False, True])
@pytest.mark.parametrize("problem", ["", "it died"])
def test_a_client_that_goes_away_cancels_nothing(
    caplog: pytest.LogCaptureFixture, wait_seconds: float | None, is_accepted: bool, problem: str
) -> None:
    async def scenario(operations: Operations) -> None:
        operation = Operation(StartFailed(problem) if problem else None)
        client = asyncio.create_task(operations.run("start", "a", operation, wait_seconds))
        await let_tasks_run()
        if is_accepted:
            operation.accept.set()
        await let_tasks_run()
        client.cancel()
        await let_tasks_run()
        assert client.cancelled()
        operation.go()
        await operations.close()
        assert operation.ended

    with caplog.at_level(logging.WARNING):
        run(scenario)
    assert [record.getMessage() for record in caplog.records] == (
        ["an operation that was no longer waited for has failed: cannot start 'a': it died"] if problem else []
    )


def test_a_client_waits_as_long_as_it_wants_to() -> None:
    async def scenario(operations: Operations) -> None:
        operation = Operation()
        client = asyncio.create_task(operations.run("reload", "a", operation, 0.0))
        await let_tasks_run()
        assert not client.done(), "it may still be rejected"
        operation.accept.set()
        assert await client is None, "it goes on"
        operation.go()
        await operations.close()
        assert operation.ended

    run(scenario)


@pytest.mark.parametrize("is_accepted", [False, True])
def test_a_failure_reaches_a_client_that_waits_for_a_time(is_accepted: bool) -> None:
    async def scenario(operations: Operations) -> None:
        async def operation(accepted: asyncio.Event) -> None:
            if is_accepted:
                accepted.set()
            raise NotRunning("it is not running")

        with pytest.raises(NotRunning, match=r"^cannot stop 'a': it is not running$"):
            await operations.run("stop", "a", operation, 20.0)

    run(scenario)


def test_close_waits_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        operations = Operations()
        operation, detached = Operation(), Operation()
        clients = [
            asyncio.create_task(operations.run("stop", "a", operation)),
            asyncio.create_task(operations.run_detached(detached(asyncio.Event()))),
        ]
        await let_tasks_run()
        closing = asyncio.create_task(operations.close())
        await let_tasks_run()
        assert not closing.done()
        operation.go()
        detached.go()
        await closing
        assert await asyncio.gather(*clients) == ["done"] * 2
        monkeypatch.setattr(module, "CLOSE_SECONDS", 0.05)
        endless = Operation()
        client = asyncio.create_task(operations.run("stop", "a", endless))
        await let_tasks_run()
        await operations.close()
        assert not client.done()
        endless.go()
        await client

    run_scenario(scenario())


def test_many_plugins_are_changed_together_whatever_becomes_of_the_client() -> None:
    async def scenario(operations: Operations) -> None:
        operation = Operation()
        client = asyncio.create_task(operations.run_detached(operation(asyncio.Event())))
        await let_tasks_run()
        client.cancel()
        await let_tasks_run()
        operation.go()
        await operations.close()
        assert operation.ended

    run(scenario)


# -- errors


def test_an_error_names_what_could_not_be_done_once_however_many_share_it() -> None:
    async def scenario(operations: Operations) -> None:
        operation = Operation(NotRunning("it is not running"))
        operation.go()
        results = await asyncio.gather(
            *[operations.run("stop", "a", operation, is_shared=True) for _ in range(3)], return_exceptions=True
        )
        assert {str(result) for result in results} == {"cannot stop 'a': it is not running"}
        failing = operation(asyncio.Event())
        with pytest.raises(NotRunning, match=r"^cannot reload 'b': "):
            await operations.name_errors("reload", "b", failing)

    run(scenario)


@pytest.mark.parametrize("error", [SupervisorUnavailable, SupervisorConfused])
def test_what_waited_behind_an_unavailable_supervisord_fails_with_it(error: type[SupervisorUnavailable]) -> None:
    async def scenario(operations: Operations) -> None:
        first = Operation(error("supervisord: it does not answer"))
        behind, later, other = Operation(), Operation(), Operation()
        tasks = [asyncio.create_task(operations.run("start", "a", each)) for each in (first, behind)]
        await let_tasks_run()
        first.go()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [str(result) for result in results] == ["cannot start 'a': supervisord: it does not answer"] * 2
        assert all(isinstance(result, SupervisorUnavailable) for result in results)
        assert not behind.began, "it would wait as long again"
        for plugin_id, operation in (("a", later), ("b", other)):
            operation.go()
            assert await operations.run("start", plugin_id, operation) == "done", "this one came afterwards"

    run(scenario)


def test_another_error_stops_nothing_behind_it() -> None:
    async def scenario(operations: Operations) -> None:
        first, behind = Operation(StartFailed("no")), Operation()
        tasks = [asyncio.create_task(operations.run("start", "a", each)) for each in (first, behind)]
        await let_tasks_run()
        for operation in (first, behind):
            operation.go()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(results[0], StartFailed)
        assert results[1] == "done"

    run(scenario)
