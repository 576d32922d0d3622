"""What becomes of a plugin whose process ends, whichever engine runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.helpers.plugin_code import CRASHING, OBEDIENT
from tests.helpers.plugin_processes import find_plugin, kill_plugin
from tests.helpers.stack import ADMIN_CODE, QUICK
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.stack import PlugvisorStack

NEVER = 'auto_start = false\nsupervisor.startsecs = 0\nsupervisor.autorestart = "false"'


def ends_with(code: int) -> str:
    """The code of a plugin that ends at once."""
    return f"print('ready', flush=True)\nraise SystemExit({code})\n"


@pytest.mark.parametrize(("code", "status"), [(0, "stopped"), (3, "error")])
def test_a_plugin_that_ends_by_itself(shared: PlugvisorStack, add: Callable[..., str], code: int, status: str) -> None:
    plugin_id = add(ends_with(code), runtime=NEVER)
    shared.change(plugin_id, "start")
    told = shared.wait_for_status(plugin_id, "stopped", "error")
    assert (told["status"], told["state"]) == (status, "EXITED")
    assert told["last_exit"]["code"] == code
    assert told["detail"]
    health = shared.http.get(f"/plugin/{plugin_id}/health").json()
    assert (health["alive"], health["exitcode"]) == (False, code)
    assert health["status"] == ("stopped" if code == 0 else "crashed")


def test_the_last_line_of_a_plugin_that_ends(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    """It is the exception's, of the last process, and for those who may read logs."""
    plugin_id = add("print('ready', flush=True)\nraise ValueError('no luck')\n", runtime=NEVER)

    def read_detail(code: str | None) -> str:
        detail: str = shared.get(f"/plugin/status?plugin_id={plugin_id}", code).json().get("detail", "")
        return detail

    shared.post(f"/plugin/{plugin_id}/start")
    wait_for(lambda: read_detail(ADMIN_CODE).endswith(": ValueError: no luck"), "the last line")
    assert read_detail(None).endswith("; its log may say why")
    shared.write_plugin(plugin_id, "raise KeyError('other')\n", runtime=NEVER)
    shared.post(f"/plugin/{plugin_id}/reload?wait=0")
    wait_for(lambda: read_detail(ADMIN_CODE).endswith(": KeyError: 'other'"), "the line of the last process")


def test_an_exit_code_that_the_manifest_expects(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(ends_with(7), runtime=f"{QUICK}\nsupervisor.exitcodes = [0, 7]")
    shared.post(f"/plugin/{plugin_id}/start")
    told = shared.wait_for_status(plugin_id, "stopped", "error")
    assert told["status"] == "stopped"
    assert told["last_exit"]["code"] == (0 if shared.engine == "swarm" else 7)


def test_a_signal_that_ends_a_plugin(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=NEVER)
    shared.start_running(plugin_id)
    kill_plugin(shared, plugin_id)
    told = shared.wait_for_status(plugin_id, "error")
    assert told["last_exit"]["signal"] == "SIGKILL"
    assert "SIGKILL" in told["detail"]


@pytest.mark.parametrize("autorestart", ["unexpected", "true"])
def test_a_plugin_that_crashes_is_restarted(shared: PlugvisorStack, add: Callable[..., str], autorestart: str) -> None:
    plugin_id = add(runtime=f'{QUICK}\nsupervisor.autorestart = "{autorestart}"\nrestart.delay = 0.1')
    shared.start_running(plugin_id)
    [before] = find_plugin(shared, plugin_id)
    kill_plugin(shared, plugin_id)
    wait_for(lambda: find_plugin(shared, plugin_id) not in ([], [before]), "the restart")
    wait_for(lambda: shared.status(plugin_id)["restarts"] == 1, "it to be counted")
    assert shared.wait_for_status(plugin_id, "running")["last_exit"]["signal"] == "SIGKILL"
    shared.change(plugin_id, "stop")


def test_always_restarted(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    """Also after an exit code of 0."""
    plugin_id = add(ends_with(0), runtime=f'{QUICK}\nsupervisor.autorestart = "true"\nrestart.delay = 0.1')
    shared.post(f"/plugin/{plugin_id}/start")
    wait_for(lambda: shared.status(plugin_id)["restarts"] >= 1, "a restart")
    shared.change(plugin_id, "stop")
    assert shared.status(plugin_id)["status"] == "stopped"


def test_a_plugin_that_keeps_crashing_is_given_up(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    runtime = "auto_start = false\nsupervisor.startsecs = 5\nsupervisor.startretries = 1\nrestart.delay = 0.1"
    plugin_id = add(CRASHING, runtime=runtime)
    failed = shared.post(f"/plugin/{plugin_id}/start?wait=50")
    assert (failed.status_code, failed.json()["code"]) == (500, "start_failed"), failed.text
    wait_for(lambda: shared.status(plugin_id)["state"] == "FATAL", "it to be given up")
    told = shared.status(plugin_id)
    assert told["status"] == "error"
    assert told["last_exit"]["code"] == 3
    assert shared.read_log(plugin_id).count("ready") == 2
    (shared.plugins_dir / plugin_id / "main.py").write_text(OBEDIENT)
    reloaded = shared.post(f"/plugin/{plugin_id}/reload?wait=0")
    assert reloaded.status_code == 202, reloaded.text
    wait_for(lambda: find_plugin(shared, plugin_id), "it to run")
    shared.change(plugin_id, "stop")
