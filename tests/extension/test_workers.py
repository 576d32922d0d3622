"""Workers of the install folder: who may connect, what they run as, and that nothing of them is left."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import signal
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.packages import make_plugin_package
from tests.helpers.processes import is_alive, list_children, read_command
from tests.helpers.supervisord import make_supervisord
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for
from tests.helpers.wheels import write_source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.helpers.supervisord import Supervisord

MOST_WORKERS = 8
LOCALE = ("LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE")
SHORT = """\
import errno, os, socket
from plugvisor.engines.supervisord.extension.commands import commands, workers
from plugvisor.engines.supervisord.extension.rpcinterface import make_rpcinterface
def fail_if_short(function, number):
    def call(*arguments):
        if not os.path.exists(os.path.join(os.path.dirname(__file__), "enough")):
            raise OSError(number, os.strerror(number))
        return function(*arguments)
    return call
match "{what}":
    case "processes":
        commands.spawn_launch = fail_if_short(commands.spawn_launch, errno.EAGAIN)
    case "files":
        short = type(socket)("socket")
        short.AF_UNIX, short.SOCK_STREAM = socket.AF_UNIX, socket.SOCK_STREAM
        short.socket = fail_if_short(socket.socket, errno.EMFILE)
        workers.socket = short
    case "folder":
        workers.Workers._listen = fail_if_short(workers.Workers._listen, errno.ENOENT)
