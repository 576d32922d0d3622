"""Plugins that depend on each other, in a real supervisord."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from tests.helpers.event_client import open_events
from tests.helpers.ports import find_free_port
from tests.helpers.stack import ADMIN_CODE, QUICK
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from tests.helpers.stack import PlugvisorStack

RECORDING = """\
import os, signal, socket, sys, time
name = os.path.basename(os.getcwd())
def record(what):
    with open("../../record", "a") as file:
        file.write(what + " " + name + "\\n")
def stop(*_):
    while os.path.exists("linger"):
        time.sleep(0.01)
    record("stop")
    os._exit(0)
signal.signal(signal.SIGTERM, stop)
record("start")
while os.path.exists("wait"):
    time.sleep(0.01)
if {port}:
    server = socket.create_server(("127.0.0.1", {port}))
print("ready", flush=True)
while True:
    signal.pause()
"""
"""Records when it starts and stops. It is ready when there is no file `wait`, and stops when there is no `linger`."""
ONE_SHOT = 'open("../../record", "a").write("done once\\n")\n'
CHAIN = [f"link{number}" for number in range(10)]


def write(stack: PlugvisorStack, name: str, *dependencies: str, runtime: str = QUICK, checked: bool = False) -> None:
    """A plugin that depends on others; `checked` gives it a ready check."""
    port = find_free_port() if checked else 0
    tables = [runtime, *(f"[plugin_runtime.depends_on.{dependency}]" for dependency in dependencies)]
    if checked:
        tables.append(f'[plugin_runtime.checks.port]\ntcp = "127.0.0.1:{port}"\nperiod = 0.2')
    stack.write_plugin(name, RECORDING.replace("{port}", str(port)), runtime="\n".join(tables))


def write_chain(stack: PlugvisorStack, **options: Any) -> None:
    """Ten plugins with ready checks, each of which depends on the one before."""
    for number, name in enumerate(CHAIN):
        write(stack, name, *CHAIN[max(0, number - 1) : number], checked=True, **options)


def list_operations(stack: PlugvisorStack, request_id: str) -> dict[str, tuple[str, str, str]]:
    """What the journal says of a request, by plugin: the verb, the outcome and the identity."""
    entries = stack.http.get("/journal?kind=operation", headers={"Authorization": f"Bearer {ADMIN_CODE}"}).json()
    return {
        entry["plugin_id"]: (entry["verb"], entry["outcome"], entry["identity"])
        for entry in entries["entries"]
        if entry["request_id"] == request_id
    }


def read_record(stack: PlugvisorStack, what: str) -> list[str]:
    """The plugins that have started or stopped, in order."""
    path = stack.root / "record"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.split()[1] for line in lines if line.split()[0] == what]


def test_a_plugin_that_waits_says_which_check_of_its_dependency_fails(plugvisor: PlugvisorStack) -> None:
    check = 'tcp = "127.0.0.1:{port}"\nperiod = 0.2\nstartup = 0\nthreshold = 1'
    write(plugvisor, "base", runtime=f"{QUICK}\n[plugin_runtime.checks.port]\n{check.format(port=find_free_port())}")
    write(plugvisor, "top", "base")
    plugvisor.up()
    assert plugvisor.post("/plugin/top/start").status_code == 202
    detail = "it waits for 'base' to be ready (check 'port' failed: connection refused)"
    wait_for(lambda: plugvisor.status("top").get("detail") == detail, detail)
    assert plugvisor.status("base")["health"] == "unhealthy"
    assert plugvisor.post("/plugin/top/stop").status_code == 200


def test_the_rest_of_a_chain_follows_a_service_that_was_killed(plugvisor: PlugvisorStack) -> None:
    write_chain(plugvisor)
    held = plugvisor.plugins_dir / CHAIN[4] / "wait"
    held.touch()
    plugvisor.up()
    assert plugvisor.post(f"/plugin/{CHAIN[-1]}/start").status_code == 202
    wait_for(lambda: CHAIN[4] in read_record(plugvisor, "start"), "half of the chain to start")
    before = plugvisor.service_pid
    os.kill(before, signal.SIGKILL)
    held.unlink()
    wait_for(lambda: plugvisor.service_pid not in (0, before), "another service")  # the connection was the killed one's
    wait_for(plugvisor.is_ready, "it to answer")
    wait_for(lambda: plugvisor.status(CHAIN[-1]).get("health") == "healthy", "the last of the chain to be healthy")
    assert read_record(plugvisor, "start") == CHAIN, "in order, and none twice"


def test_boot_of_a_diamond(plugvisor: PlugvisorStack) -> None:
    write(plugvisor, "bottom", runtime=QUICK, checked=True)  # nobody starts it but its dependents
    for name in ("left", "right"):
        write(plugvisor, name, "bottom", runtime="supervisor.startsecs = 0", checked=True)
    write(plugvisor, "top", "left", "right", runtime="supervisor.startsecs = 0", checked=True)
    write(plugvisor, "apart", runtime="supervisor.startsecs = 0")
    plugvisor.up()
    wait_for(lambda: plugvisor.status("top").get("health") == "healthy", "top to be healthy")
    order = [name for name in read_record(plugvisor, "start") if name != "apart"]
    assert (order[0], sorted(order[1:3]), order[3:]) == ("bottom", ["left", "right"], ["top"])
    plugvisor.wait_for_status("apart", "running")


def test_stops(plugvisor: PlugvisorStack) -> None:
    write(plugvisor, "base", checked=True)
    for name, dependency in (("middle", "base"), ("top", "middle"), ("other", "base")):
        write(plugvisor, name, dependency, checked=True)
    plugvisor.up()
    results = plugvisor.post("/plugins/start?wait=50").json()
    assert results["ok"], results
    order = read_record(plugvisor, "start")
    assert order[0] == "base"
    assert order.index("middle") < order.index("top")

    with open_events(plugvisor.port) as listener:
        listener.wait("snapshot")
        assert plugvisor.post("/plugin/base/stop").json()["status"] == "stopped"
        event = listener.wait("status", plugin_id="middle", unmet=["base"])
        assert event.data["status"] == "running"
        assert event.data["detail"] == "its dependency 'base' is not running"
        plugvisor.post("/plugin/base/start?wait=50")
        wait_for(lambda: "unmet" not in plugvisor.status("middle"))

    stopped = len(read_record(plugvisor, "stop"))
    linger = plugvisor.plugins_dir / "top" / "linger"
    linger.touch()
    response = plugvisor.post("/plugin/base/stop?dependents=true&wait=0.2")
    assert (response.status_code, response.json()["message"]) == (202, "Plugin is stopping")
    wait_for(lambda: "other" in read_record(plugvisor, "stop"), "the other chain to stop")
    assert plugvisor.status("middle")["status"] == "running", "it waits for its own dependent"
    noted = wait_for(lambda: list_operations(plugvisor, response.headers["X-Request-Id"]), "the journal")
    assert noted == dict.fromkeys(("base", "middle", "other", "top"), ("stop", "ok", "admin"))
    linger.unlink()
    response = plugvisor.post("/plugin/base/stop?dependents=true")
    assert response.json()["status"] == "stopped"
    order = read_record(plugvisor, "stop")[stopped:]
    assert order.index("top") < order.index("middle") < order.index("base")
    assert order[-1] == "base"

    assert plugvisor.post("/plugins/start?wait=50").json()["ok"]
    stopped = len(read_record(plugvisor, "stop"))
    results = plugvisor.post("/plugins/stop").json()
    assert results["ok"], results
    order = read_record(plugvisor, "stop")[stopped:]
    assert order.index("top") < order.index("middle") < order.index("base") == 3


def test_a_reload_whose_dependency_is_stopped(plugvisor: PlugvisorStack) -> None:
    write(plugvisor, "base", checked=True)
    write(plugvisor, "top", "base", checked=True)
    plugvisor.up()
    assert plugvisor.post("/plugin/top/start?wait=50").status_code == 200
    plugvisor.post("/plugin/base/stop")
    response = plugvisor.post("/plugin/top/reload?wait=50")
    assert (response.status_code, response.json()["status"]) == (200, "running"), response.text
    assert read_record(plugvisor, "start") == ["base", "top", "base", "top"]


def test_a_plugin_that_runs_once(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("once", ONE_SHOT, runtime=QUICK)
    runtime = f'{QUICK}\n[plugin_runtime.depends_on.once]\ncondition = "completed"'
    plugvisor.write_plugin("top", RECORDING.replace("{port}", "0"), runtime=runtime)
    plugvisor.up()
    response = plugvisor.post("/plugin/top/start?wait=50")
    assert (response.status_code, response.json()["status"]) == (200, "running"), response.text
    wait_for(lambda: read_record(plugvisor, "start") == ["top"])
    assert (plugvisor.root / "record").read_text().splitlines() == ["done once", "start top"]
    assert "unmet" not in plugvisor.status("top")


def test_dependencies_that_cannot_be_had(plugvisor: PlugvisorStack) -> None:
    write(plugvisor, "off", runtime="enabled = false")
    write(plugvisor, "middle", "off")
    write(plugvisor, "top", "middle")
    runtime = "auto_start = false\nsupervisor.startsecs = 60\nsupervisor.startretries = 0"
    plugvisor.write_plugin("failing", "raise SystemExit(3)", runtime=runtime)
    write(plugvisor, "hopeful", "failing")
    plugvisor.up()
    response = plugvisor.post("/plugin/top/start?wait=50")
    told = response.json()
    assert (response.status_code, told["code"]) == (409, "dependency_failed")
    assert (told["plugin_id"], told["dependency"]) == ("top", "off")
    assert told["detail"] == "cannot start 'top': its dependency 'middle' depends on 'off', which is disabled"
    assert {plugvisor.status(name)["state"] for name in ("top", "middle")} == {"STOPPED"}

    response = plugvisor.post("/plugin/hopeful/start?wait=50")
    told = response.json()
    assert (response.status_code, told["code"], told["dependency"]) == (409, "dependency_failed", "failing")
    status = plugvisor.status("hopeful")
    assert (status["status"], status["state"]) == ("error", "FATAL")
    assert status["detail"].startswith("it was not started: its dependency 'failing' failed: ")
    assert read_record(plugvisor, "start") == []


def test_a_start_and_a_reload_wait_for_the_ready_checks(plugvisor: PlugvisorStack) -> None:
    port = find_free_port()
    checks = f'{QUICK}\n[plugin_runtime.checks.port]\ntcp = "127.0.0.1:{port}"\nperiod = 0.1\nthreshold = 2\n'
    code = RECORDING.replace("{port}", str(port))
    plugvisor.write_plugin("web", code, runtime=f"{checks}startup = 0")
    plugvisor.write_plugin("slow", RECORDING.replace("{port}", "0"), runtime=f"{checks}startup = 600")
    plugvisor.up()
    held = plugvisor.plugins_dir / "web" / "wait"
    held.touch()
    for verb in ("start", "reload"):
        response = plugvisor.post(f"/plugin/web/{verb}?wait=50")
        told = response.json()
        assert (response.status_code, told["code"]) == (500, "start_failed")
        assert told["detail"] == f"cannot {verb} 'web': it is unhealthy: check 'port' failed: connection refused"
    response = plugvisor.post("/plugin/slow/start?wait=0.2")
    assert (response.status_code, response.json()["health"]) == (200, "starting")
    response = plugvisor.post("/plugin/slow/reload?wait=0.2")
    assert (response.status_code, response.json()["message"]) == (202, "Plugin is reloading")
    plugvisor.post("/plugin/slow/stop")
    held.unlink()
    # it has as long as it needs now
    plugvisor.write_plugin("web", code, runtime=f"{checks}startup = 600")
    response = plugvisor.post("/plugin/web/reload")
    assert (response.status_code, response.json()["health"]) == (200, "healthy"), response.text


def test_one_that_is_added_while_its_launch_file_is_gone_waits(plugvisor: PlugvisorStack) -> None:
    write(plugvisor, "base", checked=True)
    write(plugvisor, "top", "base", runtime="supervisor.startsecs = 0")
    (plugvisor.plugins_dir / "base" / "wait").touch()
    plugvisor.up()
    assert "removed" in plugvisor.ctl("remove", "top")
    (plugvisor.run_dir / "launch" / "top.sh").unlink()
    plugvisor.ctl("add", "top")
    wait_for((plugvisor.run_dir / "launch" / "top.sh").exists, "its launch file to be written again")
    detail = "it waits for 'base' to be ready"
    wait_for(lambda: plugvisor.status("top").get("detail") == detail, detail)
    (plugvisor.plugins_dir / "base" / "wait").unlink()
    wait_for(lambda: "top" in read_record(plugvisor, "start"), "its start")
    assert read_record(plugvisor, "start") == ["base", "top"]


def test_supervisord_repeats_what_supervisorctl_has_started_without_waiting(plugvisor: PlugvisorStack) -> None:
    write(plugvisor, "base", checked=True)
    write(plugvisor, "top", "base", runtime=f"{QUICK}\nsupervisor.startretries = 99")
    plugvisor.up()
    obstacle = plugvisor.log_dir / "top.log"
    obstacle.mkdir()
    plugvisor.ctl("start", "top")
    wait_for(lambda: "cannot open its log" in plugvisor.status("top").get("detail", ""), "the failed start")
    obstacle.rmdir()
    assert plugvisor.wait_for_status("top", "running")["unmet"] == ["base"]
    wait_for(lambda: read_record(plugvisor, "start") == ["top"], "its start")
