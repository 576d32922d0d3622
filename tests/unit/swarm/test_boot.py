"""The services of plugins that are new to a swarm, made when the service itself starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from plugvisor.engines.swarm.services import boot
from plugvisor.engines.swarm.services.boot import Boot
from plugvisor.errors import StartFailed, SupervisorUnavailable

from tests.helpers.scenarios import in_loop, wait_until


@dataclass
class Swarm:
    """Stands for the table and the deployment: creating fails as often as there are errors."""

    errors: list[Exception]
    created: list[tuple[str, bool, str]] = field(default_factory=list)
    is_live: bool = True

    def list_services(self) -> dict[str, Any]:
        return {}

    async def poll(self) -> None:
        pass

    async def create(self, plugin_id: str, *, is_started: bool, queued: str = "") -> bool:
        if self.errors:
            raise self.errors.pop(0)
        self.created.append((plugin_id, is_started, queued))
        return True


@dataclass
class Program:
    id: str


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WAIT_SECONDS", "RETRY_SECONDS", "FAILED_SECONDS"):
        monkeypatch.setattr(boot, name, 0.001)


@in_loop
async def test_a_plugin_is_started_by_what_holds_when_its_service_can_be_made() -> None:
    """The registry was away; meanwhile somebody has disabled the plugin."""
    swarm = Swarm([StartFailed("the registry does not answer"), SupervisorUnavailable("no manager answers")])
    begun = Boot(cast("Any", swarm), cast("Any", swarm))

    await begun.begin(cast("Any", [Program("echo")]), lambda _: bool(swarm.errors), ())
    await wait_until(lambda: bool(swarm.created), "the service")
    await begun.close()
    assert swarm.created == [("echo", False, "")]


@in_loop
async def test_a_failure_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    swarm = Swarm([StartFailed("the registry does not answer")] * 3)
    begun = Boot(cast("Any", swarm), cast("Any", swarm))
    await begun.begin(cast("Any", [Program("echo")]), lambda _: True, ["echo"])
    await wait_until(lambda: bool(swarm.created), "the service")
    await begun.close()
    assert swarm.created == [("echo", False, "boot")]
    assert [record.getMessage() for record in caplog.records] == [
        "the service of 'echo' cannot be made yet: the registry does not answer"
    ]
