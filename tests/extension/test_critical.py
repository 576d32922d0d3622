"""Critical programs: if one becomes FATAL, supervisord ends with status 1."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.processes import is_alive
from tests.helpers.supervisord import AT_ONCE, BACKOFF, EXITED, FATAL, RUNNING
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from tests.helpers.supervisord import Supervisord

FAILS = "raise SystemExit(3)\n"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"startsecs": 5, "startretries": 0}, "Exited too quickly"),
        ({"startsecs": 5, "startretries": 99, "restart": AT_ONCE | {"max_restarts": 1}}, "it was restarted 1 times"),
        ({"autorestart": "true", "restart": AT_ONCE | {"max_restarts": 2}}, "it was restarted 2 times"),
        ({"directory": "/nowhere", "startretries": 0}, "cannot enter its folder"),
    ],
)
def test_everything_ends_with_it(own: Supervisord, options: dict[str, Any], why: str) -> None:
    own.write_plugin("other", autostart="true")
    own.start()
    wait_for(lambda: own.count_ready("other"))
    pid = own.states["other"][1]
    own.add("vital", FAILS, critical=True, **options)
    own.fault("plugins.start", "vital")
    assert own.process is not None
    assert own.process.wait(DEADLINE_SECONDS) == 1
    assert not is_alive(pid)
    [line] = [line for line in own.log.splitlines() if "is critical" in line]
    assert "CRIT" in line
    assert why in line
    assert not (own.root / "rpc.sock").exists()
    assert not (own.root / "supervisord.pid").exists()


def test_at_the_start(own: Supervisord) -> None:
    own.write_plugin("vital", FAILS, critical=True, autostart="true", startsecs=5, startretries=0)
    with contextlib.suppress(AssertionError):  # it may have ended already
        own.start()
    assert own.process is not None
    assert own.process.wait(DEADLINE_SECONDS) == 1


def test_any_other_end_is_no_failure(own: Supervisord) -> None:
    own.start()
    own.add("vital", critical=True, restart={"delay": 300, "max_delay": 300}, autorestart="true")
    os.kill(own.start_ready("vital"), signal.SIGKILL)
    wait_for(lambda: own.states["vital"][0] == EXITED)
    own.stop_plugin("vital")
    own.start_ready("vital")
    own.stop_plugin("vital")
    own.add("other", FAILS, startsecs=5, startretries=0)
    own.rpc("plugins.start", "other")
    wait_for(lambda: own.states["other"][0] == FATAL)
    assert own.answers()
    own.start_ready("vital")
    assert own.states["vital"][0] == RUNNING
    assert own.stop() == 0


def test_what_supervisord_gives_up_at_its_end_is_no_failure(own: Supervisord) -> None:
    own.start()
    own.add("vital", FAILS, critical=True, startsecs=5, restart={"delay": 300, "max_delay": 300})
    own.rpc("plugins.start", "vital")
    wait_for(lambda: own.states["vital"][0] == BACKOFF)
    assert own.stop() == 0
    assert "is critical" not in own.log
