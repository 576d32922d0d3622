"""Notices: which changes of a plugin are worth a message."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.manager.facts import Facts
from plugvisor.manager.webhooks.notices import Notices
from plugvisor.manager.webhooks.troubled import Troubled
from plugvisor.models.health import Health
from plugvisor.models.plugin import StateName
from plugvisor.models.process import Exit, ProcessState
from plugvisor.plugins.catalog import Plugin
from plugvisor.store.store import Store

from tests.helpers.fake_engine import FakeEngine
from tests.helpers.manifests import make_manifest

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugvisor.models.stored.webhook import WebhookData, WebhookKind

STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED, FATAL, UNKNOWN = ProcessState
ERROR, RECOVERED, GIVEN_UP, LIMIT, UNHEALTHY = (
    "plugin.error",
    "plugin.recovered",
    "plugin.given_up",
    "plugin.limit",
    "plugin.unhealthy",
)
CRASH = Exit(at=1000.5, code=3)


class FakeManager:
    """What notices need of a manager."""

    def __init__(self) -> None:
        self.catalog: dict[str, Plugin] = {}
        self.on_facts: list[Callable[[str], object]] = []
        self.on_change: list[Callable[[], object]] = []
        self.all_facts: dict[str, Facts] = {}

    def facts(self, plugin_id: str) -> Facts | None:
        return self.all_facts.get(plugin_id)


class Setup:
    """Notices of the plugin `a`, which is stopped, and all that they have found."""

    def __init__(self, *plugin_ids: str) -> None:
        self.engine = FakeEngine(announces=True)
        self.manager = FakeManager()
        self.kinds: list[str] = []
        self.data: list[WebhookData] = []
        for plugin_id in plugin_ids or ("a",):
            self.add(plugin_id)
        self.troubled = Troubled(Store(Path("/nonexistent")))
        self.notices = Notices(self.manager, self.engine, self.troubled, self._on_notice)  # type: ignore[arg-type]

    def _on_notice(self, kind: WebhookKind, data: WebhookData) -> None:
        self.kinds.append(kind)
        self.data.append(data)

    def add(self, plugin_id: str, problem: str = "") -> None:
        manifest = make_manifest(id=plugin_id)
        plugin = Plugin(plugin_id, Path("/p"), manifest, "program", problem)
        self.set_catalog({**self.manager.catalog, plugin_id: plugin})

    def set_catalog(self, catalog: dict[str, Plugin]) -> None:
        self.manager.catalog = catalog
        for callback in self.manager.on_change:
            callback()

    def set_health(self, health: Health | None, note: str = "") -> None:
        self.manager.all_facts["a"] = Facts(health, note=note)
        for callback in self.manager.on_facts:
            callback("a")

    def take(self) -> list[str]:
        """What was found since the last call."""
        kinds, self.kinds = self.kinds, []
        return kinds


@pytest.fixture
def setup() -> Setup:
    made = Setup()
    made.notices.open()
    return made


def exit_by(setup: Setup, state: ProcessState = EXITED, **fields: Any) -> None:
    """End unexpectedly."""
    setup.engine.set("a", state, **{"spawn_error": "Bad exit code 3", "last_exit": CRASH} | fields)


def test_a_plugin_that_starts_and_stops_is_not_worth_a_message(setup: Setup) -> None:
    for state in (STARTING, RUNNING, STOPPING, STOPPED, STARTING, RUNNING):
        setup.engine.set("a", state)
    setup.engine.set("a", EXITED, last_exit=Exit(at=1.0, code=0))  # as expected
    assert setup.kinds == []


def test_a_crash_and_the_restart(setup: Setup) -> None:
    setup.engine.set("a", RUNNING)
    exit_by(setup)
    assert setup.take() == [ERROR]
    exit_by(setup)  # nothing new
    setup.engine.set("a", STARTING, spawn_error="")
    assert setup.take() == []
    setup.engine.set("a", RUNNING)
    assert setup.take() == [RECOVERED]
    setup.engine.set("a", STOPPED)
    setup.engine.set("a", RUNNING)
    assert setup.take() == []


def test_the_message_describes_the_plugin(setup: Setup) -> None:
    exit_by(setup)
    [data] = setup.data
    assert (data.plugin_id, data.status, data.state, data.count) == ("a", "error", "EXITED", 1)
    assert data.detail == "it ended unexpectedly, with exit code 3; its log may say why"
    assert data.last_exit.code == 3  # type: ignore[union-attr]
    assert data.last_exit.at == "1970-01-01T00:16:40.500000Z"  # type: ignore[union-attr]


def test_a_long_reason_is_cut(setup: Setup) -> None:
    setup.engine.set("a", FATAL, spawn_error="x" * 100_000)
    assert len(setup.data[0].detail) == 2048  # type: ignore[arg-type]


def test_a_plugin_that_is_given_up(setup: Setup) -> None:
    setup.engine.set("a", STARTING)
    exit_by(setup, BACKOFF)
    setup.engine.set("a", STARTING)
    exit_by(setup, BACKOFF)
    assert setup.take() == [ERROR, ERROR]
    exit_by(setup, FATAL)
    assert setup.take() == [GIVEN_UP]
    setup.engine.set("a", STARTING)
    exit_by(setup, FATAL)
    assert setup.take() == [GIVEN_UP], "no separate error"
    setup.engine.set("a", UNKNOWN)
    assert setup.take() == []


@pytest.mark.parametrize("reason", ["memory limit", "processes limit"])
def test_a_limit(setup: Setup, reason: str) -> None:
    setup.engine.set("a", RUNNING)
    exit_by(setup, last_exit=Exit(at=1.0, signal="SIGKILL", reason=reason))
    assert setup.take() == [LIMIT, ERROR]
    assert setup.data[0].last_exit.reason == reason  # type: ignore[union-attr]
    setup.engine.set("a", RUNNING, spawn_error="")
    assert setup.take() == [RECOVERED]
    exit_by(setup, last_exit=Exit(at=2.0, signal="SIGKILL", reason=reason))
    assert setup.take() == [LIMIT, ERROR]


def test_a_plugin_that_a_check_has_ended_has_exceeded_no_limit(setup: Setup) -> None:
    setup.engine.set("a", RUNNING)
    exit_by(setup, last_exit=Exit(at=1.0, code=0, reason="check 'web' failed"))
    assert setup.take() == [ERROR]


def test_health(setup: Setup) -> None:
    setup.engine.set("a", RUNNING)
    for health in (Health.STARTING, Health.HEALTHY):
        setup.set_health(health)
    assert setup.take() == []
    setup.set_health(Health.UNHEALTHY, "check 'web' failed: answered 500")
    assert setup.take() == [UNHEALTHY]
    assert (setup.data[-1].health, setup.data[-1].detail) == ("unhealthy", "check 'web' failed: answered 500")
    setup.set_health(Health.UNHEALTHY, "check 'web' failed: answered 502")
    assert setup.take() == []
    setup.set_health(Health.HEALTHY)
    assert setup.take() == [RECOVERED]


def test_a_plugin_with_checks_has_recovered_when_they_pass(setup: Setup) -> None:
    setup.engine.set("a", RUNNING)
    setup.set_health(Health.HEALTHY)
    setup.manager.all_facts.clear()
    exit_by(setup)
    setup.manager.all_facts["a"] = Facts(Health.STARTING)
    setup.engine.set("a", STARTING, spawn_error="")
    setup.engine.set("a", RUNNING)
    assert setup.take() == [ERROR]
    setup.set_health(Health.HEALTHY)
    assert setup.take() == [RECOVERED]


@pytest.mark.parametrize("is_known", [True, False])
def test_what_was_in_error_before_the_first_snapshot_is_not_announced_but_its_recovery_is(is_known: bool) -> None:
    setup = Setup("a", "b")
    if is_known:
        setup.troubled.is_known = True
        setup.troubled.add("a")
    setup.engine.is_live = False
    exit_by(setup, FATAL)
    setup.engine.set("b", RUNNING)
    setup.notices.open()
    setup.engine.announce_all()
    setup.engine.is_live = True
    setup.engine.announce_all()
    assert setup.take() == []
    setup.engine.set("a", RUNNING, spawn_error="")
    assert setup.take() == [RECOVERED]


def test_what_has_changed_before_the_first_snapshot_is_announced() -> None:
    """A plugin may have been given up at boot, before the service ran."""
    setup = Setup("a", "b", "c", "d")
    limit = Exit(at=1.0, signal="SIGKILL", reason="memory limit")
    setup.troubled.is_known = True
    setup.troubled.add("b")
    setup.troubled.add("gone")
    exit_by(setup, FATAL, last_exit=limit)
    setup.engine.set("b", RUNNING)
    setup.engine.set("c", RUNNING, last_exit=limit)  # it is not known whether that is news
    setup.notices.open()
    assert [(data.plugin_id, kind) for kind, data in zip(setup.kinds, setup.data, strict=True)] == [
        ("a", LIMIT),
        ("a", GIVEN_UP),
        ("b", RECOVERED),
    ]
    assert ["gone" in setup.troubled, "a" in setup.troubled, "b" in setup.troubled] == [False, True, False]


def test_what_has_changed_while_supervisord_was_silent_is_seen(setup: Setup) -> None:
    setup.engine.set("a", RUNNING)
    setup.engine.is_live = False
    setup.engine.announce_all()
    exit_by(setup)
    assert setup.take() == []
    setup.engine.is_live = True
    setup.engine.announce_all()
    assert setup.take() == [ERROR]


def test_manifests_and_removed_plugins(setup: Setup) -> None:
    setup.add("a", problem="plugin.toml line 1: no")
    assert setup.take() == [ERROR]
    assert setup.data[-1].detail == "its manifest is invalid: plugin.toml line 1: no"
    setup.add("b", problem="plugin.toml line 1: no")  # it was not there
    assert setup.take() == [ERROR]
    setup.set_catalog({"a": setup.manager.catalog["a"]})
    setup.add("a")
    setup.engine.set("b", RUNNING)  # no plugin any more
    setup.add("b")
    assert setup.take() == []
    setup.engine.set("a", RUNNING)
    assert setup.take() == [RECOVERED]


def test_the_limit_of_an_earlier_plugin_of_the_same_id_is_not_news(setup: Setup) -> None:
    setup.engine.set("b", STOPPED, last_exit=Exit(at=1.0, signal="SIGKILL", reason="memory limit"))
    setup.add("b")
    assert setup.take() == []


def test_nothing_is_raised(setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    setup.set_catalog({"a": None})  # type: ignore[dict-item]
    setup.engine.set("a", RUNNING)
    assert caplog.text.count("cannot follow the plugins for webhooks") == 2


def test_nothing_is_followed_in_the_end(setup: Setup) -> None:
    setup.notices.close()
    exit_by(setup)
    assert (setup.kinds, setup.engine.on_change, setup.manager.on_change, setup.manager.on_facts) == ([], [], [], [])


def test_states_have_the_names_of_the_api() -> None:
    assert {state.name for state in ProcessState} == set(StateName.__args__)  # type: ignore[attr-defined]
