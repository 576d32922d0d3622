"""What operators want while the store does not take it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.errors import StartFailed, StoreUnavailable, SupervisorUnavailable
from plugvisor.manager.intents import persistence as module
from plugvisor.models.process import Asked, ProcessState

from tests.helpers.remembering_manager import Setup, run
from tests.helpers.scenarios import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from plugvisor.store.store import Store

STOPPED = ProcessState.STOPPED


class Trouble:
    """Makes a store fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, store: Store, *, can_write: bool = False) -> None:
        self.is_there = True
        write, read = store.write, store.read

        async def try_to_write(work: Any) -> Any:
            if self.is_there and not can_write:
                raise StoreUnavailable("the disk is full")
            return await write(work)

        async def try_to_read(query: Any) -> Any:
            if self.is_there:
                raise StoreUnavailable("the disk is gone")
            return await read(query)

        monkeypatch.setattr(store, "write", try_to_write)
        monkeypatch.setattr(store, "read", try_to_read)
        monkeypatch.setattr(module, "RETRY_SECONDS", 0.02)


def test_a_store_that_fails_keeps_nobody_from_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.manager.switch.disable("base", "first")
        await setup.manager.start("echo", by="first")
        trouble = Trouble(monkeypatch, setup.store)
        assert not (await setup.manager.stop("echo", by="ops")).remembered
        assert setup.intents.all["echo"].wanted == "stopped"
        await wait_until(lambda: setup.engine.starts == {"echo": False, "base": False})
        assert not (await setup.manager.switch.disable("top", "ops")).remembered
        assert not setup.manager.catalog["top"].enabled
        for change in (setup.manager.switch.enable("base"), setup.manager.switch.forget_intent("echo")):
            with pytest.raises(StoreUnavailable):
                await change
        assert not setup.manager.catalog["base"].enabled
        assert "echo" in setup.intents.all
        assert setup.wanted() == {"echo": ("running", "first")}
        trouble.is_there = False
        await wait_until(lambda: setup.wanted() == {"echo": ("stopped", "ops")})
        await wait_until(lambda: setup.stored("disabled").keys() == {"base", "top"})
        assert await setup.intents.wait_stored("echo")

    run(tmp_path, scenario)


def test_an_answer_waits_for_a_slow_store_a_second_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STORE_SECONDS", 0.05)

    async def scenario(setup: Setup) -> None:
        goes_on, write = asyncio.Event(), setup.store.write

        async def write_later(work: Any) -> Any:
            await goes_on.wait()
            return await write(work)

        monkeypatch.setattr(setup.store, "write", write_later)
        assert not (await setup.manager.start("echo", by="ops")).remembered
        goes_on.set()
        await wait_until(lambda: setup.wanted() == {"echo": ("running", "ops")})
        assert await setup.intents.wait_stored("echo")

    run(tmp_path, scenario)


@pytest.mark.parametrize("can_write", [False, True])
def test_a_store_that_can_be_read_later_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_write: bool
) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.manager.start("echo", by="first")
        await setup.manager.switch.disable("base", "first")
        setup.engine.set("top", STOPPED, asked=Asked("stopped", "boot-1", 5.0))
        await setup.intents.wait_stored("top")
        await setup.close()
        again = Setup(setup.folder, engine=setup.engine)
        trouble = Trouble(monkeypatch, again.store, can_write=can_write)
        setup.engine.starts = {"left": True}
        async with again.open():
            assert not again.intents.all
            assert not (await again.manager.stop("echo", by="ops")).remembered
            setup.engine.set("echo", STOPPED, asked=Asked("running", "boot-0", 5.0))
            setup.engine.set("top", STOPPED)
            assert "top" not in again.intents.all, "it is not known which requests were taken over"
            await again.manager._boot_starts.close()  # what is due is published
            assert setup.engine.starts == {"left": True}, "what was published at boot stays"
            with pytest.raises(StoreUnavailable):
                await again.manager.switch.enable("base")
            trouble.is_there = False
            await wait_until(lambda: again.wanted().get("echo") == ("stopped", "ops"))
            assert again.wanted() == {"echo": ("stopped", "ops"), "top": ("stopped", "supervisorctl")}
            assert again.intents.all["echo"].by == "ops", "what was asked for before is not new"
            setup.engine.set("echo", STOPPED, asked=Asked("running", "boot-2", time.time()))
            assert again.intents.all["echo"].by == "supervisorctl"
            await again.manager.reload("echo", by="ops")
            await again.manager.stop("echo", by="ops")
            assert not again.manager.catalog["base"].enabled
            await wait_until(lambda: setup.engine.starts == {"echo": False, "top": False, "base": False})

    run(tmp_path, scenario)


def test_a_change_that_fails_before_the_store_can_be_read_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.manager.start("echo", by="first")
        await setup.manager.start("base", by="first")
        await setup.close()
        again = Setup(setup.folder, engine=setup.engine)
        trouble = Trouble(monkeypatch, again.store)
        async with again.open():
            setup.engine.errors["begin_stop"] = SupervisorUnavailable("it is away")
            with pytest.raises(SupervisorUnavailable):
                await again.manager.stop("echo", by="ops")
            del setup.engine.errors["begin_stop"]
            await again.manager.stop("base", by="ops")
            setup.engine.errors["start"] = StartFailed("it could not be spawned")
            with pytest.raises(StartFailed):
                await again.manager.start("base", by="ops")
            trouble.is_there = False
            await wait_until(lambda: again.wanted().get("base") == ("running", "ops"))
            assert again.wanted() == {"echo": ("running", "first"), "base": ("running", "ops")}
            assert again.intents.all["echo"].by == "first"

    run(tmp_path, scenario)


def test_the_last_request_counts_if_the_store_can_be_read_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.close()
        again = Setup(setup.folder, engine=setup.engine)
        trouble = Trouble(monkeypatch, again.store)
        async with again.open():
            await again.manager.start("echo", by="ops")
            at = again.intents.all["echo"].at
            setup.engine.set("echo", STOPPED, asked=Asked("stopped", "boot-1", at + 0.01))
            trouble.is_there = False
            await wait_until(lambda: again.wanted() == {"echo": ("stopped", "supervisorctl")})

    run(tmp_path, scenario)


def test_a_new_database_gets_everything(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.manager.start("echo", by="ops")
        await setup.manager.switch.disable("base", "ops")
        await setup.store.write(lambda connection: connection.execute("DELETE FROM intent").connection)
        await setup.store.write(lambda connection: connection.execute("DELETE FROM disabled").connection)
        for callback in setup.store.on_replaced:
            callback()
        await wait_until(lambda: setup.wanted() == {"echo": ("running", "ops")})
        assert setup.stored("disabled").keys() == {"base"}

    run(tmp_path, scenario)
