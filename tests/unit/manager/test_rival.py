"""Two services with one name in one swarm notice each other; one that follows another does not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from plugvisor.manager.kept_state import keeper as keeper_module
from plugvisor.manager.kept_state import rival as rival_module
from plugvisor.manager.kept_state.rival import Rival

from tests.helpers.kept_state import FakeKeptState, run_machine
from tests.helpers.scenarios import wait_until

if TYPE_CHECKING:
    from pathlib import Path

LOOK = 5


class Services:
    """Services that look at what is kept every five seconds of a clock that the test turns."""

    def __init__(self) -> None:
        self.now = 0
        self.writer: Rival | None = None
        self.writes = 0

    def live(self, seconds: int, *services: Rival) -> None:
        """Have some live, and no other one."""
        for _ in range(0, seconds, LOOK):
            self.now += LOOK
            for one in services:
                if one.note(self.now, is_own=self.writer is one):
                    self.write(one)

    def write(self, service: Rival) -> None:
        self.writer = service
        self.writes += 1


def test_two_that_live_notice_each_other_and_the_end_of_it() -> None:
    services, first, second = Services(), Rival(), Rival()
    services.live(100, first)
    services.live(150, first, second)
    assert "same PLUGVISOR_NAME" in first.detail
    assert "same PLUGVISOR_NAME" in second.detail
    services.live(200, second)
    assert second.detail == ""


def test_one_alone_writes_once() -> None:
    services, first = Services(), Rival()
    services.live(3600, first)
    assert (services.writes, first.detail) == (1, "")


@pytest.mark.parametrize("overlap", [0, 10, 20])
def test_one_that_follows_another_is_no_rival(overlap: int) -> None:
    """Both write what they are asked for meanwhile, as often as they can."""
    services, service = Services(), Rival()
    services.live(100, service)
    for _ in range(10):
        following = Rival()
        for _ in range(0, overlap, 2 * LOOK):
            for one in (following, service):
                services.write(one)
                services.live(LOOK, service, following)
        assert (service.detail, following.detail) == ("", "")
        service = following
        services.live(200, service)
        assert service.detail == ""


def test_services_tell_each_other_by_what_they_keep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("FLUSH_SECONDS", "LOOK_SECONDS", "RETRY_SECONDS"):
        monkeypatch.setattr(keeper_module, name, 0.01)
    monkeypatch.setattr(rival_module, "CLAIM_SECONDS", 0.2)

    async def scenario() -> None:
        kept = FakeKeptState()
        async with run_machine(kept, tmp_path / "1") as first:
            first.intents.set("web", "stopped", "ops")
            await wait_until(lambda: bool(kept.kept), "it is kept")
            async with run_machine(kept, tmp_path / "2") as second:
                await wait_until(
                    lambda: bool(first.keeper.rival.detail and second.keeper.rival.detail), "they notice each other"
                )
                assert first.intents.all.keys() == second.intents.all.keys() == {"web"}
        assert kept.list_rows() == {"intent/web"}

    asyncio.run(scenario())
    assert "same PLUGVISOR_NAME" in caplog.text
