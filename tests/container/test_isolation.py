"""What a hostile plugin, and a service that was taken over, can do; and what is given up without root."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import ADMIN_CODE, wait_for
from tests.container.engine import docker, write_plugin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.container.engine import Container

HOSTILE = (Path(__file__).parent / "hostile.py").read_text()
# what is refused in another way than by a permission
REFUSED_OTHERWISE = {"stop a plugin without the code": "401", "change a plugin": "Read-only file system"}
NEEDS_ROOT = {"become root", "become the service", "join the service's group"}


def write_hostile(plugins: Path, run_dir: str, log_dir: str) -> None:
    folder = write_plugin(plugins, "hostile", HOSTILE)
    manifest = folder / "plugin.toml"
    arguments = f'"main.py", "{run_dir}", "{log_dir}", "/etc/plugvisor/admin_code"]'
    manifest.write_text(manifest.read_text().replace('"main.py"]', arguments))


def read_report(read: Callable[[], str]) -> Any:
    return json.loads(wait_for(lambda: read() if read().endswith("\n") else "", "the plugin's report").splitlines()[-1])


def test_a_hostile_plugin(run: Callable[..., Container], plugins: Path) -> None:
    """With everything that `docker run` grants by default: nothing but the users keeps them apart."""
    write_hostile(plugins, "/run/plugvisor", "/var/log/plugvisor")
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


def test_the_same_where_all_of_it_is_one_user(run: Callable[..., Container], plugins: Path) -> None:
    """What `--user` gives up, and that the attempts above are real ones."""
    write_hostile(plugins, "/tmp/plugvisor-10001", "/tmp/plugvisor-10001/log")
    container = run("--user", "10001", "--volume", f"{plugins}:/plugins:ro").wait_until_ready()
    assert "run as one user" in container.logs()
    path = "/tmp/plugvisor-10001/log/hostile.log"
    report = read_report(lambda: container.execute("cat", path, check=False))
    managed = {what for what, refusal in report["done"].items() if not refusal}
    unmanaged = set(report["done"]) - managed
    expected = {*REFUSED_OTHERWISE, *NEEDS_ROOT, "read the secret file", "change Plugvisor"}
    assert unmanaged - {"trace the service"} == expected, "ptrace may be forbidden by the kernel's own settings"


@pytest.mark.parametrize("options", [(), ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL")])
def test_everything_works_without_root(run: Callable[..., Container], options: tuple[str, ...]) -> None:
    container = run("--user", "10001", *options).wait_until_ready()
    container.wait_for_status("heartbeat", "running")
    assert container.post("/plugin/heartbeat/reload").json()["status"] == "running"
    told = container.execute("supervisorctl", "status", "heartbeat")
    assert "RUNNING" in told
    assert container.execute("plugvisor", "health").strip() == "healthy"
    assert container.stop() == 0


def test_no_new_privileges_and_no_more_capabilities_than_named(samples: Container) -> None:
    status = samples.execute("cat", "/proc/1/status")
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert facts["NoNewPrivs"] == "1"
    assert int(facts["CapEff"], 16) == int(facts["CapBnd"], 16) == 1 << 5 | 1 << 6 | 1 << 7


# -- a service that was taken over

CALL = """
import sys, xmlrpc.client
from supervisor.xmlrpc import SupervisorTransport
server = xmlrpc.client.ServerProxy("http://localhost", SupervisorTransport("", "", "unix:///run/plugvisor/supervisor.sock"))
method, *arguments = sys.argv[1:]
try:
    print(getattr(server, method)(*arguments))
except xmlrpc.client.Fault as fault:
    print("fault", fault.faultCode, fault.faultString)
"""
PROGRAM = """[program:evil]
command=/bin/sh -c "id -u; exec sleep 99"
autostart=false
redirect_stderr=true
stdout_logfile=/var/log/plugvisor/evil.log
user=plugin
"""
CANT_REREAD = "fault 92 "
EVIL = "/run/plugvisor/conf.d/evil.conf"


def as_service(container: Container, method: str, *arguments: str) -> str:
    return container.run_python(CALL, method, *arguments, user="plugvisor").strip()


@pytest.fixture
def publish(samples: Container) -> Iterator[Callable[[str], None]]:
    """Writes `evil.conf` as the service does."""

    def write(text: str) -> None:
        samples.execute("sh", "-c", f"cat >{EVIL}", options=["--user", "plugvisor"], text=text)

    yield write
    samples.execute("rm", EVIL)
    as_service(samples, "supervisor.stopProcess", "evil")
    as_service(samples, "plugins.remove", "evil")
    assert as_service(samples, "supervisor.reloadConfig") == "[[[], [], []]]"


@pytest.mark.parametrize("method", [["plugins.replace", "evil"], ["supervisor.reloadConfig"]])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("user=plugin", "user=root"),
        ("user=plugin\n", ""),
        ("user=plugin", "user=plugvisor"),
        ("evil.log", "../../../tmp/evil.log"),
        ("evil.log", "_server.log"),
        ("redirect_stderr=true", "stderr_logfile=/tmp/evil.log"),
        ("[program:evil]", "[program:plugvisor]"),
        ("[program:evil]", "[eventlistener:evil]\nevents=TICK_5"),
        ("autostart", "numprocs=2\nprocess_name=%(process_num)s\nautostart"),
    ],
)
def test_the_service_cannot_have_root_run_something(
    samples: Container, publish: Callable[[str], None], method: list[str], before: str, after: str
) -> None:
    assert before in PROGRAM
    publish(PROGRAM.replace(before, after))
    assert as_service(samples, *method).startswith(CANT_REREAD)


@pytest.mark.parametrize("method", [["plugins.replace", "evil"], ["supervisor.reloadConfig"]])
@pytest.mark.parametrize(("path", "is_shown"), [("/etc/shadow", False), ("/etc/passwd", True)])
def test_the_service_cannot_have_root_read_something(
    samples: Container, method: list[str], path: str, is_shown: bool
) -> None:
    """What cannot be parsed is quoted: of a file that the service may read itself, which shows that this is tried."""
    samples.execute("ln", "-s", path, EVIL, options=["--user", "plugvisor"])
    try:
        assert ("root:" in as_service(samples, *method)) == is_shown
    finally:
        samples.execute("rm", EVIL)


def test_the_service_can_have_a_plugin_run(samples: Container, publish: Callable[[str], None]) -> None:
    """That what is refused above is refused for its difference from this."""
    publish(PROGRAM)
    assert as_service(samples, "plugins.replace", "evil") == "True"
    assert as_service(samples, "supervisor.startProcess", "evil") == "True"
    wait_for(lambda: samples.read_log("evil").endswith("917\n"), "the plugin's line")


def test_supervisord_that_is_root_ends_instead_of_beginning_anew(run: Callable[..., Container]) -> None:
    """It would read what the service has written with nobody to check it."""
    container = run().wait_until_ready()
    text = PROGRAM.replace("autostart=false\n", "").replace("user=plugin\n", "")
    container.execute("sh", "-c", f"cat >{EVIL}", options=["--user", "plugvisor"], text=text)
    assert as_service(container, "supervisor.restart") == "True"
    assert container.wait_until_ended() == 0
    docker("start", container.name)
    container.wait_until_ready()
    assert "evil" not in container.execute("supervisorctl", "status", check=False)
    assert container.read_log("evil") == ""
