"""The health monitor, over an engine in memory: when attempts are made, what they decide, and what is done then."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.engines.engine import Execution
from plugvisor.errors import NotSupported, SupervisorUnavailable
from plugvisor.manager.checks import check_state, monitor
from plugvisor.manager.checks.check_state import CheckState
from plugvisor.manager.checks.monitor import HealthMonitor
from plugvisor.models.health import CheckStatus, Health
from plugvisor.models.lifecycle import Check
from plugvisor.models.process import ProcessState

from tests.helpers.fake_engine import FakeEngine
from tests.helpers.manifests import make_manifest
from tests.helpers.scenarios import let_tasks_run, run_scenario, wait_until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from plugvisor.models.manifest import Manifest

PASS, FAIL = Execution(code=0), Execution(code=3)
_launches = itertools.count(1)


class WatchedEngine(FakeEngine):
    """Counts how often somebody looks whether it answers."""

    looks = 0

    @property
    def is_live(self) -> bool:
        self.looks += 1
        return self._is_live

    @is_live.setter
    def is_live(self, value: bool) -> None:
        self._is_live = value


class Setup:
    """A monitor, its engine, the manifests it finds, and what it has announced."""

    def __init__(self) -> None:
        self.engine = WatchedEngine()
        self.manifests: dict[str, Manifest] = {}
        self.monitor = HealthMonitor(self.engine, self.manifests.get)
        self.changes: list[tuple[str, Health | None]] = []
        self.monitor.on_change.append(lambda name: self.changes.append((name, self.monitor.get(name))))
        self.monitor.open()

    def announce(self, name: str | None) -> None:
        for callback in list(self.engine.on_change):
            callback(name)

    def set(self, name: str, state: ProcessState, **fields: Any) -> None:
        self.engine.set(name, state, **fields)
        self.announce(name)

    def start(self, name: str = "echo", *, started: float | None = None, **checks: Check) -> None:
        """A new launch of a plugin that has these checks."""
        self.manifests[name] = make_manifest(id=name, checks=checks)
        started = time.monotonic() if started is None else started
        self.set(name, ProcessState.STARTING, launches=next(_launches), started=started)

    def count(self, name: str = "echo") -> int:
        """How many attempts were made with commands."""
        return self.engine.calls.count(("execute", name))

    async def wait_for_check(self, status: str, name: str = "echo") -> None:
        """Wait until the first check has that status."""
        await wait_until(lambda: self.monitor.list_checks(name)[0].status == status, f"{name} to be {status}")

    async def wait_for(self, health: Health | None, name: str = "echo") -> None:
        await wait_until(lambda: self.monitor.get(name) is health, f"{name} to be {health}")


def make_check(**fields: Any) -> Check:
    """A check whose failures count from the beginning, in quick succession."""
    return Check(**{"exec": ("true",), "period": 0.05, "startup": 0.0} | fields)


def run_with_monitor(scenario: Callable[[Setup], Awaitable[None]]) -> None:
    async def run() -> None:
        setup = Setup()
        try:
            await scenario(setup)
        finally:
            await setup.monitor.close()
        assert len(asyncio.all_tasks()) == 1, "nothing goes on"

    run_scenario(run())


# -- what a check says


def record(check: Check, *results: bool, age: float = 0.0) -> list[tuple[str, int]]:
    state = CheckState("web", check, time.monotonic() - age)
    told = []
    for passed in results:
        state.record("" if passed else "exit code 3")
        told.append((str(state.status), state.failures))
    return told


def test_failures_in_a_row() -> None:
    check = make_check(threshold=2)
    assert record(check, False, True, False, True, False, False, False, True) == [
        ("starting", 1),
        ("up", 0),
        ("up", 1),
        ("up", 0),
        ("up", 1),
        ("down", 2),
        ("down", 3),
        ("up", 0),
    ]


def test_failures_during_startup_do_not_count_until_the_first_success() -> None:
    check = make_check(startup=30, threshold=1)
    assert record(check, False, False, True, False) == [("starting", 0), ("starting", 0), ("up", 0), ("down", 1)]
    assert record(check, False, age=31) == [("down", 1)]


def test_when_attempts_are_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_state, "JITTER", 0.0)
    state = CheckState("web", make_check(startup=30, period=1), time.monotonic())
    delays = []
    for passed in (False, False, False, False, False, True, False):
        delays.append(state.find_delay())
        state.record("" if passed else "exit code 3")
    assert delays == [0.1, 0.2, 0.4, 0.8, 1, 1, 1]
    late = CheckState("web", make_check(period=10), time.monotonic())
    assert late.find_delay() == 0.1, "the first attempt comes soon in any case"
    late.record("exit code 3")
    assert late.find_delay() == 10, "but the next ones count, and come on time"


def test_jitter_never_makes_an_attempt_late() -> None:
    state = CheckState("web", make_check(period=1), time.monotonic())
    state.record("")
    delays = {state.find_delay() for _ in range(100)}
    assert len(delays) > 50
    assert 0.9 <= min(delays) < max(delays) <= 1


# -- health


def test_a_plugin_becomes_healthy_and_is_so_until_its_process_ends() -> None:
    async def scenario(setup: Setup) -> None:
        setup.engine.hold("execute", "echo")
        setup.start(run=make_check())
        assert setup.monitor.get("echo") is Health.STARTING
        assert not setup.monitor.is_ready("echo")
        await setup.engine.wait_called("execute", "echo")
        setup.engine.hold("execute", "echo").set()
        await setup.wait_for(Health.HEALTHY)
        assert setup.monitor.is_ready("echo")
        setup.set("echo", ProcessState.RUNNING)
        assert setup.monitor.get("echo") is Health.HEALTHY, "it is the same launch"
        setup.set("echo", ProcessState.STOPPING)
        assert setup.monitor.get("echo") is None
        assert not setup.monitor.list_checks("echo")
        assert setup.changes == [("echo", Health.HEALTHY)], "its process's own changes are announced by the engine"
        calls = setup.count()
        setup.start(run=make_check())
        assert setup.monitor.get("echo") is Health.STARTING
        await wait_until(lambda: setup.count() > calls, "the new launch's first attempt")

    run_with_monitor(scenario)


def test_health_that_flaps() -> None:
    async def scenario(setup: Setup) -> None:
        setup.start(run=make_check(threshold=1), alive=make_check(tcp="127.0.0.1:1", exec=(), startup=1000))
        for execution, status in ((PASS, "up"), (FAIL, "down"), (PASS, "up")):
            setup.engine.executions["run"] = execution
            await setup.wait_for_check(status)
        assert [health for _, health in setup.changes] == [Health.UNHEALTHY, Health.STARTING]
        assert setup.monitor.explain("echo") == "check 'alive' failed: connection refused"

    run_with_monitor(scenario)


def test_what_is_down_is_announced_although_the_health_is_the_same() -> None:
    async def scenario(setup: Setup) -> None:
        said: list[str] = []
        setup.monitor.on_change.append(lambda name: said.append(setup.monitor.explain(name)))
        setup.engine.executions |= {"first": FAIL, "second": PASS}
        setup.start(first=make_check(threshold=1), second=make_check(threshold=1))
        for first, second, name in ((FAIL, PASS, "first"), (FAIL, FAIL, "first"), (PASS, FAIL, "second")):
            setup.engine.executions |= {"first": first, "second": second}
            await wait_until(lambda name=name: said and said[-1] == f"check {name!r} failed: exit code 3", name)
            wanted = ["down" if execution is FAIL else "up" for execution in (first, second)]
            await wait_until(lambda wanted=wanted: [c.status for c in setup.monitor.list_checks("echo")] == wanted)
        assert {health for _, health in setup.changes} == {Health.UNHEALTHY}

    run_with_monitor(scenario)


@pytest.mark.parametrize(
    ("levels", "health", "is_ready"),
    [
        ({"good": "ready"}, Health.HEALTHY, True),
        ({"good": "alive"}, Health.HEALTHY, False),  # without ready checks it is ready if it is RUNNING
        ({"bad": "ready"}, Health.UNHEALTHY, False),
        ({"good": "ready", "bad": "alive"}, Health.UNHEALTHY, True),
        ({"good": "alive", "bad": "ready"}, Health.UNHEALTHY, False),
        ({"good": "ready", "slow": "alive"}, Health.HEALTHY, True),
        ({"good": "ready", "slow": "ready"}, Health.STARTING, False),
        ({"good": "alive", "slow": "alive"}, Health.STARTING, False),
        ({"slow": "ready", "bad": "alive"}, Health.UNHEALTHY, False),
    ],
)
def test_health_by_levels(levels: dict[str, str], health: Health, is_ready: bool) -> None:
    async def scenario(setup: Setup) -> None:
        setup.engine.executions |= {"bad": FAIL, "slow": FAIL}
        startups = {"slow": 1000.0}
        setup.start(
            **{
                name: make_check(level=level, startup=startups.get(name, 0.0), on_failure="none")
                for name, level in levels.items()
            }
        )
        await setup.wait_for(health)
        await wait_until(
            lambda: all(check.at for check in setup.monitor.list_checks("echo")), "an attempt of each check"
        )
        await setup.wait_for(health)
        assert setup.monitor.is_ready("echo") is is_ready

    run_with_monitor(scenario)


def test_a_plugin_without_checks_is_ready_if_it_is_running() -> None:
    async def scenario(setup: Setup) -> None:
        setup.start()
        assert not setup.monitor.is_ready("echo")
        setup.set("echo", ProcessState.RUNNING)
        assert setup.monitor.is_ready("echo")
        assert setup.monitor.get("echo") is None
        assert setup.monitor.healths == {}
        assert len(asyncio.all_tasks()) == 1, "it has no task"
        setup.engine.is_live = False
        with pytest.raises(SupervisorUnavailable):
            setup.monitor.is_ready("echo")

    run_with_monitor(scenario)


def test_who_is_told_first_is_not_told_that_a_new_launch_is_ready() -> None:
    async def scenario(setup: Setup) -> None:
        told: list[bool] = []
        setup.engine.on_change.insert(0, lambda _: told.append(setup.monitor.is_ready("echo")))
        setup.start(run=make_check())
        await setup.wait_for(Health.HEALTHY)
        setup.manifests["echo"] = make_manifest(checks={"run": make_check()})
        setup.set("echo", ProcessState.RUNNING, launches=next(_launches), started=time.monotonic())
        assert told == [False, False]

    run_with_monitor(scenario)


def test_a_new_manifest_takes_effect_with_the_next_start() -> None:
    async def scenario(setup: Setup) -> None:
        setup.start(old=make_check())
        await setup.wait_for(Health.HEALTHY)
        setup.manifests["echo"] = make_manifest(checks={"new": make_check()})
        setup.set("echo", ProcessState.RUNNING)
        assert [check.name for check in setup.monitor.list_checks("echo")] == ["old"]
        setup.set("echo", ProcessState.STARTING, launches=next(_launches), started=time.monotonic())
        assert [check.name for check in setup.monitor.list_checks("echo")] == ["new"]

    run_with_monitor(scenario)


def test_a_service_that_begins_checks_what_runs_already() -> None:
    async def scenario(setup: Setup) -> None:
        setup.engine.executions["run"] = FAIL
        setup.manifests["old"] = make_manifest(id="old", checks={"run": make_check(startup=30, threshold=1)})
        setup.engine.set("old", ProcessState.RUNNING, launches=1, started=time.monotonic() - 60)
        await setup.monitor.close()
        setup.monitor = HealthMonitor(setup.engine, setup.manifests.get)
        setup.monitor.open()
        assert setup.monitor.get("old") is Health.STARTING
        await wait_until(lambda: setup.monitor.get("old") is Health.UNHEALTHY, "its startup has been over for long")

    run_with_monitor(scenario)


def test_a_process_is_checked_once_its_own_manifest_is_known_again() -> None:
    """After a crash during an update the service begins with the manifest of the version that is gone back from."""

    async def scenario(setup: Setup) -> None:
        own, other = make_manifest(checks={"old": make_check()}), make_manifest(checks={"new": make_check(period=9)})
        assert own.checks_digest != other.checks_digest
        setup.manifests["echo"] = other
        setup.set("echo", ProcessState.RUNNING, launches=1, started=time.monotonic(), checks_digest=own.checks_digest)
        assert setup.monitor.get("echo") is None
        setup.manifests["echo"] = own
        setup.monitor.follow("echo")
        assert [check.name for check in setup.monitor.list_checks("echo")] == ["old"]
        await setup.wait_for(Health.HEALTHY)

    run_with_monitor(scenario)


# -- what is not known decides nothing


def test_nothing_is_decided_while_the_engine_is_away() -> None:
    async def scenario(setup: Setup) -> None:
        setup.start(run=make_check(threshold=1, on_failure="restart"))
        await setup.wait_for(Health.HEALTHY)
        setup.engine.executions["run"] = FAIL
        held = setup.engine.hold("execute", "echo")
        await setup.engine.wait_called("execute", "echo", setup.count() + 1)
        setup.engine.is_live = False
        setup.announce(None)
        held.set()
        calls, looks = setup.count(), setup.engine.looks
        await wait_until(lambda: setup.engine.looks > looks + 3, "several times at which an attempt was due")
        assert setup.count() == calls, "no attempt is made"
        assert setup.monitor.get("echo") is Health.HEALTHY
        assert not setup.engine.ended
        setup.engine.is_live = True
        setup.announce(None)
        await setup.wait_for(Health.UNHEALTHY)

    run_with_monitor(scenario)


def test_another_launch_is_not_blamed() -> None:
    """Not even by a supervisord that has been restarted, and counts launches anew."""

    async def scenario(setup: Setup) -> None:
        setup.engine.executions["run"] = FAIL
        held = setup.engine.hold("execute", "echo")
        setup.start(run=make_check(threshold=1, on_failure="restart"))
        await setup.engine.wait_called("execute", "echo")
        setup.manifests["echo"] = make_manifest()
        setup.engine.set("echo", ProcessState.RUNNING, started=time.monotonic() + 1)
        setup.announce(None)
        held.set()
        await let_tasks_run()
        assert setup.monitor.get("echo") is None
        assert not setup.engine.ended

    run_with_monitor(scenario)


# -- actions


@pytest.mark.parametrize(
    ("fields", "restart"),
    [
        ({"level": "alive"}, "always"),
        ({"on_failure": "restart"}, "always"),
        ({"on_failure": "stop"}, "never"),
        ({"level": "alive", "on_failure": "none"}, None),
        ({}, None),
    ],
)
def test_what_is_done_when_a_check_goes_down(fields: dict[str, Any], restart: str | None) -> None:
    async def scenario(setup: Setup) -> None:
        setup.engine.executions["run"] = FAIL
        setup.start(run=make_check(**fields))
        await wait_until(lambda: setup.monitor.failures["echo", "run"] == 3 or setup.engine.ended)
        await let_tasks_run()
        assert ("echo", Health.UNHEALTHY) in setup.changes
        assert setup.engine.ended == (
            [("echo", "check 'run' failed: exit code 3", restart)] if restart is not None else []
        )

    run_with_monitor(scenario)


def test_an_action_is_taken_once_but_again_after_a_success() -> None:
    async def scenario(setup: Setup) -> None:
        setup.engine.executions["run"] = FAIL
        ends: list[str] = []

        async def end(_plugin_id: str, _launches: int, reason: str, _restart: str) -> None:
            ends.append(reason)
            if len(ends) == 1:
                raise SupervisorUnavailable("it is away")

        setup.engine.end = end  # type: ignore[method-assign, assignment]
        setup.start(run=make_check(level="alive", threshold=1))
        await wait_until(lambda: setup.monitor.failures["echo", "run"] == 4)
        assert len(ends) == 2, "the first could not be done, the second was"
        setup.engine.executions["run"] = PASS
        await setup.wait_for(Health.HEALTHY)
        setup.engine.executions["run"] = FAIL
        await wait_until(lambda: len(ends) == 3)

    run_with_monitor(scenario)


# -- how many at once


def test_attempts_at_once_are_limited_and_a_check_never_runs_twice() -> None:
    async def scenario(setup: Setup) -> None:
        held = {f"p{number}": setup.engine.hold("execute", f"p{number}") for number in range(20)}
        for name in held:
            setup.start(name, run=make_check())
        await wait_until(lambda: len(asyncio.all_tasks()) == 1 + len(held), "all of them")
        await let_tasks_run()
        assert len(setup.engine.calls) == monitor.MOST_COMMANDS
        setup.set("p19", ProcessState.STOPPED)  # while it waits for its turn
        for event in held.values():
            event.set()
        await wait_until(lambda: len({name for _, name in setup.engine.calls}) == 19)
        assert setup.count("p19") == 0

    run_with_monitor(scenario)


def test_the_failures_of_plugins_that_are_gone_are_forgotten() -> None:
    async def scenario(setup: Setup) -> None:
        setup.engine.executions["run"] = FAIL
        setup.start(run=make_check())
        setup.start("other", run=make_check())
        await wait_until(lambda: len(setup.monitor.failures) == 2)
        setup.monitor.keep(["other"])
        assert list(setup.monitor.failures) == [("other", "run")]

    run_with_monitor(scenario)


def test_reports() -> None:
    async def scenario(setup: Setup) -> None:
        setup.engine.executions |= {
            "run": FAIL,
            "killed": Execution(signal="SIGKILL"),
            "slow": Execution(timed_out=True),
        }
        setup.engine.executions["none"] = Execution(error="cannot execute its command: No such file or directory")
        names = ("run", "killed", "slow", "none", "good")
        setup.start(**{name: make_check(timeout=1.5, level="alive", on_failure="none") for name in names})
        await setup.wait_for(Health.UNHEALTHY)
        await wait_until(lambda: all(check.at for check in setup.monitor.list_checks("echo")))
        reports = setup.monitor.list_checks("echo")
        assert [report.last_error for report in reports] == [
            "exit code 3",
            "killed by SIGKILL",
            "timed out after 1.5 s",
            "cannot execute its command: No such file or directory",
            "",
        ]
        assert (reports[4].status, reports[4].level, reports[4].failures) == (CheckStatus.UP, "alive", 0)
        assert abs((reports[4].at or 0) - time.time()) < 30

    run_with_monitor(scenario)


# -- what cannot be checked here


def test_a_check_that_cannot_be_made_says_so_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(setup: Setup) -> None:
        setup.engine.errors["locate"] = NotSupported("PLUGVISOR_NETWORK is not set")
        check = Check(tcp="localhost:1", period=0.05, startup=0.0, threshold=1, level="ready", on_failure="restart")
        setup.start(web=check)
        await wait_until(lambda: setup.monitor.explain("echo"), "an explanation")
        assert setup.monitor.explain("echo") == "check 'web' cannot be made: PLUGVISOR_NETWORK is not set"
        assert not setup.monitor.is_ready("echo")
        del setup.engine.errors["locate"]  # there, nothing listens
        await setup.wait_for_check("down")
        assert setup.monitor.explain("echo") == "check 'web' failed: connection refused"

    run_with_monitor(scenario)
    assert len([record for record in caplog.records if "cannot be made" in record.message]) == 1
