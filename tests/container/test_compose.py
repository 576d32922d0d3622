"""docker-compose.yml as it is: on a fresh machine, with a secret and plugins of one's own, and its limits."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.container.engine import SAMPLES, write_plugin
from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.ports import find_free_port
from tests.helpers.stack import ADMIN_CODE
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.container.compose import Project
    from tests.container.engine import Container

TAKES_EVERYTHING = """
import os, signal
megabytes = 0
try:
    with open("/tmp/full", "wb", buffering=0) as file:
        while True:
            file.write(bytes(1024 * 1024))
            megabytes += 1
except OSError as error:
    print(megabytes, error.strerror, flush=True)
children = 0
try:
    while os.fork() != 0:
        children += 1
except OSError as error:
    print(children, error.strerror, flush=True)
while True:
    signal.pause()
"""
RESTRICTIONS = (
    *("ReadonlyRootfs", "Tmpfs", "CapDrop", "SecurityOpt", "PidsLimit", "Memory", "MemorySwap", "NanoCpus"),
)
"""What `docker inspect` calls the restrictions in `HARDENED`."""


def test_the_samples_on_a_fresh_machine(compose: Callable[..., Project]) -> None:
    project = compose(PLUGVISOR_ADMIN_CODE_FILE="", PLUGVISOR_PLUGINS_DIR="")
    container = project.up()
    assert {plugin["id"] for plugin in container.get("/plugins").json()["plugins"]} == SAMPLES
    rows = project.run("exec", "-T", "plugvisor", "supervisorctl", "status", check=False).splitlines()
    assert {row.split()[0] for row in rows} == SAMPLES | {"plugvisor"}
    [code] = [line.split()[-1] for line in project.run("logs", "--no-color").splitlines() if "admin code" in line]
    assert container.post("/plugin/heartbeat/reload", code=code).json()["status"] == "running"


def test_other_tests_have_the_same_restrictions(compose: Callable[..., Project], samples: Container) -> None:
    project = compose(PLUGVISOR_ADMIN_CODE_FILE="", PLUGVISOR_PLUGINS_DIR="")
    found, expected = (container.inspect()["HostConfig"] for container in (samples, project.up()))
    assert {name: found[name] for name in RESTRICTIONS} == {name: expected[name] for name in RESTRICTIONS}


def test_a_secret_and_plugins_of_ones_own(compose: Callable[..., Project], plugins: Path, tmp_path: Path) -> None:
    code = tmp_path / "admin_code"
    code.write_text(ADMIN_CODE + "\n")
    write_plugin(plugins, "own", OBEDIENT)
    project = compose(PLUGVISOR_ADMIN_CODE_FILE=str(code), PLUGVISOR_PLUGINS_DIR=str(plugins))
    container = project.up()
    assert container.post("/plugin/own/stop", code="wrong").status_code == 401
    assert container.post("/plugin/own/stop").json()["status"] == "stopped"
    assert ADMIN_CODE not in container.logs()
    assert ADMIN_CODE not in container.execute("env")
    for path in ("/", "/plugins", "/opt/plugvisor"):
        assert "Read-only" in container.try_execute("touch", f"{path}/x"), path
    project.run("stop")
    assert container.state["ExitCode"] == 0


def test_a_secret_that_root_may_not_read(compose: Callable[..., Project], plugins: Path, tmp_path: Path) -> None:
    """Root of the container has not the capability to; the last line of the log says what to do."""
    code = tmp_path / "admin_code"
    code.write_text(ADMIN_CODE + "\n")
    code.chmod(0o600)
    os.chown(code, 1000, 1000)
    project = compose(PLUGVISOR_ADMIN_CODE_FILE=str(code), PLUGVISOR_PLUGINS_DIR=str(plugins))
    container = project.create()
    wait_for(lambda: container.inspect()["RestartCount"] > 0, "it to be started again")
    last_line = container.logs().splitlines()[-1]
    assert last_line.startswith("plugvisor: cannot read PLUGVISOR_ADMIN_CODE_FILE")
    for advice in ("chown root", "chmod 644", "PLUGVISOR_ADMIN_CODE instead"):
        assert advice in last_line
    os.chown(code, 0, 0)
    wait_for(lambda: container.state["Running"] and not container.state["Restarting"], "it to run")
    container.wait_until_ready()
    assert container.post("/plugins/refresh").status_code == 200


def test_the_log_shows_the_published_address(compose: Callable[..., Project]) -> None:
    port = str(find_free_port())
    container = compose(PLUGVISOR_ADMIN_CODE_FILE="", PLUGVISOR_PLUGINS_DIR="", PLUGVISOR_PORT=port).up()
    assert f"\n  page        http://localhost:{port}/#code=" in container.logs()


def test_a_plugin_that_takes_everything(compose: Callable[..., Project], plugins: Path) -> None:
    """It fills /tmp and forks until it cannot: the others keep running, and it can be stopped."""
    write_plugin(plugins, "greedy", TAKES_EVERYTHING, "auto_start = false")
    write_plugin(plugins, "modest", OBEDIENT)
    project = compose(PLUGVISOR_ADMIN_CODE_FILE="", PLUGVISOR_PLUGINS_DIR=str(plugins))
    container = project.up()
    [code] = [line.split()[-1] for line in container.logs().splitlines() if "admin code" in line]
    container.wait_for_status("modest", "running")
    modest = container.status("modest")["pid"]

    assert container.post("/plugin/greedy/start", code=code).status_code == 200
    wait_for(lambda: container.read_log("greedy").count("\n") == 2, "all to be taken")
    (megabytes, full), (children, refused) = (line.split(" ", 1) for line in container.read_log("greedy").splitlines())
    assert (megabytes, full) == ("256", "No space left on device")
    assert refused == "Resource temporarily unavailable"
    assert 300 < int(children) < 400

    assert container.post("/plugin/greedy/stop", code=code).json()["status"] == "stopped"
    assert container.post("/plugin/modest/reload", code=code).json()["status"] == "running"
    assert container.status("modest")["pid"] != modest
    assert container.inspect()["RestartCount"] == 0
