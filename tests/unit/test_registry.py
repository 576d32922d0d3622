"""What a stock supervisord is taken to run, where many plugins are changed at once after a restart of the service."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from plugvisor.engines.supervisord.client import ConfigurationDifference
from plugvisor.engines.supervisord.program import Program
from plugvisor.engines.supervisord.publisher import Publisher
from plugvisor.engines.supervisord.registry import Registry
from plugvisor.models.process import Process, ProcessState

from tests.conftest import DEADLINE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

STOPPED = Process(ProcessState.STOPPED, 0, 0.0, 0, "")
PROGRAMS = [Program(name, f"[program:{name}]\nstartsecs=100\n", b"#!/bin/sh\n") for name in ("one", "other")]


class StockSupervisord:
    """Runs each of them as it was before; it answers when the test lets it."""

    is_live = False

    def __init__(self) -> None:
        self.times_asked = 0
        self.may_answer = asyncio.Event()

    async def reread_configuration(self) -> ConfigurationDifference:
        self.times_asked += 1
        await self.may_answer.wait()
        return ConfigurationDifference(frozenset(), frozenset({"one", "other"}), frozenset())


def test_what_another_has_just_written_is_not_taken_for_applied(tmp_path: Path) -> None:
    async def scenario() -> list[bool]:
        publisher = Publisher(tmp_path)
        publisher.prepare()
        for program in PROGRAMS:
            publisher.write_section(program)
        supervisord = cast("Any", StockSupervisord())
        registry = Registry(tmp_path, supervisord, supervisord, supervisord)
        tasks = []
        for times, program in enumerate(PROGRAMS, 1):
            tasks.append(asyncio.create_task(registry.publish(program, STOPPED)))
            async with asyncio.timeout(DEADLINE_SECONDS):
                while supervisord.times_asked < times and not tasks[-1].done():  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.005)
        supervisord.may_answer.set()
        return await asyncio.gather(*tasks)

    assert asyncio.run(scenario()) == [True, True], "supervisord has yet to take both over"
