"""Checks of plugins, whichever engine runs them: made where the plugin is."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from tests.helpers.event_client import open_events
from tests.helpers.plugin_processes import find_plugin
from tests.helpers.ports import find_free_port
from tests.helpers.stack import QUICK
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.stack import PlugvisorStack

WEB = """\
import http.server, os, signal, threading
healthy = True
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if healthy else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass
def sicken(*_):
    global healthy
    healthy = False
signal.signal(signal.SIGUSR1, sicken)
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
server = http.server.ThreadingHTTPServer(("0.0.0.0", {port}), Handler)
print("ready", flush=True)
server.serve_forever()
"""
"""Answers 200, and 503 from the signal SIGUSR1 on."""
SICK = """\
import os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
signal.signal(signal.SIGUSR1, lambda *_: open("/tmp/sick-{port}", "w").close())
print("ready", flush=True)
while True:
    signal.pause()
"""


def sicken(stack: PlugvisorStack, plugin_id: str) -> None:
    """Have a plugin fail its checks."""
    for pid in find_plugin(stack, plugin_id):
        os.kill(pid, signal.SIGUSR1)


def write_check(kind: str, port: int, fields: str = "") -> str:
    """A check `web` of a plugin, as TOML."""
    address = f'http = "http://localhost:{port}/ok"' if kind == "http" else f'tcp = "127.0.0.1:{port}"'
    return f"[plugin_runtime.checks.web]\n{address}\nperiod = 0.2\nthreshold = 2\n{fields}"


def test_an_http_check_passes_and_fails(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    port = find_free_port()
    plugin_id = add(WEB.format(port=port), runtime=f"{QUICK}\n{write_check('http', port)}")
    with open_events(shared.port) as events:
        started = shared.post(f"/plugin/{plugin_id}/start?wait=50")
        assert (started.status_code, started.json()["health"]) == (200, "healthy"), started.text
        sicken(shared, plugin_id)
        events.wait("status", plugin_id=plugin_id, health="unhealthy")
    [check] = shared.http.get(f"/plugin/{plugin_id}/health").json()["checks"]
    assert (check["name"], check["status"], check["last_error"]) == ("web", "down", "answered 503")
    assert shared.status(plugin_id)["status"] == "running"
    shared.change(plugin_id, "stop")


def test_a_tcp_check_of_a_port_that_nobody_has(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    port = find_free_port()
    plugin_id = add(runtime=f"{QUICK}\n{write_check('tcp', port, 'startup = 0.2')}")
    failed = shared.post(f"/plugin/{plugin_id}/start?wait=50")
    assert (failed.status_code, failed.json()["code"]) == (500, "start_failed"), failed.text
    assert "check 'web' failed: connection refused" in failed.json()["detail"]
    shared.change(plugin_id, "stop")


def test_a_check_that_restarts_its_plugin(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    port = find_free_port()
    check = write_check("http", port, 'on_failure = "restart"')
    plugin_id = add(WEB.format(port=port), runtime=f"{QUICK}\n{check}")
    assert shared.post(f"/plugin/{plugin_id}/start?wait=50").json()["health"] == "healthy"
    [before] = find_plugin(shared, plugin_id)
    sicken(shared, plugin_id)
    wait_for(lambda: find_plugin(shared, plugin_id) not in ([], [before]), "the restart")
    wait_for(lambda: shared.status(plugin_id).get("health") == "healthy", "it to be healthy again")
    assert "check 'web'" in shared.status(plugin_id)["last_exit"]["reason"]
    shared.change(plugin_id, "stop")


def test_a_command_that_checks_whether_a_plugin_is_alive(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    """It runs where the plugin does, and sees its files."""
    port = find_free_port()  # a number of this test's own
    command = f"import os; raise SystemExit(os.path.exists('/tmp/sick-{port}'))"
    check = f'exec = ["python", "-I", "-c", "{command}"]\nlevel = "alive"\nperiod = 1\nthreshold = 2\ntimeout = 10'
    runtime = f"{QUICK}\n[plugin_runtime.checks.command]\n{check}"
    plugin_id = add(SICK.replace("{port}", str(port)), runtime=runtime)
    shared.change(plugin_id, "start")
    shared.wait_for_status(plugin_id, "running")
    wait_for(lambda: shared.status(plugin_id).get("health") == "healthy", "it to be healthy")
    [before] = find_plugin(shared, plugin_id)
    sicken(shared, plugin_id)
    wait_for(lambda: find_plugin(shared, plugin_id) != [before], "it to be ended")
    wait_for(lambda: shared.status(plugin_id).get("last_exit"), "its end to be seen")
    shared.change(plugin_id, "stop")
