"""What a check that goes down does to its plugin: nothing, a restart or a stop."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.helpers.plugin_code import IGNORES_SIGTERM, OBEDIENT
from tests.helpers.stack import QUICK
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from tests.helpers.stack import PlugvisorStack

WELL = '["python", "-I", "-S", "-c", "import os; raise SystemExit(os.path.exists(\'sick\') * 9)"]'
REASON = "check 'probe' failed: exit code 9"


def make(
    stack: PlugvisorStack, plugin_id: str, fields: str, *, code: str = OBEDIENT, runtime: str = QUICK, restart: str = ""
) -> None:
    """A plugin with a check that fails while there is a file `sick` in the plugin's folder."""
    check = f"[plugin_runtime.checks.probe]\nexec = {WELL}\nperiod = 0.1\nthreshold = 2\n{fields}"
    folder = stack.write_plugin(plugin_id, code, runtime=f"{runtime}\n{check}\n{restart}")
    # it is well again when it has been restarted
    main = folder / "main.py"
    main.write_text(f"import os\nif os.path.exists('sick'): os.unlink('sick')\n{main.read_text()}")
    assert plugin_id in stack.post("/plugins/refresh").json()["added"]


def wait_for_health(stack: PlugvisorStack, plugin_id: str, health: str) -> None:
    wait_for(lambda: stack.status(plugin_id).get("health") == health, f"{plugin_id} to be {health}")


@pytest.mark.parametrize("code", [OBEDIENT, IGNORES_SIGTERM], ids=["obedient", "deaf"])
def test_restart(shared: PlugvisorStack, code: str) -> None:
    """Whatever `autorestart` says."""
    plugin_id = f"restart-{len(code)}"
    options = f"{QUICK}\nsupervisor.autorestart = false\nsupervisor.stopwaitsecs = 1"
    make(shared, plugin_id, 'level = "alive"', code=code, runtime=options)
    pid = shared.start_running(plugin_id)
    wait_for_health(shared, plugin_id, "healthy")
    for restarts in (1, 2):
        (shared.plugins_dir / plugin_id / "sick").touch()
        wait_for(lambda: shared.status(plugin_id)["restarts"] == restarts, "the restart")  # noqa: B023
        wait_for_health(shared, plugin_id, "healthy")
        status = shared.status(plugin_id)
        assert status["last_exit"]["reason"] == REASON
        assert status["pid"] != pid
        pid = status["pid"]
    words = f"{plugin_id!r}: {REASON}; it is down"
    wait_for(lambda: shared.service_log.count(words) >= 2, "both in the log")
    assert shared.service_log.count(words) == 2


def test_stop(shared: PlugvisorStack) -> None:
    make(shared, "stop", 'on_failure = "stop"', runtime=f"{QUICK}\nsupervisor.autorestart = true")
    shared.start_running("stop")
    wait_for_health(shared, "stop", "healthy")
    (shared.plugins_dir / "stop" / "sick").touch()
    status = shared.wait_for_state("stop", "EXITED")
    assert status["status"] == "error"
    assert status["last_exit"]["reason"] == REASON
    assert REASON in status["detail"]
    assert "health" not in status
    assert "retry_at" not in status
    shared.start_running("stop")
    wait_for_health(shared, "stop", "healthy")
    assert shared.status("stop")["restarts"] == 0


def test_nothing(shared: PlugvisorStack) -> None:
    make(shared, "none", "")
    pid = shared.start_running("none")
    wait_for_health(shared, "none", "healthy")
    (shared.plugins_dir / "none" / "sick").touch()
    wait_for_health(shared, "none", "unhealthy")
    (shared.plugins_dir / "none" / "sick").unlink()
    wait_for_health(shared, "none", "healthy")
    assert shared.status("none")["pid"] == pid
    assert shared.status("none")["restarts"] == 0


def test_a_restart_counts_against_the_restart_policy(shared: PlugvisorStack) -> None:
    # it is sick from the beginning
    limit = "startup = 0\n[plugin_runtime.restart]\nmax_restarts = 2\ndelay = 0.05"
    make(shared, "limited", 'level = "alive"', restart=limit)
    folder = shared.plugins_dir / "limited"
    (folder / "main.py").write_text(OBEDIENT)  # it stays sick
    (folder / "sick").touch()
    shared.start_running("limited")
    status = shared.wait_for_state("limited", "FATAL")
    assert status["restarts"] == 2
    assert status["last_exit"]["reason"] == REASON


def test_a_stop_meanwhile_wins(shared: PlugvisorStack) -> None:
    options = f"{QUICK}\nsupervisor.stopwaitsecs = 600"
    make(shared, "asked", 'level = "alive"', code=IGNORES_SIGTERM, runtime=options)
    pid = shared.start_running("asked")
    wait_for_health(shared, "asked", "healthy")
    (shared.plugins_dir / "asked" / "sick").touch()
    shared.wait_for_status("asked", "stopping")
    assert shared.post("/plugin/asked/stop?wait=0").status_code == 202
    os.kill(pid, signal.SIGKILL)
    shared.wait_for_status("asked", "stopped")
    status = shared.status("asked")
    assert (status["state"], status["restarts"]) == ("STOPPED", 0)
