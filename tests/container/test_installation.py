"""Plugins that are installed in the container: in a volume of the plugins' user, to which nobody else writes."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.container.engine import HARDENED, Container, run_docker
from tests.helpers.packages import make_plugin_package
from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for
from tests.helpers.wheels import write_wheel

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.container.compose import Project

USES_A_WHEEL = f"import greeting, sys\nprint('greeting', greeting.VERSION, sys.prefix, flush=True)\n{OBEDIENT}"
LIST_OTHERS = "find /installed \\( -perm /6022 -o ! -user plugin -o ! -group plugin \\) ! -type l ! -name '*.lock'"
LIST_WRITABLE = "find /installed/web/versions -mindepth 1 ! -type l -perm /222 ! -path '*/.venv*'"
"""Python keeps bytecode in an environment."""


def make_package(version: str, code: str = USES_A_WHEEL, runtime: str = "") -> bytes:
    """A package of the plugin `web` that brings a wheel of the same version, so that no network is needed."""
    requirements = f"--no-index\n--find-links wheels\ngreeting=={version}\n"
    with tempfile.TemporaryDirectory() as folder:
        wheel = write_wheel(Path(folder), "greeting", version)
        files = {"requirements.txt": requirements, f"wheels/{wheel.name}": wheel.read_bytes()}
    return make_plugin_package("web", code, version=version, runtime=runtime, files=files)


def run_command(container: Container, *arguments: str, package: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run `plugvisor …` in a container, with a package on its standard input."""
    command = ["docker", "exec", "--interactive", container.name, "plugvisor", *arguments]
    return subprocess.run(command, input=package, capture_output=True, timeout=2 * DEADLINE_SECONDS, check=False)


def succeed(container: Container, *arguments: str, package: bytes = b"") -> str:
    """Run `plugvisor …` in a container, which must succeed; returns its output."""
    done = run_command(container, *arguments, package=package)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def read_versions(container: Container) -> dict[str, Any]:
    listed = json.loads(succeed(container, "versions", "web", "--json"))["versions"]
    return {version["version"]: version for version in listed}


def test_a_plugin_from_its_installation_to_its_end(run: Callable[..., Container]) -> None:
    container = run(*HARDENED).wait_until_ready()
    out = succeed(container, "install", "-", "--start", package=make_package("1.0.0"))
    assert out == "'web' 1.0.0 is installed and started\n"
    wait_for(lambda: "greeting 1.0.0 /installed/web/versions/1.0.0-" in container.read_log("web"), "its line")
    assert container.execute("sh", "-c", LIST_OTHERS, user="plugin") == "", (
        "nobody but the plugins' user can change anything"
    )
    assert container.execute("sh", "-c", LIST_WRITABLE, user="plugin") == ""
    for user in ("root", "plugvisor"):
        for path in ("/installed/new", "/installed/web/new", "/installed/web/data/new"):
            assert "Permission denied" in run_docker("exec", "--user", user, container.name, "touch", path)[1], user

    assert "from 1.0.0 to 2.0.0" in succeed(container, "update", "web", "-", package=make_package("2.0.0"))
    wait_for(lambda: "greeting 2.0.0" in container.read_log("web"), "the line of the update")
    # on a busy machine even this takes longer than a second
    bad = make_package("3.0.0", code="raise SystemExit(3)", runtime="supervisor.startsecs = 60")
    failed = run_command(container, "update", "web", "-", package=bad)
    assert failed.returncode == 1
    assert b"exit code 3" in failed.stderr
    container.wait_for_status("web", "running")
    assert read_versions(container)["2.0.0"]["current"]
    assert "to 1.0.0" in succeed(container, "rollback", "web")
    assert succeed(container, "uninstall", "web", "--yes", "--purge") == "'web' is removed, with its data\n"
    assert container.execute("ls", "/installed") == ""
    assert container.stop() == 0


def test_what_is_installed_outlives_the_container(compose: Callable[..., Project]) -> None:
    """The project is the one of docker-compose.yml, with its limits."""
    project = compose()
    first = project.up()
    # the code is random: the command in the container finds it
    succeed(first, "install", "-", "--start", package=make_package("1.0.0"))
    second = project.recreate()
    assert second.name != first.name
    second.wait_for_status("web", "running")
    version = read_versions(second)["1.0.0"]
    assert (version["current"], version["environment"], version["installed_by"]) == (True, True, "admin")
    assert "from 1.0.0 to 2.0.0" in succeed(second, "update", "web", "-", package=make_package("2.0.0"))
    wait_for(lambda: "greeting 2.0.0" in second.read_log("web"), "the line of the update")


def test_without_root_nothing_is_installed(run: Callable[..., Container]) -> None:
    """The folder is the plugins' user's. It is said, and all else works."""
    container = run("--user", "10001").wait_until_ready()
    installation = container.get("/server/info").json()["installation"]
    assert (installation["on"], "/installed" in installation["reason"]) == (False, False), "no path is said"
    failed = run_command(container, "install", "-", package=make_package("1.0.0"))
    assert failed.returncode == 1
    assert failed.stderr.startswith(b"plugvisor: plugins cannot be installed here: ")
    container.wait_for_status("heartbeat", "running")
