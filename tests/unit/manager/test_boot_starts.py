"""Publishing which plugins the engine starts when it starts itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from plugvisor.manager.intents import boot_starts
from plugvisor.manager.intents.boot_starts import BootStarts

from tests.helpers.scenarios import let_tasks_run, run_scenario, wait_until

if TYPE_CHECKING:
    import pytest


def test_the_first_change_is_published_at_once_and_those_that_follow_together(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        published: list[dict[str, bool]] = []
        intents = SimpleNamespace(starts={"web": True})
        starts = BootStarts(cast("Any", intents), cast("Any", SimpleNamespace(publish_starts=published.append)))
        monkeypatch.setattr(boot_starts, "PUBLISH_SECONDS", 1000.0)  # nothing that waits for it ends
        starts.publish()
        await wait_until(lambda: published == [{"web": True}], "the first change to be published")
        await starts.close()  # nothing is due: it does not wait for the next
        intents.starts = {"web": False}
        starts.publish()
        await let_tasks_run()
        assert published == [{"web": True}], "the next waits"
        assert starts._task is not None
        starts._task.cancel()
        starts._task = None
        monkeypatch.setattr(boot_starts, "PUBLISH_SECONDS", 0.0)
        for wanted in (False, True, False):
            intents.starts = {"web": wanted}
            starts.publish()
        await starts.close()
        assert published == [{"web": True}, {"web": False}]

    run_scenario(scenario())
