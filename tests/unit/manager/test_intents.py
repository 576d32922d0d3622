"""What operators want: in memory at once, in a real store before the answer, and in what the engine starts at boot."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from plugvisor.errors import AlreadyRunning, NotRunning, PluginNotFound, StartFailed, SupervisorUnavailable
from plugvisor.manager import restorer
from plugvisor.manager.outcome import Outcome
from plugvisor.models.process import Asked, ProcessState

from tests.helpers.remembering_manager import Setup, reopen, run
from tests.helpers.scenarios import let_tasks_run, wait_until
from tests.helpers.waiting import DEADLINE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

RUNNING, STOPPED = ProcessState.RUNNING, ProcessState.STOPPED


# -- what becomes an intent


def test_a_start_and_a_stop_are_stored_before_the_answer(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        assert (await setup.manager.start("echo", by="ops")).remembered
        assert setup.wanted() == {"echo": ("running", "ops")}
        assert (await setup.manager.stop("echo", by="other")).remembered
        assert setup.wanted() == {"echo": ("stopped", "other")}
        assert (await setup.manager.reload("echo", by="ops")).remembered
        assert setup.wanted() == {"echo": ("running", "ops")}
        intent = setup.intents.all["echo"]
        assert (intent.wanted, intent.by) == ("running", "ops")

    run(tmp_path, scenario)


def test_nothing_is_remembered_of_what_nobody_has_asked_for(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.manager.start("echo")
        setup.engine.set("echo", ProcessState.FATAL)
        setup.engine.set("echo", RUNNING)
        await setup.manager.stop("echo")
        await setup.manager.refresh()
        assert not setup.stored()
        assert not setup.announced

    run(tmp_path, scenario)


def test_a_stop_of_what_does_not_run_is_stored_before_the_error(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        for state in (STOPPED, ProcessState.EXITED, ProcessState.FATAL):
            setup.engine.set("echo", state)
            setup.intents.set("echo", "running", "first")
            with pytest.raises(NotRunning, match=r"^cannot stop 'echo': it is not running$"):
                await setup.manager.stop("echo", by="ops")
            assert setup.wanted() == {"echo": ("stopped", "ops")}
        before = setup.stored()
        setup.announced.clear()
        with pytest.raises(NotRunning):
            await setup.manager.stop("echo", by="other")
        assert setup.stored() == before
        assert not setup.announced
        with pytest.raises(NotRunning):
            await setup.manager.stop("base")
        assert setup.stored() == before

    run(tmp_path, scenario)


def test_an_error_changes_nothing(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        with pytest.raises(PluginNotFound):
            await setup.manager.stop("nobody", by="ops")
        assert not setup.stored()
        assert not setup.announced
        await setup.manager.start("echo", by="first")
        with pytest.raises(AlreadyRunning):
            await setup.manager.start("echo", by="ops")
        await setup.manager.stop("echo", by="first")
        for error in (AlreadyRunning("somebody was quicker"), SupervisorUnavailable("it is away")):
            setup.engine.errors["start"] = error
            with pytest.raises(type(error)):
                await setup.manager.start("echo", by="ops")
            assert setup.intents.all["echo"].wanted == "stopped"
            await setup.intents.wait_stored("echo")
            assert setup.wanted() == {"echo": ("stopped", "first")}

    run(tmp_path, scenario)


def test_a_start_that_fails_is_one(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        setup.engine.errors["start"] = StartFailed("it could not be spawned")
        with pytest.raises(StartFailed):
            await setup.manager.start("echo", by="ops")
        await setup.intents.wait_stored("echo")
        assert setup.wanted() == {"echo": ("running", "ops")}

    run(tmp_path, scenario)


def test_only_the_plugin_that_was_named_is_wanted(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.manager.start("top", by="ops")
        await setup.engine.wait_called("start", "top")
        assert setup.wanted() == {"top": ("running", "ops")}
        await setup.manager.stops.stop_with_dependents("base", ["top"], by="ops")
        assert setup.wanted() == {"top": ("stopped", "ops"), "base": ("stopped", "ops")}

    run(tmp_path, scenario)


def test_a_stop_of_dependents_counts_for_a_plugin_that_does_not_run(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        setup.engine.set("top", RUNNING)
        results = await setup.manager.stops.stop_with_dependents("base", ["top"], by="ops")
        assert isinstance(outcome := results["base"], Outcome)
        assert (outcome.finished, outcome.remembered) == (True, True)
        assert setup.wanted() == {"top": ("stopped", "ops"), "base": ("stopped", "ops")}

    run(tmp_path, scenario)


def test_the_answer_does_not_wait_for_the_engine_first(tmp_path: Path) -> None:
    """What was asked for is stored while it is being done."""

    async def scenario(setup: Setup) -> None:
        held = setup.engine.hold("start", "echo")
        starting = asyncio.create_task(setup.manager.start("echo", by="ops"))
        await wait_until(lambda: setup.wanted() == {"echo": ("running", "ops")})
        held.set()
        assert (await starting).remembered
        held = setup.engine.hold("wait_stopped", "echo")
        stopping = asyncio.create_task(setup.manager.stop("echo", by="ops"))
        await wait_until(lambda: setup.wanted() == {"echo": ("stopped", "ops")})
        held.set()
        assert (await stopping).remembered

    run(tmp_path, scenario)


def test_a_stop_of_what_somebody_has_just_started(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        held = setup.engine.hold("begin_stop", "echo")
        stopping = asyncio.create_task(setup.manager.stop("echo", by="ops"))
        await setup.engine.wait_called("begin_stop", "echo")
        setup.engine.set("echo", RUNNING)
        held.set()
        assert (await stopping).remembered
        assert setup.wanted() == {"echo": ("stopped", "ops")}

    run(tmp_path, scenario)


def test_a_thousand_stops_are_few_transactions(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        statements: list[str] = []
        await setup.store.write(lambda connection: connection.set_trace_callback(statements.append))
        for number in range(1000):
            setup.intents.set(f"plugin-{number}", "stopped", "ops")
        async with asyncio.timeout(DEADLINE_SECONDS):  # a busy disk takes longer than an answer waits for it
            while not all(
                await asyncio.gather(*(setup.intents.wait_stored(f"plugin-{number}") for number in range(1000)))
            ):
                pass
        assert len(setup.stored()) == 1000
        assert 1 <= statements.count("COMMIT") < 100

    run(tmp_path, scenario)


def test_nothing_is_remembered_if_it_is_switched_off(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        assert (await setup.manager.start("echo", by="ops")).remembered
        setup.engine.set("base", RUNNING, asked=Asked("running", "1-1", 5.0))
        assert not setup.intents.all
        await setup.manager.switch.disable("echo", "ops")
        assert setup.intents.starts == {"echo": False}
        assert not setup.stored()
        assert setup.stored("disabled").keys() == {"echo"}

    run(tmp_path, scenario, remembers=False)


def test_switching_it_off_keeps_what_was_remembered(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.manager.start("echo", by="ops")
        await setup.close()
        off = Setup(setup.folder, remembers=False, engine=setup.engine)
        async with off.open():
            assert not off.intents.all
            assert off.intents.starts == {}
            await off.manager.switch.disable("echo", "ops")
        assert setup.wanted() == {"echo": ("running", "ops")}

    run(tmp_path, scenario)


# -- restarts of the service


def test_another_service_knows_everything(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.manager.start("echo", by="ops")
        await setup.manager.switch.disable("base", "other")

        async def again(other: Setup) -> None:
            assert other.intents.all == setup.intents.all
            assert dict(other.intents.disabled) == dict(setup.intents.disabled)
            assert not other.manager.catalog["base"].enabled
            assert other.manager.catalog["echo"].enabled
            await wait_until(lambda: other.engine.starts == {"echo": True, "base": False})

        setup.engine.starts = None
        await reopen(setup, again)

    run(tmp_path, scenario)


# -- supervisorctl


def test_a_request_of_supervisorctl_counts_once(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        setup.engine.set("echo", STOPPED, asked=Asked("stopped", "boot-1", 5.0))
        await setup.intents.wait_stored("echo")
        assert setup.stored() == {"echo": ("stopped", "supervisorctl", 5.0)}
        assert setup.stored("asked") == {"echo": ("boot-1",)}
        await setup.manager.start("echo", by="ops")
        setup.engine.set("echo", RUNNING)  # its line repeats the request
        setup.engine.announce_all()
        assert setup.intents.all["echo"].by == "ops"

        async def again(other: Setup) -> None:
            assert other.intents.all["echo"].by == "ops"
            setup.engine.set("echo", STOPPED, asked=Asked("stopped", "boot-2", 2e9))
            assert other.intents.all["echo"].by == "supervisorctl"

        await reopen(setup, again)

    run(tmp_path, scenario)


def test_what_supervisorctl_has_done_without_the_service_is_caught_up_with(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.manager.start("echo", by="ops")
        await setup.manager.close()
        setup.engine.set("echo", STOPPED, asked=Asked("stopped", "boot-1", 2e9))

        async def again(other: Setup) -> None:
            await other.intents.wait_stored("echo")
            assert other.wanted() == {"echo": ("stopped", "supervisorctl")}

        await reopen(setup, again)

    run(tmp_path, scenario)


def test_a_late_report_of_supervisorctl_does_not_undo_what_came_after_it(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.manager.start("echo", by="ops")
        at = setup.intents.all["echo"].at
        for number, seconds in enumerate((0.01, 1, 1_000_000)):  # the last as one in a database that was restored
            setup.engine.set("echo", RUNNING, asked=Asked("stopped", f"boot-{number}", at - seconds))
            assert setup.intents.all["echo"].by == "ops"
            await setup.intents.wait_stored("echo")
            assert setup.stored("asked") == {"echo": (f"boot-{number}",)}

    run(tmp_path, scenario)


def test_a_clock_that_was_set_back_hides_no_request_of_supervisorctl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.manager.start("echo", by="ops")
        now = setup.intents.all["echo"].at - 1000
        monkeypatch.setattr(time, "time", lambda: now)
        setup.engine.set("echo", RUNNING, asked=Asked("stopped", "boot-1", now - 1))
        assert setup.intents.all["echo"].by == "supervisorctl"

    run(tmp_path, scenario)


# -- what is started at boot


def test_what_is_started_at_boot_follows_every_change(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        await setup.manager.start("echo", by="ops")
        await wait_until(lambda: setup.engine.starts == {"echo": True})
        await setup.manager.switch.disable("echo", "ops")
        await wait_until(lambda: setup.engine.starts == {"echo": False})
        await setup.manager.switch.enable("echo")
        await wait_until(lambda: setup.engine.starts == {"echo": True})
        await setup.manager.switch.forget_intent("echo")
        await wait_until(lambda: setup.engine.starts == {})

    run(tmp_path, scenario)


def test_what_is_started_at_boot_is_published_again_if_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restorer, "CHECK_SECONDS", 0.01)

    async def scenario(setup: Setup) -> None:
        setup.engine.errors["publish_starts"] = FileNotFoundError("the run folder is gone")
        await setup.manager.start("echo", by="ops")
        setup.engine.starts = None
        await let_tasks_run()
        del setup.engine.errors["publish_starts"]
        await wait_until(lambda: setup.engine.starts == {"echo": True})
        setup.engine.starts = None
        await wait_until(lambda: setup.engine.starts == {"echo": True})

    run(tmp_path, scenario)
