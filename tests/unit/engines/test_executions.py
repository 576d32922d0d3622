"""Running the command of a check: its end comes by the state stream, or never."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.engines.engine import Execution
from plugvisor.engines.supervisord import engine as engine_module
from plugvisor.errors import SupervisorUnavailable

from tests.helpers.fake_supervisor import FakeSupervisor, run_engine
from tests.helpers.scenarios import wait_until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from plugvisor.engines.supervisord.engine import SupervisordEngine


def run(tmp_path: Path, scenario: Callable[[SupervisordEngine, FakeSupervisor], Awaitable[None]]) -> None:
    """Run a scenario with an engine whose program `echo` runs."""
    run_engine(tmp_path, scenario, state=20, pid=7, launches=3)


@pytest.mark.parametrize("order", ["before the answer", "after it"])
@pytest.mark.parametrize(
    "end", [{"code": 3}, {"signal": "SIGKILL"}, {"error": "cannot execute its command"}, {"timed_out": True}]
)
def test_its_end(tmp_path: Path, order: str, end: dict[str, Any]) -> None:
    async def scenario(engine: SupervisordEngine, fake: FakeSupervisor) -> None:
        def execute(name: str, launches: int, check: str, timeout_seconds: float, number: int) -> int:
            assert (name, launches, check, timeout_seconds) == ("echo", 3, "web", 2.0)
            fake.write("check", name="echo", number=number + 1, code=99)  # another one's
            if order == "before the answer":
                return fake.write("check", name="echo", number=number, **end)
            later = lambda: fake.write("check", name="echo", number=number, **end)  # noqa: E731
            asyncio.get_running_loop().call_later(0.02, later)
            return fake.sequence

        fake.methods["plugins.execute"] = execute
        assert await engine.execute("echo", 3, "web", 2) == Execution(**end)

    run(tmp_path, scenario)


@pytest.mark.parametrize("how", ["the end is lost", "the stream breaks", "the stream is silent"])
def test_an_end_that_never_comes(tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "KILL_GRACE_SECONDS", 0.1 if how == "the end is lost" else 1000.0)

    async def scenario(engine: SupervisordEngine, fake: FakeSupervisor) -> None:
        execution = asyncio.create_task(engine.execute("echo", 3, "web", 0.1))
        await wait_until(lambda: fake.calls)
        if how == "the stream breaks":
            fake.break_stream()
        elif how == "the stream is silent":
            fake.is_silent = True
        with pytest.raises(SupervisorUnavailable):
            await execution

    run(tmp_path, scenario)


def test_a_supervisord_that_is_silent_is_not_asked(tmp_path: Path) -> None:
    async def scenario(engine: SupervisordEngine, fake: FakeSupervisor) -> None:
        fake.is_silent = True
        await wait_until(lambda: not engine.is_live)
        with pytest.raises(SupervisorUnavailable):
            await engine.execute("echo", 3, "web", 1)
        assert not fake.calls

    run(tmp_path, scenario)


def test_a_line_about_a_check_ends_a_silence(tmp_path: Path) -> None:
    """Whoever waits for supervisord to answer again is told, whatever line comes first."""

    async def scenario(engine: SupervisordEngine, fake: FakeSupervisor) -> None:
        told: list[str | None] = []
        engine.on_change.append(told.append)
        fake.is_silent = True
        await wait_until(lambda: told == [None], "the silence")
        fake.write("check", name="echo", number=1, code=0)
        await wait_until(lambda: told == [None, None], "its end")

    run(tmp_path, scenario)
