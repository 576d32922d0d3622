"""Checks of plugins that run: what the API shows of them, and what holds when something is killed or frozen."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from typing import TYPE_CHECKING, Any

from tests.helpers.event_client import open_events
from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.ports import find_free_port
from tests.helpers.processes import is_alive
from tests.helpers.stack import ADMIN_CODE, QUICK
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.stack import PlugvisorStack

WEB = """\
import http.server, os, signal, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if os.path.exists("sick") else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
server = http.server.ThreadingHTTPServer(("127.0.0.1", {port}), Handler)
print("ready", flush=True)
server.serve_forever()
"""
"""Answers 200, or 503 while there is a file `sick` in its folder."""
PASSES_IF_WELL = '["python", "-I", "-S", "-c", "import os; raise SystemExit(os.path.exists(\'sick\'))"]'


def make_web(stack: PlugvisorStack, plugin_id: str, fields: str = "", runtime: str = QUICK) -> int:
    """A plugin with the http check `web`; returns its port, which also replaces `PORT` in the fields."""
    port = find_free_port()
    check = f'[plugin_runtime.checks.web]\nhttp = "http://127.0.0.1:{port}/ok"\nperiod = 0.1\n{fields}'
    stack.write_plugin(plugin_id, WEB.format(port=port), runtime=f"{runtime}\n{check}".replace("PORT", str(port)))
    if stack.process is not None:
        assert plugin_id in stack.post("/plugins/refresh").json()["added"]
    return port


def show(stack: PlugvisorStack, plugin_id: str) -> dict[str, Any]:
    answer: dict[str, Any] = stack.http.get(f"/plugin/{plugin_id}/health").json()
    return answer


def wait_for_health(stack: PlugvisorStack, plugin_id: str, *healths: str | None) -> None:
    wait_for(lambda: stack.status(plugin_id).get("health") in healths, f"{plugin_id} to be {healths}")


def read_metrics(stack: PlugvisorStack, name: str) -> dict[str, float]:
    """The samples of a metric, by their labels."""
    text = stack.http.get("/metrics", headers={"Authorization": f"Bearer {ADMIN_CODE}"}).text
    lines = [line for line in text.splitlines() if line.startswith(name + "{")]
    return {line.partition("{")[2].partition("}")[0]: float(line.rpartition(" ")[2]) for line in lines}


def test_health_is_shown_wherever_a_plugin_is(shared: PlugvisorStack) -> None:
    port = make_web(shared, "shown")
    shared.start_running("shown")
    wait_for_health(shared, "shown", "healthy")
    [item] = [item for item in shared.http.get("/plugins").json()["plugins"] if item["id"] == "shown"]
    assert item["health"] == shared.http.get("/plugin/status").json()["plugins"]["shown"]["health"] == "healthy"
    told = show(shared, "shown")
    [check] = told["checks"]
    assert told["health"] == "healthy"
    assert check.pop("at")
    assert check == {"name": "web", "level": "ready", "status": "up", "failures": 0}
    labels = 'health="healthy",plugin_id="shown"'
    assert read_metrics(shared, "plugvisor_plugin_health")[labels] == 1
    failures = read_metrics(shared, "plugvisor_plugin_check_failures_total")
    assert failures['check="web",plugin_id="shown"'] == 0, "an increase from nothing is none to Prometheus"
    (shared.plugins_dir / "shown" / "sick").touch()
    wait_for_health(shared, "shown", "unhealthy")
    [check] = show(shared, "shown")["checks"]
    assert (check["status"], check["last_error"], check["failures"] >= 3) == ("down", "answered 503", True)
    assert read_metrics(shared, "plugvisor_plugin_health")[labels] == 0
    failures = read_metrics(shared, "plugvisor_plugin_check_failures_total")
    assert failures['check="web",plugin_id="shown"'] >= 3
    assert str(port) not in json.dumps(show(shared, "shown")), "an answer has no address"
    shared.post("/plugin/shown/stop")
    assert "health" not in shared.status("shown")
    assert show(shared, "shown").keys() == {"alive", "status", "pid", "exitcode"}


def test_each_change_of_health_is_an_event(shared: PlugvisorStack) -> None:
    make_web(shared, "told", "threshold = 1")
    with open_events(shared.port, plugin_id="told") as client:
        client.wait("snapshot")
        shared.start_running("told")
        wait_for_health(shared, "told", "healthy")
        sick = shared.plugins_dir / "told" / "sick"
        for _ in range(3):
            sick.touch()
            wait_for_health(shared, "told", "unhealthy")
            sick.unlink()
            wait_for_health(shared, "told", "healthy")
        shared.post("/plugin/told/stop")
        client.wait("status", status="stopped", restarts=0)
        healths = [event.data.get("health") for event in client.of("told")]
    distinct = [health for health, before in zip(healths, ["", *healths], strict=False) if health != before]
    assert distinct == ["starting", "healthy", *["unhealthy", "healthy"] * 3, None]


def test_a_plugin_without_checks_has_no_health(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    shared.start_running(plugin_id)
    assert "health" not in shared.status(plugin_id)
    assert show(shared, plugin_id).keys() == {"alive", "status", "pid", "exitcode"}


def test_every_kind_of_check(shared: PlugvisorStack) -> None:
    unused = find_free_port()
    fields = f"""
