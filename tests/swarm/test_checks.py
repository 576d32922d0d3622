"""Checks of plugins that run on other nodes."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from tests.helpers.plugin_processes import find_plugin
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from tests.helpers.swarm.stack import SwarmStack

PORT = 18_200
"""Of the nodes; each test has ports of its own, for their plugins run side by side."""
SERVES = """\
import http.server, socket
if socket.gethostname() not in SILENT:
    http.server.HTTPServer(("0.0.0.0", PORT), http.server.SimpleHTTPRequestHandler).serve_forever()
while True:
    __import__("time").sleep(60)
"""
GOES_BAD = """\
import signal
signal.signal(signal.SIGUSR1, lambda *_: open("/tmp/bad", "w").close())
print("ready", flush=True)
while True:
    signal.pause()
"""
"""Fails its check from the signal SIGUSR1 on."""


def write(stack: SwarmStack, name: str, port: int, check: str, *, silent: str = "", runtime: str = "") -> None:
    """Write a plugin that serves a port, except on one node, with a check `probe`."""
    code = SERVES.replace("PORT", str(port)).replace("SILENT", repr([silent]))
    tables = f"[plugin_runtime.checks.probe]\nperiod = 0.2\n{check.replace('PORT', str(port))}"
    stack.write_plugin(name, code, runtime=f"auto_start = false\nsupervisor.startsecs = 0\n{runtime}\n{tables}")
    assert stack.post("/plugins/refresh").status_code == 200


def read_check(stack: SwarmStack, name: str) -> dict[str, Any]:
    """The check of a plugin, as the API reports it; empty while it has no process that is checked."""
    response = stack.get(f"/plugin/{name}/health")
    assert response.status_code == 200, response.text
    [check] = response.json().get("checks") or [{}]
    return check  # type: ignore[no-any-return]


def wait_for_check(stack: SwarmStack, name: str, status: str, error: str = "") -> None:
    """Wait until a check has that status, and that error."""

    def look() -> bool:
        check = read_check(stack, name)
        return check.get("status") == status and error in check.get("last_error", "")

    wait_for(look, f"the check of {name} to be {status}, {error!r}")


def test_a_check_of_localhost_is_made_on_the_plugins_node(swarm_shared: SwarmStack) -> None:
    write(swarm_shared, "served", PORT, 'http = "http://localhost:PORT/"')
    response = swarm_shared.post("/plugin/served/start?wait=50")
    assert response.status_code == 200, response.text
    assert swarm_shared.status("served")["health"] == "healthy"


def test_a_port_that_nobody_listens_on(swarm_shared: SwarmStack) -> None:
    write(swarm_shared, "silent", PORT + 1, 'tcp = "127.0.0.1:1"\nstartup = 0.5')
    swarm_shared.change("silent", "start")
    wait_for_check(swarm_shared, "silent", "down", "connection refused")
    assert swarm_shared.status("silent")["health"] == "unhealthy"


def test_every_replica_must_pass(swarm_shared: SwarmStack) -> None:
    everywhere = "replicas = 3\nplacement.max_per_node = 1"
    check = 'tcp = "localhost:PORT"\nstartup = 0.5'
    write(swarm_shared, "three", PORT + 2, check, silent="node2", runtime=everywhere)
    swarm_shared.change("three", "start")
    wait_for_check(swarm_shared, "three", "down", "connection refused, on node2")


def test_the_swarm_ends_a_task_whose_exec_check_fails(swarm_shared: SwarmStack) -> None:
    check = """\
[plugin_runtime.checks.probe]
exec = ["sh", "-c", "test ! -e /tmp/bad"]
level = "alive"
period = 1
threshold = 2
startup = 0
"""
    runtime = f"auto_start = false\nsupervisor.startsecs = 0\nrestart.delay = 0.5\n{check}"
    swarm_shared.write_plugin("spoilt", GOES_BAD, runtime=runtime)
    assert swarm_shared.post("/plugins/refresh").status_code == 200
    swarm_shared.change("spoilt", "start")
    wait_for_check(swarm_shared, "spoilt", "up")
    wait_for(lambda: "ready" in swarm_shared.read_log("spoilt"), "it to be ready for a signal")
    for process in find_plugin(swarm_shared, "spoilt"):
        os.kill(process, signal.SIGUSR1)
    status = wait_for(
        lambda: (found := swarm_shared.status("spoilt")).get("last_exit", {}).get("reason") and found, "its end"
    )
    assert status["last_exit"]["reason"] == "its check has failed"
    wait_for(lambda: swarm_shared.status("spoilt")["restarts"] >= 1, "its restart")


def test_without_a_network_a_check_says_so(swarm_stack: SwarmStack) -> None:
    swarm_stack.environ["PLUGVISOR_NETWORK"] = ""
    swarm_stack.up()
    write(swarm_stack, "alone", PORT + 3, 'http = "http://localhost:PORT/"\nstartup = 0\non_failure = "restart"')
    swarm_stack.change("alone", "start")
    wait_for_check(swarm_stack, "alone", "starting", "PLUGVISOR_NETWORK is not set")
    assert swarm_stack.status("alone")["status"] == "running"
