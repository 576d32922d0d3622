"""Stops of plugins that others depend on."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

from plugvisor.errors import NotRunning
from plugvisor.manager.outcome import Outcome
from plugvisor.models.process import ProcessState

from tests.helpers.dependent_plugins import CHAIN, Setup, run
from tests.helpers.scenarios import let_tasks_run, wait_until

if TYPE_CHECKING:
    from pathlib import Path

STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED, FATAL, UNKNOWN = ProcessState


def test_a_stop_stops_one_plugin_alone_and_says_what_the_others_miss(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        for name in CHAIN:
            setup.engine.set(name, RUNNING)
        setup.told.clear()
        await setup.manager.stop("base")
        facts = setup.manager.facts("middle")
        assert facts is not None
        assert (facts.unmet, facts.note) == (("base",), "its dependency 'base' is not running")
        assert setup.told == ["middle"]
        assert setup.manager.facts("top") is None
        version = setup.manager.version
        setup.engine.set("base", RUNNING)
        assert setup.manager.facts("middle") is None
        assert setup.manager.version > version

    run(tmp_path, CHAIN, scenario)


def test_a_stop_with_dependents_goes_by_chains(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        for name in setup.manager.catalog:
            setup.engine.set(name, RUNNING)
        held = setup.engine.hold("wait_stopped", "slow")
        dependents = setup.manager.stops.list_running_dependents(["base"])
        stopping = asyncio.create_task(setup.manager.stops.stop_with_dependents("base", dependents))
        await wait_until(lambda: setup.get("middle").state is STOPPED, "the other chain to stop")
        assert setup.get("base").state is RUNNING, "it waits for the slow one"
        dependents = setup.manager.stops.list_running_dependents(["base"])
        results = await setup.manager.stops.stop_with_dependents("base", dependents, wait_seconds=0)
        assert isinstance(outcome := results["base"], Outcome)
        assert not outcome.finished
        held.set()
        results = await stopping
        assert isinstance(outcome := results["base"], Outcome)
        assert outcome.finished
        assert sorted(results) == ["base", "middle", "slow", "top"]
        order = [name for method, name in setup.engine.calls if method == "begin_stop"]
        assert order.index("top") < order.index("middle") < order.index("base")
        assert order.index("slow") < order.index("base")
        assert setup.get("apart").state is RUNNING

    run(tmp_path, CHAIN | {"slow": "base", "apart": "", "loose": "base::optional"}, scenario)


def test_stops_of_many_go_in_the_reverse_order(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        setup.engine.set("base", RUNNING)
        setup.engine.set("top", RUNNING)  # its own dependency does not run
        held = setup.engine.hold("wait_stopped", "top")
        stopping = asyncio.create_task(setup.manager.stops.stop_many(["base", "middle", "top", "nobody"]))
        await setup.engine.wait_called("wait_stopped", "top")
        assert setup.get("base").state is RUNNING
        held.set()
        results = await stopping
        assert list(results) == ["base", "middle", "top"]
        assert [type(result).__name__ for result in results.values()] == ["Outcome", "NotRunning", "Outcome"]

    run(tmp_path, CHAIN, scenario)


def test_a_stop_that_fails_at_once_is_reported_once(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        results = await setup.manager.stops.stop_many(["base"], wait_seconds=5)
        assert isinstance(results["base"], NotRunning)
        results.clear()
        await let_tasks_run()
        gc.collect()  # an exception that nobody has taken is reported then, and fails the scenario

    run(tmp_path, CHAIN, scenario)
