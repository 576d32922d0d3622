"""The service in a container: endpoints, health, supervisorctl, time zone and encoding, users and ports."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from tests.container.engine import SAMPLES, write_plugin
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.container.engine import Container

LISTENING_PORTS = """
rows = [line.split() for name in ("tcp", "tcp6", "udp", "udp6") for line in open(f"/proc/1/net/{name}").readlines()[1:]]
print(sorted({int(row[1].rpartition(":")[2], 16) for row in rows if row[3] in ("0A", "07")}))
"""
WHO_RUNS_WHAT = """
import os, pathlib
for folder in pathlib.Path("/proc").glob("[0-9]*"):
    if int(folder.name) != os.getpid():
        try:
            print(os.stat(folder).st_uid, (folder / "cmdline").read_text().replace("\\0", " "))
        except OSError:  # it has ended, as a health check does
            pass
"""


def test_the_five_endpoints(samples: Container) -> None:
    assert {plugin["id"] for plugin in samples.get("/plugins").json()["plugins"]} == SAMPLES
    samples.wait_for_status("heartbeat", "running")
    assert samples.post("/plugin/heartbeat/stop", code=None).status_code == 401
    assert samples.post("/plugin/heartbeat/stop").json()["status"] == "stopped"
    assert samples.status("heartbeat")["status"] == "stopped"
    assert samples.post("/plugin/heartbeat/start").json()["message"] == "Plugin started successfully"
    reloaded = samples.post("/plugin/heartbeat/reload").json()
    assert (reloaded["status"], reloaded["pid"]) == ("running", samples.status("heartbeat")["pid"])
    assert samples.post("/plugins/refresh").json() == {"added": [], "changed": [], "removed": [], "invalid": []}
    # on a busy machine it may live for the second after which it counts as running
    wait_for(lambda: samples.post("/plugin/failing/reload").json().get("code") == "start_failed", "it to fail")


def test_the_service_reads_what_is_another_users(samples: Container) -> None:
    """Reads logs, which root writes, and what a plugin's process uses."""
    samples.wait_for_status("heartbeat", "running")
    answer = wait_for(lambda: samples.get("/plugin/heartbeat/logs").json()["logs"], "a line of the plugin's")
    assert "你好" in answer[0]["message"]
    used = samples.get("/plugin/metrics/heartbeat").json()["metrics"]
    assert used["memory_mb"] > 1
    assert used["num_threads"] == 1


def test_an_entry_is_run_by_the_python_of_plugins(samples: Container) -> None:
    samples.wait_for_status("hello_http", "running")
    code = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:48917/').read())"
    fetch = ("/opt/plugvisor/bin/python", "-c", code)
    wait_for(lambda: "hello from a plugin" in samples.try_execute(*fetch), "it to listen")
    assert "python /opt/plugvisor/share/runner.py hello_http:" in samples.run_python(WHO_RUNS_WHAT)


def test_the_doctor_finds_nothing_wrong(samples: Container) -> None:
    """But for control groups, which this machine may not have, and a sample has a limit."""
    findings = json.loads(samples.execute("plugvisor", "doctor", "--json"))["findings"]
    assert {finding["check"] for finding in findings if finding["level"] != "ok"} <= {"control groups"}, findings
    [address] = [finding["detail"] for finding in findings if finding["check"] == "address"]
    assert address.startswith("the service answers at ")


def test_supervisorctl_needs_no_arguments(samples: Container) -> None:
    rows = samples.try_execute("supervisorctl", "status").splitlines()  # it ends with 3 if one is stopped
    assert {row.split()[0] for row in rows} == SAMPLES | {"plugvisor"}
    assert "hello_http: stopped" in samples.execute("supervisorctl", "stop", "hello_http")
    assert samples.status("hello_http")["status"] == "stopped"
    assert "hello_http: started" in samples.execute("supervisorctl", "start", "hello_http")


def test_who_runs_what(samples: Container) -> None:
    samples.wait_for_status("heartbeat", "running")

    def find_users() -> dict[str, int]:
        lines = [line.partition(" ") for line in samples.run_python(WHO_RUNS_WHAT).splitlines()]
        return {command.strip(): int(uid) for uid, _, command in lines}

    users = wait_for(lambda: "python main.py" in (users := find_users()) and users, "a plugin's own program")
    [supervisord] = [uid for command, uid in users.items() if "plugvisor.engines.supervisord.extension" in command]
    [service] = [uid for command, uid in users.items() if "plugvisor serve" in command]
    assert (supervisord, service, users["python main.py"]) == (0, 916, 917)


def test_supervisord_has_no_network_port_but_the_services(run: Callable[..., Container]) -> None:
    container = run().wait_until_ready()
    assert "plugvisor: stopped" in container.try_execute("supervisorctl", "stop", "all")
    assert container.run_python(LISTENING_PORTS) == "[48916]\n"


def test_health(run: Callable[..., Container]) -> None:
    frequently = ("--health-interval", "1s", "--health-retries", "1", "--health-start-period", "0s")
    container = run(*frequently).wait_until_ready()
    assert container.execute("plugvisor", "health").strip() == "healthy"
    wait_for(lambda: container.state["Health"]["Status"] == "healthy", "it to be healthy")
    container.execute("supervisorctl", "stop", "plugvisor")
    wait_for(lambda: container.state["Health"]["Status"] == "unhealthy", "it to be unhealthy")


def test_time_zone_and_encoding(run: Callable[..., Container], plugins: Path) -> None:
    code = (
        "import os, sys, time; print(sys.argv[1], os.environ['WHAT'], time.strftime('%z'), flush=True); time.sleep(99)"
    )
    folder = write_plugin(plugins, "text", code, '[plugin_runtime.environment]\nWHAT = "问候"')
    manifest = folder / "plugin.toml"
    manifest.write_text(manifest.read_text().replace('"main.py"]', '"main.py", "你好，世界"]'))
    environ = ("--env", "TZ=Asia/Shanghai", "--env", "PLUGVISOR_LOG_TO_STDOUT=true")
    container = run("--volume", f"{plugins}:/plugins:ro", *environ).wait_until_ready()
    time = datetime.fromisoformat(container.get("/plugin/status").json()["time"])
    assert time.utcoffset() == timedelta(hours=8)
    wait_for(lambda: container.read_log("text"), "the plugin's line")
    assert container.read_log("text") == "你好，世界 问候 +0800\n"
    wait_for(lambda: "text | 你好，世界 问候 +0800\n" in container.logs(), "the same line on standard output")
    assert "你好" in container.execute("supervisorctl", "tail", "text")


def test_all_logs_are_on_standard_output(samples: Container) -> None:
    wait_for(lambda: "\nheartbeat | " in samples.logs(), "a plugin's line")
    lines = samples.logs().splitlines()
    names = [line.split(" | ")[0] for line in lines if " | " in line]
    assert {"heartbeat", "_server", "_supervisord"} <= set(names) <= SAMPLES | {"_server", "_supervisord"}
    started = lines.index("Ctrl-C stops all of it.")
    assert all(" | " in line for line in lines[started + 1 :])
