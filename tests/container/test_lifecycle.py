"""The container's start, end, sudden death and upgrade."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.container.engine import HARDENED, Container, build, docker, remove_image, run_docker, write_plugin
from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.stack import ADMIN_CODE
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SAYS_GOODBYE = OBEDIENT.replace("lambda *_: sys.exit(0)", "lambda *_: (print('SIGTERM', flush=True), sys.exit(0))")
LIST_PROCESSES = """
import json, os, pathlib
rows = []
for folder in pathlib.Path("/proc").glob("[0-9]*"):
    if int(folder.name) == os.getpid():
        continue
    try:
        name, fields = (folder / "stat").read_text().rpartition(")")[::2]
        rows.append([name.partition("(")[2], fields.split()[0], int(fields.split()[1])])
    except OSError:
        pass
print(json.dumps(rows))
"""
KILL_SLEEPING = """
import os, pathlib, signal
for folder in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        if (folder / "comm").read_text() == "sleep\\n":
            os.kill(int(folder.name), signal.SIGKILL)
    except OSError:  # it has ended, as a health check does
        pass
"""
LEAVES_AN_ORPHAN = """
import signal, subprocess
subprocess.Popen(["sleep", "1000"], start_new_session=True)
signal.pause()
"""
REMEMBERS = """
import os, pathlib, signal
path = pathlib.Path.home() / "starts"
with path.open("a") as file:
    file.write("x")
