"""The process_table: reads that share calls, and what each of them may see."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.engines.supervisord.client import CALL_TIMEOUT_SECONDS
from plugvisor.engines.supervisord.process_table import READ_TIMEOUT_SECONDS, ProcessTable
from plugvisor.errors import SupervisorUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class FakeClient:
    """Every call waits until the test answers it."""

    def __init__(self) -> None:
        self.calls: list[asyncio.Future[dict[str, Any]]] = []
        self.under_way = 0

    async def get_processes(self) -> dict[str, Any]:
        assert self.under_way == 0, "one call at a time"
        self.under_way += 1
        call: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.calls.append(call)
        try:
            return await call
        finally:
            self.under_way -= 1

    def answer(self, number: int) -> dict[str, Any]:
        picture = {"number": number}
        self.calls[number].set_result(picture)
        return picture


async def settle() -> None:
    """Let every task go on as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


def on_board(scenario: Callable[[ProcessTable, FakeClient], Awaitable[None]], timeout_seconds: float = 20.0) -> None:
    async def run() -> None:
        unlooked: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unlooked.append(context))
        client = FakeClient()
        process_table = ProcessTable(client, timeout_seconds=timeout_seconds)  # type: ignore[arg-type]
        async with asyncio.timeout(20):
            await scenario(process_table, client)
            await process_table.close()
        assert not unlooked

    asyncio.run(run())


def test_readers_during_a_call_share_exactly_one_more() -> None:
    async def scenario(process_table: ProcessTable, client: FakeClient) -> None:
        first = asyncio.create_task(process_table.read())
        await settle()
        assert len(client.calls) == 1
        others = [asyncio.create_task(process_table.read()) for _ in range(100)]
        await settle()
        assert len(client.calls) == 1, "the next call waits for the one under way"
        picture = client.answer(0)
        await settle()
        assert await first is picture
        assert not any(task.done() for task in others), "they came after that call had begun"
        assert len(client.calls) == 2
        picture = client.answer(1)
        assert all(seen is picture for seen in await asyncio.gather(*others))
        assert len(client.calls) == 2

    on_board(scenario)


def test_readers_at_once_share_one_call_and_a_lonely_one_is_served_at_once() -> None:
    async def scenario(process_table: ProcessTable, client: FakeClient) -> None:
        for number in range(3):
            readers = [asyncio.create_task(process_table.read()) for _ in range(10)]
            await settle()
            assert len(client.calls) == number + 1
            picture = client.answer(number)
            assert all(seen is picture for seen in await asyncio.gather(*readers))

    on_board(scenario)


@pytest.mark.parametrize("seed", range(20))
def test_nobody_sees_a_picture_older_than_its_own_arrival(seed: int) -> None:
    chance = random.Random(seed)

    async def scenario(process_table: ProcessTable, client: FakeClient) -> None:
        readers: list[tuple[int, asyncio.Task[Any]]] = []
        answered = 0
        for _ in range(300):
            if chance.random() < 0.6:
                # a call that has begun by now is too old for this reader
                readers.append((len(client.calls), asyncio.create_task(process_table.read())))
            if chance.random() < 0.1 and readers:
                chance.choice(readers)[1].cancel()
            if chance.random() < 0.3 and answered < len(client.calls):
                client.answer(answered)
                answered += 1
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
        while not all(task.done() for _, task in readers):
            if answered < len(client.calls):
                client.answer(answered)
                answered += 1
            await settle()
        seen = [(began, task.result()["number"]) for began, task in readers if not task.cancelled()]
        assert len(seen) > 100
        assert all(began <= number <= began + 1 for began, number in seen)

    on_board(scenario)


def test_an_error_reaches_all_who_share_and_nobody_else() -> None:
    async def scenario(process_table: ProcessTable, client: FakeClient) -> None:
        readers = [asyncio.create_task(process_table.read()) for _ in range(5)]
        await settle()
        later = asyncio.create_task(process_table.read())
        error = SupervisorUnavailable("away")
        client.calls[0].set_exception(error)
        await settle()
        assert [task.exception() for task in readers] == [error] * 5
        picture = client.answer(1)
        assert await later is picture

    on_board(scenario)


@pytest.mark.parametrize("ends", ["well", "badly"])
@pytest.mark.parametrize("who", ["first", "waiting", "all"])
def test_a_reader_that_is_cancelled_cancels_nothing_for_others(who: str, ends: str) -> None:
    async def scenario(process_table: ProcessTable, client: FakeClient) -> None:
        first = [asyncio.create_task(process_table.read()) for _ in range(2)]
        await settle()
        waiting = [asyncio.create_task(process_table.read()) for _ in range(2)]
        await settle()
        cancelled = {"first": first[:1], "waiting": waiting[:1], "all": first + waiting}[who]
        for task in cancelled:
            task.cancel()
        await settle()
        assert not client.calls[0].cancelled(), "the call itself goes on"
        client.answer(0)
        await settle()
        if ends == "well":
            client.answer(1)
        else:
            client.calls[1].set_exception(SupervisorUnavailable("away"))  # nobody may be there to look at it
        await settle()
        assert all(task.cancelled() for task in cancelled)
        for task in set(first) - set(cancelled):
            assert task.result() == {"number": 0}
        for task in set(waiting) - set(cancelled):
            assert (task.exception() is None) == (ends == "well")
        fresh = asyncio.create_task(process_table.read())
        await settle()
        picture = client.answer(2)
        assert await fresh is picture

    on_board(scenario)


def test_a_frozen_call_takes_a_bounded_time_and_the_board_recovers() -> None:
    async def scenario(process_table: ProcessTable, client: FakeClient) -> None:
        began = time.monotonic()
        first = asyncio.create_task(process_table.read())
        await settle()
        second = asyncio.create_task(process_table.read())
        for reader in (first, second):
            with pytest.raises(SupervisorUnavailable, match=r"within 0\.2 seconds"):
                await reader
        assert time.monotonic() - began < 2
        third = asyncio.create_task(process_table.read())
        await settle()
        assert len(client.calls) == 1, "still one call at a time"
        client.answer(0)
        await settle()
        picture = client.answer(1)
        assert await third is picture

    on_board(scenario, timeout_seconds=0.2)


def test_its_limits_leave_time_to_answer_within_five_seconds() -> None:
    assert CALL_TIMEOUT_SECONDS < READ_TIMEOUT_SECONDS < 5


def test_closing_ends_what_is_under_way() -> None:
    async def scenario(process_table: ProcessTable, client: FakeClient) -> None:
        readers = []
        for _ in range(2):
            readers.append(asyncio.create_task(process_table.read()))
            await settle()
        await process_table.close()
        await settle()
        assert client.calls[0].cancelled()
        assert len(client.calls) == 1
        assert all(reader.done() for reader in readers)

    on_board(scenario)
