"""Limits of plugins, whichever engine runs them."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.plugin_processes import find_plugin
from tests.helpers.stack import QUICK
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.stack import PlugvisorStack

LEAKING = """\
import os, signal, sys
def leak(*_):
    global kept
    kept = b"x" * 200 * 2**20
signal.signal(signal.SIGUSR1, leak)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("ready", flush=True)
while True:
    signal.pause()
"""


def test_a_plugin_above_its_memory_limit_is_restarted(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(LEAKING, runtime=f'{QUICK}\nlimits.memory = "64M"\nrestart.delay = 0.1')
    shared.start_running(plugin_id)
    assert shared.status(plugin_id)["limits"]["memory"] == 64 * 2**20
    [before] = find_plugin(shared, plugin_id)
    os.kill(before, signal.SIGUSR1)
    wait_for(lambda: find_plugin(shared, plugin_id) not in ([], [before]), "the restart")
    wait_for(lambda: shared.status(plugin_id)["restarts"] == 1, "it to be counted")
    told = shared.wait_for_status(plugin_id, "running")
    if shared.engine == "swarm":
        assert told["last_exit"]["signal"] == "SIGKILL"
    else:
        assert told["last_exit"]["reason"] == "memory limit"
    shared.change(plugin_id, "stop")


def test_open_files_are_limited(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    code = f"import resource\nprint(resource.getrlimit(resource.RLIMIT_NOFILE), flush=True)\n{OBEDIENT}"
    plugin_id = add(code, runtime=f"{QUICK}\nlimits.open_files = 77")
    shared.start_running(plugin_id)
    assert "(77, 77)\n" in shared.read_log(plugin_id)
    assert shared.status(plugin_id)["limits"]["open_files"] == 77
    shared.change(plugin_id, "stop")
