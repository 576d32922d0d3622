"""Plugins that depend on each other, whichever engine runs them."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from tests.helpers.event_client import open_events
from tests.helpers.plugin_code import CRASHING
from tests.helpers.plugin_processes import find_plugin
from tests.helpers.ports import find_free_port
from tests.helpers.stack import QUICK
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from tests.helpers.stack import PlugvisorStack

LISTENING = """\
import signal, socket, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
opened = []
signal.signal(signal.SIGUSR1, lambda *_: opened.append(socket.create_server(("0.0.0.0", {port}))))
print("ready", flush=True)
if not {held}:
    signal.raise_signal(signal.SIGUSR1)
while True:
    signal.pause()
"""
"""Listens from its start, or from the signal SIGUSR1 on."""


def write(
    stack: PlugvisorStack,
    name: str,
    *dependencies: str,
    runtime: str = QUICK,
    checked: bool = False,
    held: bool = False,
) -> None:
    """A plugin that depends on others, perhaps with a ready check, which `held` lets pass with SIGUSR1 only."""
    port = find_free_port()
    tables = [runtime, *(f"[plugin_runtime.depends_on.{dependency}]" for dependency in dependencies)]
    if checked:
        tables.append(f'[plugin_runtime.checks.port]\ntcp = "127.0.0.1:{port}"\nperiod = 0.2')
    code = LISTENING.replace("{port}", str(port)).replace("{held}", str(held))
    stack.write_plugin(name, code, runtime="\n".join(tables))


def test_a_chain_starts_one_after_another(plugvisor: PlugvisorStack) -> None:
    names = ["bottom", "middle", "top"]
    write(plugvisor, "bottom", checked=True)
    write(plugvisor, "middle", "bottom", checked=True)
    write(plugvisor, "top", "middle", checked=True)
    plugvisor.up()
    with open_events(plugvisor.port) as events:
        response = plugvisor.post("/plugin/top/start?wait=60")
        assert response.status_code == 200, response.text
        assert (response.json()["status"], response.json()["health"]) == ("running", "healthy")
        healthy = [events.wait("status", plugin_id=name, health="healthy").number for name in names]
        spawned = [next(event.number for event in events.of(name) if event.data.get("pid")) for name in names]
    assert [*healthy] == sorted(healthy)
    assert all(later > earlier for earlier, later in zip(healthy, spawned[1:], strict=False))
    response = plugvisor.post("/plugin/bottom/stop?dependents=true")
    assert response.json()["status"] == "stopped", response.text
    assert not [name for name in names if find_plugin(plugvisor, name)]


def test_a_start_that_waits_outlives_the_service(plugvisor: PlugvisorStack) -> None:
    write(plugvisor, "base", checked=True, held=True)
    write(plugvisor, "top", "base")
    plugvisor.up()
    response = plugvisor.post("/plugin/top/start")
    told = response.json()
    assert (response.status_code, told["status"]) == (202, "starting"), told
    assert (told["queued"], told["unmet"]) == (True, ["base"])
    plugvisor.restart_service()
    listed = plugvisor.status("top")
    assert (listed["status"], listed["queued"]) == ("starting", True)
    assert "it waits for 'base' to be ready" in listed["detail"]
    assert not find_plugin(plugvisor, "top")
    release(plugvisor, "base")
    plugvisor.wait_for_status("top", "running")
    assert "queued" not in plugvisor.status("top")


def release(stack: PlugvisorStack, name: str) -> None:
    """Have a plugin that is held pass its check."""
    wait_for(lambda: "ready" in stack.read_log(name), f"{name} to listen to signals")
    [pid] = find_plugin(stack, name)
    os.kill(pid, signal.SIGUSR1)


def test_a_stop_of_a_plugin_that_waits(plugvisor: PlugvisorStack) -> None:
    write(plugvisor, "base", checked=True, held=True)
    write(plugvisor, "top", "base")
    plugvisor.up()
    assert plugvisor.post("/plugin/top/start").status_code == 202
    response = plugvisor.post("/plugin/top/stop")
    assert (response.status_code, response.json()["status"]) == (200, "stopped"), response.text
    assert plugvisor.status("top").get("queued") is None
    release(plugvisor, "base")
    wait_for(lambda: plugvisor.status("base").get("health") == "healthy", "base to be healthy")
    assert not find_plugin(plugvisor, "top")


def test_boot_in_order(plugvisor: PlugvisorStack) -> None:
    """What depends on another is not started before that is ready, also when nobody asks for it."""
    write(plugvisor, "base", checked=True)
    write(plugvisor, "top", "base", runtime="supervisor.startsecs = 0", checked=True)
    write(plugvisor, "apart", runtime="supervisor.startsecs = 0")
    plugvisor.up()
    wait_for(lambda: plugvisor.status("top").get("health") == "healthy", "top to be healthy")
    plugvisor.wait_for_status("apart", "running")
    assert plugvisor.status("base")["health"] == "healthy"


def test_a_dependency_that_fails(plugvisor: PlugvisorStack) -> None:
    runtime = "auto_start = false\nsupervisor.startsecs = 5\nsupervisor.startretries = 0"
    plugvisor.write_plugin("failing", CRASHING, runtime=runtime)
    write(plugvisor, "hopeful", "failing")
    write(plugvisor, "off", runtime="enabled = false")
    write(plugvisor, "hopeless", "off")
    plugvisor.up()
    problem = plugvisor.post("/plugin/hopeless/start?wait=50")
    assert (problem.status_code, problem.json()["code"]) == (409, "dependency_failed")
    problem = plugvisor.post("/plugin/hopeful/start?wait=50")
    told = problem.json()
    assert (problem.status_code, told.get("code"), told.get("dependency")) == (409, "dependency_failed", "failing")
    status = plugvisor.status("hopeful")
    assert (status["status"], status["state"]) == ("error", "FATAL")
    assert status["detail"].startswith("it was not started: its dependency 'failing' failed: ")
    assert not find_plugin(plugvisor, "hopeful")