"""


class Client:
    """A connection to a worker."""

    def __init__(self, supervisord: Supervisord, seconds: float = DEADLINE_SECONDS) -> None:
        before = list_children(supervisord.pid)
        self.path = supervisord.root / supervisord.rpc("plugins.open_worker", seconds)
        [self.pid] = set(list_children(supervisord.pid)) - set(before)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(DEADLINE_SECONDS)
        self.socket.connect(str(self.path))
        self._file = self.socket.makefile("rb")

    def ask(self, do: str, **parameters: object) -> dict[str, Any]:
        """The answer to a request."""
        self.send(do, **parameters)
        return self.read()

    def send(self, do: str, **parameters: object) -> None:
        """Send a request."""
        self.socket.sendall(json.dumps({"do": do, **parameters}).encode() + b"\n")

    def read(self) -> dict[str, Any]:
        """Read an answer."""
        answer: dict[str, Any] = json.loads(self._file.readline())
        return answer

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self.socket.close()

    def wait_ended(self) -> None:
        """Wait until nothing of it is left."""
        wait_for(lambda: not is_alive(self.pid) and not self.path.exists(), "the worker to end")


@contextlib.contextmanager
def connect(supervisord: Supervisord, seconds: float = DEADLINE_SECONDS) -> Iterator[Client]:
    client = Client(supervisord, seconds)
    try:
        yield client
    finally:
        client.close()
        client.wait_ended()


def read_environ(pid: int) -> dict[str, str]:
    fields = Path(f"/proc/{pid}/environ").read_text().rstrip("\0").split("\0")
    return {name: value for name, _, value in (field.partition("=") for field in fields)}


def test_it_answers_and_ends_with_its_connection(shared: Supervisord) -> None:
    before = shared.count_descriptors()
    for _ in range(3):
        with connect(shared) as client:
            assert client.ask("open", install_dir=str(shared.root / "plugins")) == {"ok": {}}
            assert stat.S_IMODE(client.path.stat().st_mode) == 0o600
    wait_for(lambda: shared.count_descriptors() <= before, "nothing to be leaked")
    assert "a worker has failed" not in shared.log


def test_it_gets_what_says_how_environments_are_made_and_nothing_else() -> None:
    wanted = {"UV_INDEX_URL": "http://a", "https_proxy": "http://b", "NO_PROXY": "c", "SSL_CERT_FILE": "/d"}
    with make_supervisord() as own:
        own.start(PLUGVISOR_ADMIN_CODE="secret", SECRET="1", XUV_TOKEN="2", **wanted)
        with connect(own) as client:
            client.ask("open", install_dir="/")  # it has been executed
            environ = read_environ(client.pid)
        assert environ.pop("PLUGVISOR_PLUGIN").split(":")[:2] == [str(own.root), ".worker-1"]
        assert wanted.items() <= environ.items()
        assert environ.keys() <= {
            *wanted,
            "SSL_CERT_DIR",
            "PATH",
            "PYTHONPATH",
            "HOME",
            "USER",
            "LOGNAME",
            "TMPDIR",
            "TZ",
            *LOCALE,
        }


def test_one_connection_is_accepted(shared: Supervisord) -> None:
    with connect(shared) as client:
        client.ask("open", install_dir="/")
        with socket.socket(socket.AF_UNIX) as second, pytest.raises(ConnectionRefusedError):
            second.connect(str(client.path))


def test_there_are_at_most_eight(shared: Supervisord) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(MOST_WORKERS):
            stack.enter_context(connect(shared))
        assert shared.fault("plugins.open_worker", 1.0) == "FAILED"
    with connect(shared) as client:
        assert client.path.name == "install-1.sock"


@pytest.mark.parametrize("seconds", [0, -1.0, "1", 1e9])
def test_a_time_that_makes_no_sense(shared: Supervisord, seconds: object) -> None:
    assert shared.fault("plugins.open_worker", seconds) == "INCORRECT_PARAMETERS"


def test_it_is_killed_when_its_time_is_over() -> None:
    with make_supervisord() as own:
        own.start()
        with connect(own, seconds=1.0) as client:
            os.kill(client.pid, signal.SIGSTOP)  # it cannot end by itself
            wait_for(lambda: not is_alive(client.pid), "its end")
        assert "its time was over" in own.log


@pytest.mark.parametrize("which", ["one", "all"])
def test_a_worker_that_is_frozen_is_killed_if_that_is_asked_for(shared: Supervisord, which: str) -> None:
    with connect(shared) as other, connect(shared) as client:
        os.kill(client.pid, signal.SIGSTOP)
        shared.rpc("plugins.end_workers", "install-99.sock")
        assert is_alive(client.pid)
        shared.rpc("plugins.end_workers", client.path.name if which == "one" else "")
        client.wait_ended()
        if which == "one":
            assert is_alive(other.pid)
        else:
            other.wait_ended()


def test_its_end_is_logged_if_it_fails() -> None:
    with make_supervisord() as own:
        own.start()
        with connect(own) as client:
            os.kill(client.pid, signal.SIGKILL)
            client.wait_ended()
        wait_for(lambda: "a worker has failed, with the status -9" in own.log, "the log")


@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
def test_it_ends_with_supervisord(how: str) -> None:
    with make_supervisord() as own:
        own.start()
        client = Client(own)
        client.ask("open", install_dir="/")
        own.stop(signal.Signals[how])
        wait_for(lambda: not is_alive(client.pid), "its end")
        client.close()
        own.start()
        assert not client.path.exists()


def test_what_a_worker_that_is_killed_has_started_is_ended(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write_source(source, "import signal; signal.signal(15, signal.SIG_IGN); subprocess.run(['sleep', '1000'])")
    files = {"requirements.txt": "./built\n"}
    files |= {f"built/{path.name}": path.read_text() for path in source.iterdir()}
    package = tmp_path / "package"
    package.write_bytes(make_plugin_package("echo", files=files))
    with make_supervisord() as own:
        own.start()
        with connect(own) as client:
            client.ask("open", install_dir=str(own.root / "installed"))
            with package.open("rb") as file:
                socket.send_fds(client.socket, [b'{"do": "unpack"}\n'], [file.fileno()])
                staged = client.read()["ok"]["staged"]
            client.ask("place", staged=staged, plugin_id="echo", version="1-0")
            client.send("build", plugin_id="echo", version="1-0", python="", seconds=DEADLINE_SECONDS)
            wait_for(lambda: any("sleep" in read_command(pid) for pid in own.find(".worker-1")), "the build")
            os.kill(client.pid, signal.SIGKILL)
            wait_for(lambda: not own.find(".worker-1"), "all of it to end")


@pytest.mark.parametrize("what", ["processes", "files", "folder"])
def test_a_shortage_is_a_fault_and_leaves_nothing(what: str) -> None:
    with make_supervisord("short") as own:
        (own.root / "short.py").write_text(SHORT.format(what=what))
        own.start()
        before = own.count_descriptors()
        for _ in range(3):
            assert own.fault("plugins.open_worker", 1.0) == "FAILED"
        assert not list(own.root.glob("install-*"))
        wait_for(lambda: own.count_descriptors() <= before, "nothing to be leaked")
        (own.root / "enough").touch()
        with connect(own) as client:
            assert client.ask("open", install_dir="/") == {"ok": {}}


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_with_two_users_it_is_the_plugins_user_and_only_the_services_group_may_connect() -> None:
    service, plugins = pwd.getpwnam("daemon"), pwd.getpwnam("nobody")
    options = f"service_uid={service.pw_uid}\nservice_gid={service.pw_gid}\nplugins_uid={plugins.pw_uid}\n"
    with make_supervisord(extension=options) as own:
        own.root.chmod(0o711)
        own.start()
        with connect(own) as client:
            client.ask("open", install_dir="/")  # it has been executed
            status = Path(f"/proc/{client.pid}").stat()
            assert (status.st_uid, status.st_gid) == (plugins.pw_uid, plugins.pw_gid)
            status = client.path.stat()
            assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (0, service.pw_gid, 0o660)
            assert read_environ(client.pid)["HOME"] == plugins.pw_dir
