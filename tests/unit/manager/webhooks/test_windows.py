"""Windows: at most one message for each plugin and kind in five minutes, and none is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plugvisor.manager.webhooks.outbox import Outbox
from plugvisor.manager.webhooks.windows import WINDOW_SECONDS, Windows
from plugvisor.models.process import Status
from plugvisor.models.stored.webhook import WebhookData
from plugvisor.store.store import Store

from tests.helpers.scenarios import run_scenario

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugvisor.models.stored.webhook import WebhookKind


class Setup:
    """Windows over an outbox in memory, and a clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.outbox = Outbox(Store(Path("/nonexistent")), ["https://example.com"], self.read_clock)
        self.windows = Windows(self.outbox, self.read_clock)
        self.count = 0

    def read_clock(self) -> float:
        return self.now

    def add(self, kind: WebhookKind = "plugin.error", plugin_id: str = "a") -> None:
        """Something happens; each time is another."""
        self.count += 1
        data = WebhookData(plugin_id=plugin_id, status=Status.ERROR, state="EXITED", since=f"time {self.count}")
        self.windows.add(kind, data)

    def list_messages(self) -> list[tuple[float, dict[str, Any]]]:
        """When each message is due, seconds from the beginning, and its body."""
        [queue] = self.outbox.queues
        return [(one.due - 1000.0, json.loads(one.message.body)) for one in queue.deliveries.values()]

    def list_counts(self) -> list[tuple[float, int]]:
        """When each message is due, and for how much it stands."""
        return [(due, body["data"]["count"]) for due, body in self.list_messages()]


def run(scenario: Callable[[Setup], None]) -> None:
    async def set_up() -> None:
        setup = Setup()
        scenario(setup)
        if setup.outbox._timer is not None:
            setup.outbox._timer.cancel()

    run_scenario(set_up())


def test_the_first_is_sent_at_once_and_the_others_together() -> None:
    def scenario(setup: Setup) -> None:
        for _ in range(4):
            setup.add()
            setup.now += 10
        [first, held] = setup.list_messages()
        assert first[0] == 0
        assert first[1]["timestamp"] == first[1]["data"]["since"] == "time 1"
        assert held[0] == WINDOW_SECONDS
        assert (held[1]["timestamp"], held[1]["data"]["since"], held[1]["data"]["count"]) == ("time 4", "time 2", 3)

    run(scenario)


def test_a_window_without_anything_held_ends() -> None:
    def scenario(setup: Setup) -> None:
        setup.add()
        setup.now += WINDOW_SECONDS
        setup.add()
        assert setup.list_counts() == [(0, 1), (WINDOW_SECONDS, 1)]

    run(scenario)


def test_the_next_window_begins_with_the_held_message() -> None:
    """So that there is never more than one message in five minutes."""

    def scenario(setup: Setup) -> None:
        setup.add()
        setup.now += WINDOW_SECONDS - 1
        setup.add()
        setup.now += 2  # the held one has gone
        setup.add()
        setup.now += WINDOW_SECONDS - 2  # one second before the end of the second window
        setup.add()
        assert setup.list_counts() == [(0, 1), (WINDOW_SECONDS, 1), (2 * WINDOW_SECONDS, 2)]
        setup.now += 2 * WINDOW_SECONDS
        setup.add()
        assert setup.list_counts()[3:] == [(setup.now - 1000.0, 1)]

    run(scenario)


def test_a_message_that_is_due_is_not_changed() -> None:
    def scenario(setup: Setup) -> None:
        setup.add()
        setup.add()
        setup.now += WINDOW_SECONDS
        before = setup.list_messages()
        setup.add()
        assert setup.list_messages()[:2] == before
        assert setup.list_counts()[2] == (2 * WINDOW_SECONDS, 1)

    run(scenario)


def test_plugins_and_kinds_have_windows_of_their_own() -> None:
    def scenario(setup: Setup) -> None:
        setup.add()
        setup.add("plugin.recovered")
        setup.add(plugin_id="b")
        assert setup.list_counts() == [(0, 1)] * 3

    run(scenario)


def test_old_windows_are_forgotten() -> None:
    def scenario(setup: Setup) -> None:
        for number in range(100):
            setup.add(plugin_id=str(number))
        setup.now += 2 * WINDOW_SECONDS
        setup.add()
        assert len(setup.windows._windows) == 1

    run(scenario)
