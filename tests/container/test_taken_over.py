"""What a service that was taken over can make supervisord do, which is root: run plugins, and nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.container.engine import Container

CONF = "/run/plugvisor/conf.d/evil.conf"
LAUNCH = "/run/plugvisor/launch/evil.sh"
PROGRAM = f"""[program:evil]
command=/bin/sh {LAUNCH}
autostart=false
redirect_stderr=true
stdout_logfile=/var/log/plugvisor/evil.log
user=plugin
"""
CHANGES = [
    ("user=plugin", "user=root"),
    ("user=plugin\n", ""),
    ("user=plugin", "user=plugvisor"),
    ("evil.log", "../../../tmp/evil.log"),
    ("evil.log", "_server.log"),
    ("redirect_stderr=true", "stderr_logfile=/tmp/evil.log"),
    ("[program:evil]", "[program:plugvisor]"),
    ("[program:evil]", "[eventlistener:evil]\nevents=TICK_5"),
    ("[program:evil]", "[fcgi-program:evil]\nsocket=unix:///tmp/evil.sock"),
    ("autostart", "numprocs=2\nprocess_name=%(process_num)s\nautostart"),
]
METHODS = [["plugins.add", "evil"], ["supervisor.reloadConfig"]]
CANT_REREAD = "fault 92 "

CONNECT = """
import json, sys, xmlrpc.client
from supervisor.xmlrpc import SupervisorTransport
server = xmlrpc.client.ServerProxy("http://localhost", SupervisorTransport("", "", "unix:///run/plugvisor/supervisor.sock"))
"""
# Reads [{"path": …, "text": … or "link": …, "call": [method, arguments…]}], writes each file as the service would,
# calls the method, and takes both back; prints the answers.
ATTEMPT = (
    CONNECT
    + """
import os
def call(method, *arguments):
    try:
        return str(getattr(server, method)(*arguments))
    except xmlrpc.client.Fault as fault:
        return f"fault {fault.faultCode} {fault.faultString}"
answers = []
for attempt in json.load(sys.stdin):
    if "link" in attempt:
        os.symlink(attempt["link"], attempt["path"])
    else:
        with open(attempt["path"], "w") as file:
            file.write(attempt["text"])
    answers.append(call(*attempt["call"]))
    os.unlink(attempt["path"])
    call("plugins.remove", "evil")
    restored = call("supervisor.reloadConfig")
    assert restored == "[[[], [], []]]", restored
print(json.dumps(answers))
"""
)
CALL = (
    CONNECT
    + """
method, *arguments = json.load(sys.stdin)
print(getattr(server, method)(*arguments))
"""
)
WRITE_LAUNCH = f"""
from plugvisor.engines.supervisord.extension.processes.launch_file import Launch
launch = Launch("/", ["sh", "-c", "id -u; exec sleep 99"], {{}}, ["PATH"])
open("{LAUNCH}", "wb").write(launch.render("/opt/plugvisor/bin/python"))
"""


def attempt_all(container: Container, attempts: list[dict[str, Any]]) -> list[str]:
    """What supervisord answers to each attempt of the service's user."""
    answers: list[str] = json.loads(container.run_python(ATTEMPT, user="plugvisor", text=json.dumps(attempts)))
    return answers


def call(container: Container, *method: str) -> str:
    """Call supervisord as the service's user; returns the answer."""
    return container.run_python(CALL, user="plugvisor", text=json.dumps(method)).strip()


def write_as_service(container: Container, path: str, text: str) -> None:
    container.execute("sh", "-c", f"cat >{path}", user="plugvisor", text=text)


@pytest.fixture(scope="module")
def answers(samples: Container) -> dict[tuple[str, str], str]:
    """The answers to every change of the program, by the changed text and the method."""
    changed = [PROGRAM.replace(*change) for change in CHANGES]
    assert PROGRAM not in changed
    keys = [(text, method[0]) for text in (PROGRAM, *changed) for method in METHODS]
    calls = {method[0]: method for method in METHODS}
    attempts = [{"path": CONF, "text": text, "call": calls[method]} for text, method in keys]
    return dict(zip(keys, attempt_all(samples, attempts), strict=True))


@pytest.mark.parametrize("method", [method for method, *_ in METHODS])
@pytest.mark.parametrize(("before", "after"), CHANGES)
def test_root_runs_nothing_else(answers: dict[tuple[str, str], str], method: str, before: str, after: str) -> None:
    assert not answers[PROGRAM, method].startswith("fault "), "the program as it is would be accepted"
    assert answers[PROGRAM.replace(before, after), method].startswith(CANT_REREAD)


def test_root_opens_no_other_socket_for_the_service(samples: Container) -> None:
    """supervisor removes the file at a program's socket path, as root."""
    text = "[fcgi-program:plugvisor]\nsocket=unix:///run/plugvisor/users.conf\n"
    [answer] = attempt_all(samples, [{"path": CONF, "text": text, "call": ["supervisor.reloadConfig"]}])
    assert answer.startswith(CANT_REREAD)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method[0])
def test_root_reads_nothing_else(samples: Container, method: list[str]) -> None:
    """A parse error quotes the file: one that the service may read itself, which shows that the attempt is real."""
    attempts = [{"path": CONF, "link": link, "call": method} for link in ("/etc/shadow", "/etc/passwd")]
    shadow, passwd = attempt_all(samples, attempts)
    assert "root:" not in shadow
    assert "root:" in passwd


@pytest.fixture
def evil(samples: Container) -> Iterator[Container]:
    """The samples, and a program of the service's that is gone afterwards."""
    samples.run_python(WRITE_LAUNCH, user="plugvisor")
    write_as_service(samples, CONF, PROGRAM)
    yield samples
    call(samples, "plugins.stop", "evil")
    wait_for(lambda: "RUNNING" not in samples.try_execute("supervisorctl", "status", "evil"), "its end")
    call(samples, "plugins.remove", "evil")  # first: the service lists a program whose files are gone
    samples.execute("rm", CONF, LAUNCH)


def test_a_plugin_can_be_run(evil: Container) -> None:
    """The launch file of the service's own choice runs, as the plugins' user."""
    call(evil, "plugins.add", "evil")
    call(evil, "plugins.start", "evil")
    wait_for(lambda: evil.read_log("evil").endswith("917\n"), "the plugin's line")


def test_supervisord_as_root_ends_instead_of_restarting(run: Callable[..., Container]) -> None:
    """After a restart it would read what the service has written without the checks above."""
    container = run().wait_until_ready()
    write_as_service(container, CONF, PROGRAM.replace("autostart=false\n", "").replace("user=plugin\n", ""))
    assert call(container, "supervisor.restart") == "True"
    assert container.wait_until_ended() == 0
    container.start()
    assert "evil" not in container.try_execute("supervisorctl", "status")
    assert container.read_log("evil") == ""
