"""Restarts, as the API and an operator see them, and the end of everything with a critical plugin."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.helpers.processes import is_alive
from tests.helpers.stack import QUICK, run_stack
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.stack import PlugvisorStack

LATER = f"{QUICK}\nrestart.delay = 300\nrestart.max_delay = 3600"
ENDS = "print('ready', flush=True)\nraise SystemExit({})\n"


@pytest.fixture
def waiting(shared: PlugvisorStack, add: Callable[..., str]) -> str:
    """A plugin that was killed and waits for its restart."""
    plugin_id = add(runtime=LATER)
    os.kill(shared.start_running(plugin_id), signal.SIGKILL)
    shared.wait_for_state(plugin_id, "EXITED")
    return plugin_id


def test_it_says_when_it_is_started_again(shared: PlugvisorStack, waiting: str) -> None:
    status = shared.status(waiting)
    retry_at = datetime.fromisoformat(status["retry_at"])
    assert 250 < (retry_at - datetime.now(UTC)).total_seconds() <= 300
    assert (status["status"], status["last_exit"]["signal"]) == ("error", "SIGKILL")
    when = f"{retry_at.astimezone():%H:%M:%S}"
    assert status["detail"] == f"it ended unexpectedly, killed by SIGKILL; it is started again at {when}"
    [item] = [item for item in shared.http.get("/plugins").json()["plugins"] if item["id"] == waiting]
    assert item["retry_at"] == status["retry_at"]


def test_an_expected_end(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(ENDS.format(0), runtime=f"{LATER}\nsupervisor.autorestart = true")
    shared.post(f"/plugin/{plugin_id}/start")
    status = shared.wait_for_state(plugin_id, "EXITED")
    assert status["status"] == "stopped"
    assert status["detail"].startswith("it exited by itself, with exit code 0; it is started again at ")


def test_a_stop_cancels_it(shared: PlugvisorStack, waiting: str) -> None:
    assert shared.post(f"/plugin/{waiting}/stop").json()["status"] == "stopped"
    status = shared.status(waiting)
    assert (status["state"], "retry_at" in status) == ("STOPPED", False)
    assert shared.post(f"/plugin/{waiting}/stop").json()["code"] == "not_running"


def test_a_stop_by_the_operator_cancels_it(shared: PlugvisorStack, waiting: str) -> None:
    assert shared.ctl("stop", waiting) == f"{waiting}: stopped\n"
    assert shared.wait_for_state(waiting, "STOPPED")["status"] == "stopped"


@pytest.mark.parametrize("verb", ["start", "reload"])
def test_a_start_is_made_at_once(shared: PlugvisorStack, waiting: str, verb: str) -> None:
    response = shared.post(f"/plugin/{waiting}/{verb}?wait=50")
    assert response.status_code == 200, response.text
    assert is_alive(response.json()["pid"])
    assert shared.status(waiting)["restarts"] == 0


def test_too_many_restarts(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(ENDS.format(3), runtime=f"{QUICK}\nrestart.delay = 0\nrestart.max_restarts = 2")
    shared.post(f"/plugin/{plugin_id}/start")
    status = shared.wait_for_state(plugin_id, "FATAL")
    assert status["detail"] == (
        "it keeps dying and supervisord has given up: it was restarted 2 times within 600 seconds, "
        "last with exit code 3; its log may say why"
    )


def test_a_critical_plugin_that_fails_ends_everything() -> None:
    with run_stack() as plugvisor:
        plugvisor.write_plugin("other", runtime="supervisor.startsecs = 0")
        runtime = "auto_start = false\ncritical = true\nsupervisor.startretries = 0"
        plugvisor.write_plugin("vital", ENDS.format(3), runtime=runtime)
        plugvisor.up()
        pid = plugvisor.wait_for_status("other", "running")["pid"]
        plugvisor.post("/plugin/vital/start")
        assert plugvisor.process is not None
        assert plugvisor.process.wait(DEADLINE_SECONDS) == 1
        wait_for(lambda: not is_alive(pid))
        assert "'vital' is critical and has failed (Exited too quickly" in plugvisor.read_log("_supervisord")
        plugvisor.process = None
