"""Plugins that end all the time and are restarted again and again: a stop or a removal is for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.helpers.supervisord import AT_ONCE, BACKOFF, STOPPED
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.supervisord import StreamReader, Supervisord


@pytest.mark.parametrize("seconds", [0, 0.02])
@pytest.mark.parametrize("method", ["plugins.stop", "supervisor.stopProcess"])
def test_a_stop_is_for_good(
    shared: Supervisord, add: Callable[..., str], reader: StreamReader, method: str, seconds: float
) -> None:
    """Of one that lives for a moment and no longer; by supervisorctl's method, whenever that finds it running."""
    name = add(arguments=["/bin/sh", "-c", f"echo ready; sleep {seconds}; exit 1"], autorestart="true", restart=AT_ONCE)
    for _ in range(5):
        before = shared.count_ready(name)
        shared.fault("plugins.start", name)
        wait_for(lambda before=before: shared.count_ready(name) > before + 3, "it to be restarted")
        wait_for(lambda: shared.fault(method, name) is None, "the stop")
        launches = shared.describe(name)["launches"]
        reader.wait_for(name, state=STOPPED, launches=launches, orphans=False)
        for _ in range(20):
            shared.rpc("supervisor.getState")  # a whole round
        assert shared.describe(name)["launches"] == launches
    assert shared.find(name) == []


def test_a_stop_between_two_tries(shared: Supervisord, add: Callable[..., str]) -> None:
    name = add("raise SystemExit(1)\n", startsecs=5, startretries=100)
    for _ in range(3):
        shared.rpc("plugins.start", name)
        wait_for(lambda: shared.states[name][0] == BACKOFF)
        shared.rpc("plugins.stop", name)
        assert shared.states[name] == (STOPPED, 0)
    launches = shared.describe(name)["launches"]
    reader = shared.follow()
    wait_for(lambda: len(reader.lines) >= 3, "more time than until the next try")
    assert shared.describe(name)["launches"] == launches
    shared.close_readers()


def test_a_restart_leaves_one_process(shared: Supervisord, add: Callable[..., str]) -> None:
    crashing = {"arguments": ["/bin/sh", "-c", "echo ready; exit 1"], "autorestart": "true", "restart": AT_ONCE}
    name = add(**crashing)
    for _ in range(5):
        shared.fault("plugins.start", name)
        wait_for(lambda: shared.count_ready(name) > 3)
        shared.write_plugin(name)  # from now on it stays
        shared.rpc("plugins.restart", name)
        wait_for(lambda: len(shared.find(name)) == 1 and shared.states[name][1] in shared.find(name), "it to be alone")
        shared.stop_plugin(name)
        shared.write_plugin(name, **crashing)