[plugin_runtime.checks.accepts]
tcp = "127.0.0.1:PORT"
[plugin_runtime.checks.refuses]
tcp = "127.0.0.1:{unused}"
on_failure = "none"
startup = 0
period = 0.1
[plugin_runtime.checks.probe]
exec = {PASSES_IF_WELL}
[plugin_runtime.checks.fails]
exec = ["python", "-I", "-S", "-c", "print('hunter2'); raise SystemExit(5)"]
startup = 0
period = 0.1
"""
    make_web(shared, "kinds", fields)
    shared.start_running("kinds")
    wait_for(lambda: not [c for c in show(shared, "kinds")["checks"] if c["status"] == "starting"], "all verdicts")
    told = {check["name"]: (check["status"], check.get("last_error")) for check in show(shared, "kinds")["checks"]}
    assert told == {
        "web": ("up", None),
        "accepts": ("up", None),
        "refuses": ("down", "connection refused"),
        "probe": ("up", None),
        "fails": ("down", "exit code 5"),
    }
    status = shared.status("kinds")
    assert status["health"] == "unhealthy"
    assert re.fullmatch(r"check '\w+' failed: [^;]+", status["detail"])
    assert "hunter2" not in shared.service_log
    shared.post("/plugin/kinds/stop")


def test_a_restart_of_the_service_begins_anew(plugvisor: PlugvisorStack) -> None:
    """And a plugin that has run for longer than `startup` has no second one."""
    make_web(plugvisor, "web", "startup = 0")
    probe = '["sh", "-c", "echo x >> attempts; exec sleep 1000"]'
    hanging = f"[plugin_runtime.checks.hang]\nexec = {probe}\ntimeout = 1000\nlevel = 'alive'"
    plugvisor.write_plugin("hanging", runtime=f"{QUICK}\n{hanging}")
    plugvisor.up()
    pids = [plugvisor.start_running("web"), plugvisor.start_running("hanging")]
    wait_for_health(plugvisor, "web", "healthy")
    attempts = plugvisor.plugins_dir / "hanging" / "attempts"
    wait_for(lambda: attempts.exists() and attempts.read_text() == "x\n", "the attempt")
    (plugvisor.plugins_dir / "web" / "sick").touch()
    os.kill(plugvisor.service_pid, signal.SIGKILL)
    wait_for(lambda: attempts.read_text() == "x\nx\n", "the new service's attempt, instead of the old one's")
    wait_for_health(plugvisor, "web", "unhealthy")
    assert [plugvisor.status(name)["pid"] for name in ("web", "hanging")] == pids


def test_a_check_that_its_process_was_not_launched_with(plugvisor: PlugvisorStack) -> None:
    """After a restart of the service, a manifest that was changed without a reload ends nothing."""
    checks = "[plugin_runtime.checks.{}]\nexec = ['false']\nstartup = 0\nthreshold = 1\nperiod = 0.1\n"
    plugvisor.write_plugin("shown", runtime=f"{QUICK}\n{checks.format('told')}")
    plugvisor.write_plugin("edited", runtime=QUICK)
    plugvisor.up()
    pids = [plugvisor.start_running("shown"), plugvisor.start_running("edited")]
    plugvisor.write_plugin("edited", runtime=f"{QUICK}\n{checks.format('added')}level = 'alive'")
    # what is edited of this one does not concern its checks
    plugvisor.write_plugin("shown", runtime=f"{QUICK}\nsupervisor.priority = 7\n{checks.format('told')}")
    os.kill(plugvisor.service_pid, signal.SIGKILL)
    wait_for(lambda: "'edited' was started with other checks" in plugvisor.service_log, "the warning")
    wait_for(plugvisor.is_ready, "the service to be back")
    wait_for_health(plugvisor, "shown", "unhealthy")
    assert [plugvisor.status(name)["pid"] for name in ("shown", "edited")] == pids
    assert "health" not in plugvisor.status("edited")
    assert plugvisor.post("/plugin/edited/reload?wait=0").status_code == 202
    wait_for(lambda: "check 'added' failed" in plugvisor.status("edited").get("detail", ""), "the check")


def test_a_frozen_supervisord_decides_nothing(plugvisor: PlugvisorStack) -> None:
    make_web(plugvisor, "web", "threshold = 1")
    plugvisor.up()
    plugvisor.start_running("web")
    wait_for_health(plugvisor, "web", "healthy")
    os.kill(plugvisor.supervisord_pid, signal.SIGSTOP)
    try:
        wait_for(lambda: plugvisor.http.get("/plugins").status_code == 503, "the service to know")
        (plugvisor.plugins_dir / "web" / "sick").touch()
        wait_for(lambda: plugvisor.http.get("/available").status_code == 503)
    finally:
        os.kill(plugvisor.supervisord_pid, signal.SIGCONT)
    wait_for(lambda: plugvisor.http.get("/plugins").status_code == 200, "an answer")
    wait_for_health(plugvisor, "web", "unhealthy")
    [line] = wait_for(
        lambda: [line for line in plugvisor.service_log.splitlines() if "is down" in line], "the warning in the log"
    )
    assert "'web': check 'web' failed: answered 503; it is down" in line


def test_two_hundred_checks(plugvisor: PlugvisorStack) -> None:
    """Half of them wait for a host that never answers, which keeps nobody from being checked."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        full = listener.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        port = find_free_port()
        checks = [f'[plugin_runtime.checks.good{n}]\ntcp = "127.0.0.1:{port}"\nperiod = 1' for n in range(100)]
        checks += [
            f'[plugin_runtime.checks.dead{n}]\ntcp = "127.0.0.1:{full}"\ntimeout = 0.5\nperiod = 1\nstartup = 0'
            for n in range(100)
        ]
        plugvisor.write_plugin("many", WEB.format(port=port), runtime="\n".join([QUICK, *checks]))
        plugvisor.up()
        plugvisor.start_running("many")

        def count(status: str) -> int:
            return len([check for check in show(plugvisor, "many")["checks"] if check["status"] == status])

        wait_for(lambda: count("up") == 100, "those that answer")
        wait_for(lambda: count("down") == 100, "those that do not")
        assert plugvisor.http.get("/health").elapsed.total_seconds() < 5
        for client in waiting:
            client.close()


