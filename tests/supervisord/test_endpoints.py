"""The five endpoints over a real supervisord: bodies, messages and statuses as the contract has them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.conftest import is_alive

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Plugvisor


def test_start_status_stop(shared: Plugvisor, add: Callable[..., str]) -> None:
    plugin_id = add()
    assert shared.status(plugin_id)["status"] == "stopped"

    started = shared.post(f"/plugin/{plugin_id}/start")
    assert started.status_code == 200
    pid = started.json()["pid"]
    assert started.json() == {
        "plugin_id": plugin_id,
        "status": "starting",
        "state": "STARTING",
        "message": "Plugin started successfully",
        "pid": pid,
    }
    told = shared.wait_for_status(plugin_id, "running")
    assert told["pid"] == pid
    assert told["uptime"] >= 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d", told["time"])
    assert is_alive(pid)

    stopped = shared.post(f"/plugin/{plugin_id}/stop")
    assert stopped.status_code == 200
    assert stopped.json() == {
        "plugin_id": plugin_id,
        "status": "stopped",
        "state": "STOPPED",
        "message": "Plugin stopped successfully",
    }
    assert not is_alive(pid)
    told = shared.status(plugin_id)
    assert told.keys() == {"plugin_id", "status", "state", "time"}
