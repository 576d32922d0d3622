"""What a hostile plugin can do, and what is given up without root."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.container.engine import write_plugin
from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.stack import ADMIN_CODE
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.container.engine import Container

HOSTILE = (Path(__file__).parent / "hostile.py").read_text()
# attempts that fail for another reason than a permission
REFUSED_OTHERWISE = {"stop a plugin without the code": "401", "change a plugin": "Read-only file system"}
NEEDS_ROOT = {"become root", "become the service", "join the service's group"}


def write_hostile(plugins: Path, run_dir: str, log_dir: str, state_dir: str) -> None:
    folder = write_plugin(plugins, "hostile", HOSTILE)
    manifest = folder / "plugin.toml"
    arguments = f'"main.py", "{run_dir}", "{log_dir}", "{state_dir}", "/etc/plugvisor/admin_code"]'
    manifest.write_text(manifest.read_text().replace('"main.py"]', arguments))


def read_report(read: Callable[[], str]) -> Any:
    return json.loads(wait_for(lambda: read() if read().endswith("\n") else "", "the plugin's report").splitlines()[-1])


def test_a_hostile_plugin(run: Callable[..., Container], plugins: Path) -> None:
    """With everything that `docker run` grants by default, only the users keep it apart."""
    write_hostile(plugins, "/run/plugvisor", "/var/log/plugvisor", "/var/lib/plugvisor")
    secret = plugins / "admin_code"
    secret.write_text(ADMIN_CODE)
    secret.chmod(0o644)  # on the host anybody may read it
    container = run(
        *("--volume", f"{plugins}:/plugins:ro", "--volume", f"{secret}:/etc/plugvisor/admin_code:ro"),
        *("--env", "PLUGVISOR_ADMIN_CODE=", "--env", "PLUGVISOR_ADMIN_CODE_FILE=/etc/plugvisor/admin_code"),
    ).wait_until_ready()
    report = read_report(lambda: container.read_log("hostile"))
    for what, refusal in report["done"].items():
        expected = REFUSED_OTHERWISE.get(what)
        assert refusal in ("Permission denied", "Operation not permitted") or (expected and expected in refusal), what
    assert report["environment"] == []
    assert container.post("/plugin/hostile/stop", code=ADMIN_CODE).json()["status"] == "stopped"


def test_a_hostile_plugin_when_everything_is_one_user(run: Callable[..., Container], plugins: Path) -> None:
    """Shows what `--user` gives up, and that the attempts above are real ones."""
    write_hostile(plugins, "/tmp/plugvisor-10001", "/tmp/plugvisor-10001/log", "/tmp/plugvisor-10001")
    container = run("--user", "10001", "--volume", f"{plugins}:/plugins:ro").wait_until_ready()
    assert "run as one user" in container.logs()
    path = "/tmp/plugvisor-10001/log/hostile.log"
    report = read_report(lambda: container.try_execute("cat", path))
    managed = {what for what, refusal in report["done"].items() if not refusal}
    unmanaged = set(report["done"]) - managed
    expected = {*REFUSED_OTHERWISE, *NEEDS_ROOT, "read the secret file", "change Plugvisor"}
    assert unmanaged - {"trace the service"} == expected, "ptrace may be forbidden by the kernel's own settings"


@pytest.mark.parametrize("options", [(), ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL")])
def test_everything_works_without_root(run: Callable[..., Container], plugins: Path, options: tuple[str, ...]) -> None:
    write_plugin(plugins, "own", OBEDIENT)
    container = run("--user", "10001", "--volume", f"{plugins}:/plugins:ro", *options).wait_until_ready()
    container.wait_for_status("own", "running")
    assert container.post("/plugin/own/reload").json()["status"] == "running"
    assert "RUNNING" in container.execute("supervisorctl", "status", "own")
    assert container.execute("plugvisor", "health").strip() == "healthy"
    assert container.stop() == 0


def test_no_new_privileges_and_no_more_capabilities_than_named(samples: Container) -> None:
    status = samples.execute("cat", "/proc/1/status")
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert facts["NoNewPrivs"] == "1"
    assert int(facts["CapEff"], 16) == int(facts["CapBnd"], 16) == 1 << 5 | 1 << 6 | 1 << 7
