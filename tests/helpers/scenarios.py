"""Tests of asynchronous code: a scenario is a coroutine that is run to its end, with a deadline."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any, TypeVar

from tests.helpers.waiting import DEADLINE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


def run_scenario(scenario: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine; fail if it takes too long, or if an exception is lost in a task or a callback."""
    lost: list[dict[str, Any]] = []

    async def run() -> T:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: lost.append(context))
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await scenario

    result = asyncio.run(run())
    assert not lost, lost
    return result


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make a coroutine that is a whole test a function, for pytest."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        run_scenario(test(*args, **kwargs))

    return run


async def wait_until(condition: Callable[[], Any], what: str = "") -> Any:
    """Wait until what `condition` returns is true, and return that."""
    try:
        async with asyncio.timeout(DEADLINE_SECONDS / 2):
            while not (value := condition()):  # noqa: ASYNC110 - nothing announces it
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"waited in vain for {what or condition}") from None
    return value


async def let_tasks_run() -> None:
    """Let every task go on as far as it can without input."""
    for _ in range(20):
        await asyncio.sleep(0)