def test_an_exec_that_hangs_is_killed_and_leaves_nothing(shared: PlugvisorStack) -> None:
    code = "(sleep 1000 & echo $! >> pids; sleep 1000 & echo $! >> pids); echo $$ >> pids; exec sleep 1000"
    check = f"[plugin_runtime.checks.hang]\nexec = ['sh', '-c', '{code}']\ntimeout = 0.5\nstartup = 0\nthreshold = 1"
    shared.write_plugin("hang", OBEDIENT, runtime=f"{QUICK}\n{check}")
    shared.post("/plugins/refresh")
    shared.start_running("hang")
    wait_for_health(shared, "hang", "unhealthy")
    assert show(shared, "hang")["checks"][0]["last_error"] == "timed out after 0.5 s"
    pids = [int(line) for line in (shared.plugins_dir / "hang" / "pids").read_text().split()]
    wait_for(lambda: not [pid for pid in pids[:3] if is_alive(pid)], "its end")
    assert shared.status("hang")["status"] == "running"
    shared.post("/plugin/hang/stop")
    wait_for(lambda: not [pid for pid in pids if is_alive(pid)], "the end of all of it")


def test_the_list_is_another_only_if_health_changes(shared: PlugvisorStack) -> None:
    plugin_id = "unchanged"
    make_web(shared, plugin_id)
    shared.start_running(plugin_id)
    wait_for_health(shared, plugin_id, "healthy")
    before = [check["at"] for check in show(shared, plugin_id)["checks"]]
    etag = shared.http.get("/plugins").headers["ETag"]
    wait_for(lambda: [check["at"] for check in show(shared, plugin_id)["checks"]] != before, "another attempt")
    assert shared.http.get("/plugins").headers["ETag"] == etag
    (shared.plugins_dir / plugin_id / "sick").touch()
    wait_for_health(shared, plugin_id, "unhealthy")
    assert shared.http.get("/plugins").headers["ETag"] != etag
    shared.post(f"/plugin/{plugin_id}/stop")