print("started", len(path.read_text()), "times", flush=True)
signal.pause()
"""


def list_processes(container: Container) -> list[tuple[str, str, int]]:
    """Return the name, state and parent of each process."""
    rows = json.loads(container.run_python(LIST_PROCESSES))
    return [(name, state, parent) for name, state, parent in rows]


def count_running(container: Container) -> int:
    plugins = container.get("/plugin/status").json()["plugins"]
    return sum(plugin["status"] == "running" for plugin in plugins.values())


def test_docker_stop_with_50_plugins(run: Callable[..., Container], plugins: Path) -> None:
    for number in range(50):
        write_plugin(plugins, f"p{number}", SAYS_GOODBYE)
    container = run("--volume", f"{plugins}:/plugins:ro").wait_until_ready()
    wait_for(lambda: count_running(container) == 50, "all of them to run")
    wait_for(lambda: sum("ready" in log for log in container.read_logs().values()) == 50, "all of them to be ready")
    assert container.stop() == 0, "one after another they would take longer than Docker waits"
    logs = container.read_logs()
    assert [name for name in (f"p{number}" for number in range(50)) if logs[name] != "ready\nSIGTERM\n"] == []


def test_pid_1_reaps_orphans(samples: Container) -> None:
    """Orphans of nobody's are PID 1's, and none becomes a zombie."""
    samples.execute("sh", "-c", "for i in 1 2 3 4 5; do (sleep 1000 >/dev/null 2>&1 &); done")

    def count_orphans() -> int:
        return len([name for name, _, parent in list_processes(samples) if name == "sleep" and parent == 1])

    wait_for(lambda: count_orphans() == 5, "PID 1 to be the parent of all of them")
    samples.run_python(KILL_SLEEPING)
    wait_for(lambda: "sleep" not in {name for name, _, _ in list_processes(samples)}, "all of them to be reaped")


def test_orphans_of_a_plugin_end_with_it(run: Callable[..., Container], plugins: Path) -> None:
    """Also where root may not look at the processes of other users."""
    write_plugin(plugins, "leaver", LEAVES_AN_ORPHAN)
    container = run(*HARDENED, "--volume", f"{plugins}:/plugins:ro").wait_until_ready()

    def count_sleeping() -> int:
        return sum(name == "sleep" for name, _, _ in list_processes(container))

    for _ in range(2):
        wait_for(lambda: count_sleeping() == 1, "the child")
        assert container.post("/plugin/leaver/stop").json()["status"] == "stopped"
        wait_for(lambda: count_sleeping() == 0, "the child to be gone")
        assert container.post("/plugin/leaver/start?wait=50").json()["status"] == "running"
    assert container.post("/plugin/leaver/reload").json()["status"] == "running"
    assert "cannot note" not in container.read_log("_server")


def test_a_critical_plugin_that_fails_ends_the_container(run: Callable[..., Container], plugins: Path) -> None:
    """Its restart policy then starts it again."""
    write_plugin(plugins, "vital", "raise SystemExit(3)\n", "critical = true\nsupervisor.startretries = 0")
    container = run("--volume", f"{plugins}:/plugins:ro")
    assert container.wait_until_ended() == 1
    assert "'vital' is critical and has failed" in container.logs()
    container = run("--restart", "on-failure:2", "--volume", f"{plugins}:/plugins:ro")
    wait_for(lambda: container.inspect()["RestartCount"] == 2, "two restarts")


@pytest.mark.parametrize("options", [(), HARDENED], ids=["plain", "hardened"])
def test_docker_kill_and_start(run: Callable[..., Container], plugins: Path, options: tuple[str, ...]) -> None:
    """The sockets, pid file and lock of the killed one are still there, unless the run folder is a tmpfs."""
    write_plugin(plugins, "own", OBEDIENT)
    container = run("--volume", f"{plugins}:/plugins:ro", *options).wait_until_ready()
    container.wait_for_status("own", "running")
    docker("kill", container.name)
    assert container.wait_until_ended() == 137
    container.start()
    container.wait_for_status("own", "running")
    assert container.post("/plugin/own/reload").json()["status"] == "running"
    processes = [name for name, _, _ in list_processes(container) if name == "python"]
    assert len(processes) == 3, "supervisord, the service, and the plugin once"
    assert container.stop() == 0


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--env", "PLUGVISOR_PORT=x"], "PLUGVISOR_PORT"),
        (["--env", "PLUGVISOR_SERVICE_USER=nobody-of-this-name"], "PLUGVISOR_SERVICE_USER"),
        (["--env", "PLUGVISOR_PLUGIN_USER="], "PLUGVISOR_PLUGIN_USER"),
        (["--env", "PLUGVISOR_PLUGIN_USER=plugvisor"], "PLUGVISOR_PLUGIN_USER"),
        (["--env", "PLUGVISOR_PLUGIN_USER=root"], "PLUGVISOR_PLUGIN_USER"),
        (["--env", "PLUGVISOR_LOG_TO_STDOUT=maybe"], "PLUGVISOR_LOG_TO_STDOUT"),
        (["--env", "PLUGVISOR_ADMIN_CODE=abc"], "PLUGVISOR_ADMIN_CODE"),
        (["--env", "PLUGVISOR_ADMIN_CODE=", "--env", "PLUGVISOR_ADMIN_CODE_FILE=/none"], "PLUGVISOR_ADMIN_CODE_FILE"),
        (["--env", "PLUGVISOR_PLUGINS_DIR=/none"], "PLUGVISOR_PLUGINS_DIR"),
        (["--cap-drop", "ALL"], "--cap-add KILL --cap-add SETGID --cap-add SETUID"),
        (["--cap-drop", "SETUID"], "CAP_SETUID"),
        (["--read-only", "--tmpfs", "/run/plugvisor"], "PLUGVISOR_LOG_DIR"),
        (["--read-only"], "PLUGVISOR_RUN_DIR"),
        (["--tmpfs", "/var/log/plugvisor:uid=917"], "PLUGVISOR_LOG_DIR"),
    ],
)
def test_an_unusable_configuration(image: str, options: list[str], word: str) -> None:
    status, output = run_docker("run", "--rm", "--env", f"PLUGVISOR_ADMIN_CODE={ADMIN_CODE}", *options, image)
    assert status == 2, output
    assert output.startswith("plugvisor: cannot ")
    assert word in output
    assert ADMIN_CODE not in output


def test_a_tmpfs_that_is_open_to_everyone_is_closed(run: Callable[..., Container]) -> None:
    folders = ["/run/plugvisor", "/var/log/plugvisor", "/var/lib/plugvisor"]
    container = run(*(word for folder in folders for word in ("--tmpfs", folder))).wait_until_ready()
    modes = container.execute("stat", "-c", "%a %U:%G", *folders)
    assert modes.split("\n")[:3] == ["711 root:plugvisor", "2750 root:plugvisor", "2770 root:plugvisor"]


def test_an_upgrade_keeps_the_volumes(
    run: Callable[..., Container], volume: Callable[[], str], image: str, plugins: Path, tmp_path: Path
) -> None:
    """A new image with the volumes of the old one, and the other way round."""
    write_plugin(plugins, "remembers", REMEMBERS)
    (tmp_path / "Dockerfile").write_text(f'FROM {image}\nLABEL org.opencontainers.image.version="99.0.0"\n')
    newer = f"{image}-newer"
    build(newer, tmp_path)
    volumes = ["--volume", f"{volume()}:/var/log/plugvisor", "--volume", f"{volume()}:/home/plugin"]
    expected = ""
    try:
        for starts, used in enumerate([image, newer, image], 1):
            container = run(*volumes, "--volume", f"{plugins}:/plugins:ro", image=used).wait_until_ready()
            expected += f"started {starts} times\n"
            wait_for(lambda c=container, text=expected: c.read_log("remembers") == text, f"{expected!r} in its log")
            assert container.post("/plugin/remembers/stop").json()["status"] == "stopped"
            assert container.stop() == 0
            container.remove()
    finally:
        remove_image(newer)
