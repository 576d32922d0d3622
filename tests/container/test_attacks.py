"""Plugins that use up memory, processes and CPU time, under docker-compose.yml: the service and other plugins go on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.container.engine import write_plugin
from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.stack import ADMIN_CODE
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.container.compose import Project
    from tests.container.engine import Container

FILLS_TMP = """
import os, signal
for folder in ("/tmp", "/dev/shm"):
    try:
        with open(f"{folder}/full", "wb", buffering=0) as file:
            while True:
                file.write(bytes(1024 * 1024))
    except OSError as error:
        print(folder, error.strerror, flush=True)
"""
REPORTS = 'print("taken", flush=True)\nsignal.pause()\n'
MANY_EATERS = """
import os, signal
def eat():
    memory = bytearray(20 * 1024 * 1024)
    memory[::4096] = bytes(len(range(0, len(memory), 4096))).replace(b"\\0", b"x")
    signal.pause()
for _ in range(120):
    if os.fork() == 0:
        eat()
print("taken", flush=True)
while True:
    os.wait()
    if os.fork() == 0:
        eat()
"""
ONE_EATER = """
print("taken", flush=True)
memory = []
while True:
    memory.append(b"x" * 16 * 1024 * 1024)
"""
FORK_BOMB = """
import os
os.fork(), os.fork()
while True:
    try:
        os.fork()
    except OSError:
        if not os.path.exists("/tmp/taken"):
            open("/tmp/taken", "w").close()
            os.write(1, b"taken\\n")
"""
ATTACKS = {
    "fills /tmp": FILLS_TMP + REPORTS,
    "fills /tmp, then 120 processes of 20 MB": FILLS_TMP + MANY_EATERS,
    "one process that never has enough": ONE_EATER,
    "a fork bomb": FORK_BOMB,
}
OOM_VALUES = """
import json, os, pathlib
values = {}
for folder in pathlib.Path("/proc").glob("[0-9]*"):
    if int(folder.name) == os.getpid():
        continue
    try:
        command = (folder / "cmdline").read_text()
        value = [int((folder / "oom_score_adj").read_text()), int((folder / "stat").read_text().split()[18])]
    except OSError:  # it has ended, as a health check does
        continue
    for name in ("extension", "serve", "main.py"):
        if name in command:
            values[name] = value
print(json.dumps(values))
"""


def find_pids(container: Container) -> tuple[Any, Any]:
    """The container's first process, and the service."""
    lines = container.try_execute("supervisorctl", "status", "plugvisor")
    return container.state["Pid"], lines.partition("pid ")[2].partition(",")[0]


def change(container: Container, path: str) -> Any:
    """POST until it is not answered with 503: each allocation waits while the kernel looks for memory."""
    return wait_for(lambda: (response := container.post(path)).status_code != 503 and response.json(), path)


def check_everything_works(container: Container) -> None:
    """Statuses, logs, health and changes, while the plugin `attacker` runs."""
    wait_for(lambda: container.status("modest").get("status") == "running", "it to run")
    [line] = container.get("/plugin/modest/logs").json()["logs"]
    assert line["message"] == "ready"
    assert container.get("/plugin/_server/logs").status_code == 200
    assert container.get("/plugin/metrics/modest").status_code == 200
    assert change(container, "/plugin/other/reload")["status"] == "running"
    assert change(container, "/plugin/other/stop")["status"] == "stopped"
    wait_for(lambda: container.try_execute("plugvisor", "health") == "healthy\n", "it to be healthy")


@pytest.fixture
def start(compose: Callable[..., Project], plugins: Path, tmp_path: Path) -> Callable[..., Container]:
    """Starts a project with the plugins `attacker`, `modest` and `other`."""

    def start_project(attack: str, runtime: str = "") -> Container:
        write_plugin(plugins, "attacker", attack, runtime)
        write_plugin(plugins, "modest", OBEDIENT)
        write_plugin(plugins, "other", OBEDIENT)
        code = tmp_path / "admin_code"
        code.write_text(ADMIN_CODE + "\n")
        return compose(PLUGVISOR_ADMIN_CODE_FILE=str(code), PLUGVISOR_PLUGINS_DIR=str(plugins)).up()

    return start_project


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack(start: Callable[..., Container], attack: str) -> None:
    container = start(ATTACKS[attack], "auto_start = false")
    for name in ("modest", "other"):
        container.wait_for_status(name, "running")
    wait_for(lambda: container.read_log("modest"), "its line")
    before, modest = find_pids(container), container.status("modest")["pid"]

    assert container.post("/plugin/attacker/start").status_code == 200
    wait_for(lambda: container.read_log("attacker").endswith("taken\n"), "the attack")
    for _ in range(3):
        check_everything_works(container)
    change(container, "/plugin/attacker/stop")  # which the kernel may have killed
    container.wait_for_status("attacker", "stopped")
    check_everything_works(container)

    assert find_pids(container) == before
    assert container.status("modest")["pid"] == modest
    assert container.inspect()["RestartCount"] == 0


def test_a_fork_bomb_from_the_start(start: Callable[..., Container]) -> None:
    """The service starts all the same; as long as the plugin runs, no other can be started with its user."""
    container = start(FORK_BOMB)
    wait_for(lambda: container.read_log("attacker").endswith("taken\n"), "the attack")
    assert container.get("/plugin/attacker/logs").status_code == 200
    assert container.get("/plugin/metrics/attacker").status_code == 200
    assert container.execute("plugvisor", "health").strip() == "healthy"
    assert container.post("/plugin/attacker/stop").json()["status"] == "stopped"
    for name in ("modest", "other"):
        assert container.post(f"/plugin/{name}/reload").json()["status"] == "running"
    assert container.inspect()["RestartCount"] == 0


def test_no_process_is_left_for_the_service(run: Callable[..., Container], plugins: Path) -> None:
    """Not even a thread, because everything runs as one user: what the service does itself goes on."""
    write_plugin(plugins, "attacker", FORK_BOMB, "auto_start = false")
    options = ("--user", "10001", "--pids-limit", "60", "--cpus", "1", "--volume", f"{plugins}:/plugins:ro")
    container = run(*options, "--env", "PLUGVISOR_LOG_TO_STDOUT=true").wait_until_ready()
    assert container.post("/plugin/attacker/start").status_code == 200
    wait_for(lambda: "\nattacker | taken\n" in container.logs(), "the attack")
    manifest = plugins / "attacker" / "plugin.toml"
    manifest.write_text(manifest.read_text().replace("[plugin_runtime]", 'description = "x"\n[plugin_runtime]'))
    for path in ("/plugin/attacker/logs", "/plugin/attacker/logs/files", "/plugin/metrics", "/metrics", "/server/info"):
        assert container.get(path).status_code == 200, path
    assert container.post("/plugins/refresh").json()["changed"] == ["attacker"]
    assert container.post("/plugin/attacker/stop").json()["status"] == "stopped"


def test_who_is_killed_first(start: Callable[..., Container]) -> None:
    container = start(OBEDIENT)
    container.wait_for_status("modest", "running")
    values = json.loads(container.run_python(OOM_VALUES))
    assert values == {"extension": [0, 0], "serve": [0, 0], "main.py": [1000, 19]}
