"""`plugvisor install` and `update`: what they send, print and return; against a scripted service."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from plugvisor.cli.main import main

from tests.helpers.package_answers import BEGUN, LISTED, ZIP, encode, make_operation, make_versions, read_query
from tests.helpers.scripted_server import Request, ScriptedServer, make_problem
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def package(tmp_path: Path) -> Path:
    path = tmp_path / "echo 1.1.0.zip"
    path.write_bytes(ZIP)
    return path


# -- install


def test_a_package_is_sent_and_followed(
    server: ScriptedServer, package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers = [
        (202, encode(BEGUN)),
        make_operation("unpacked", state="running", phase="environment", percent=30),
        make_operation("unpacked", "a line\x1b[2J"),
    ]
    assert main(["install", str(package), "--start", "--sha256", "AB" * 32]) == 0
    sent, first, last = server.requests
    assert (sent.method, urlsplit(sent.path).path, sent.body) == ("POST", "/plugins/install", ZIP)
    assert read_query(sent) == {"start": ["true"], "sha256": ["ab" * 32], "source": ["echo 1.1.0.zip"]}
    assert sent.headers["Content-Type"] == "application/zip"
    assert sent.headers["Authorization"] == "Bearer pv_a-token-for-tests"
    assert [first[:2], last[:2]] == [("GET", "/operations/op-1")] * 2
    printed = capsys.readouterr()
    assert printed.out == "'echo' 1.1.0 is installed and started\n"
    assert printed.err.splitlines() == ["  unpacked", "  a line\\x1b[2J"]


def test_an_update_is_of_that_plugin(server: ScriptedServer, package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server.answers = [
        make_versions("1.0.0"),
        (202, encode(BEGUN)),
        make_operation(verb="update", previous_version="1.0.0"),
    ]
    assert main(["update", "echo", str(package)]) == 0
    assert read_query(server.requests[1]) == {
        "replace": ["true"], "plugin_id": ["echo"], "source": ["echo 1.1.0.zip"],
    }  # fmt: skip
    assert capsys.readouterr().out == "'echo' is updated from 1.0.0 to 1.1.0\n"


@pytest.mark.parametrize(("verb", "done"), [("update", "is updated"), ("rollback", "is rolled back")])
def test_another_package_of_the_same_version(
    server: ScriptedServer, package: Path, capsys: pytest.CaptureFixture[str], verb: str, done: str
) -> None:
    begun, ended = (202, encode(BEGUN)), make_operation(verb=verb, previous_version="1.1.0")
    server.answers = [make_versions("1.1.0"), begun, ended] if verb == "update" else [begun, ended]
    assert main([verb, "echo", *([str(package)] if verb == "update" else [])]) == 0
    assert capsys.readouterr().out == f"'echo' {done}, and is still version 1.1.0\n"


def test_what_was_put_there_by_hand_is_not_updated(
    server: ScriptedServer, package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers = [make_versions(installed=False)]
    assert main(["update", "echo", str(package)]) == 1
    assert "put there by hand" in capsys.readouterr().err
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({"unchanged": True}, "'echo' 1.1.0 was current already\n"),
        ({"verb": "rollback", "previous_version": "1.2.0"}, "'echo' is rolled back from 1.2.0 to 1.1.0\n"),
        ({"verb": "rollback", "version": ""}, "'echo' is rolled back\n"),
    ],
)
def test_what_was_done(
    server: ScriptedServer, members: dict[str, Any], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers = [(202, encode(BEGUN)), make_operation(**members)]
    assert main(["rollback", "echo"]) == 0
    assert server.requests[0][:2] == ("POST", "/plugin/echo/rollback?wait=0")
    assert capsys.readouterr().out == sentence


def test_it_is_not_followed(server: ScriptedServer, package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server.answers = [(202, encode(BEGUN))]
    assert main(["install", str(package), "--no-wait"]) == 0
    assert capsys.readouterr() == ("op-1\n", "")


def test_json_is_all_there_is(server: ScriptedServer, package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    problem = json.loads(make_problem(detail="cannot install it"))
    server.answers = [(202, encode(BEGUN)), make_operation("a line", state="failed", problem=problem)]
    assert main(["install", str(package), "--json"]) == 1
    printed = capsys.readouterr()
    assert json.loads(printed.out)["problem"] == problem
    assert printed.err == "plugvisor: cannot install it\n"


def test_a_failed_start_shows_the_last_lines(
    server: ScriptedServer, package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    problem = {
        **json.loads(make_problem(detail="it ended at once", code="start_failed", status=500)),
        "rolled_back": True,
        "log": ["Traceback …", "KeyError\x1b"],
    }
    server.answers = [(202, encode(BEGUN)), make_operation(state="failed", problem=problem)]
    assert main(["install", str(package), "--replace"]) == 1
    assert capsys.readouterr().err.splitlines()[-4:] == [
        "the last lines of its log since the change began:",
        "  Traceback …",
        "  KeyError\\x1b",
        "plugvisor: it ended at once",
    ]


def test_what_a_terminal_shows(server: ScriptedServer, package: Path) -> None:
    """What the operation is at stands below its lines, and is gone at the end."""
    building = {"state": "running", "phase": "environment", "percent": 30}
    server.answers = [
        (202, encode(BEGUN)), make_operation("one", **building), make_operation("one", **building),
        make_operation("one", "two"),
    ]  # fmt: skip
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "plugvisor", "install", str(package)]
    with os.fdopen(controller, "rb", buffering=0) as output:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=terminal, timeout=DEADLINE_SECONDS,
            check=False,
        )  # fmt: skip
        os.close(terminal)
        shown = b""
        with contextlib.suppress(OSError):  # the end of a terminal
            while part := output.read(65536):
                shown += part
    assert done.returncode == 0
    lines = shown.decode().replace("\r\n", "\n").split("\n")
    assert lines[0].startswith("\recho 1.1.0.zip: 100 % sent")
    assert lines[1:] == [
        "\r\x1b[K  one", " 30 %  environment\r\x1b[K 30 %  environment\r\x1b[K  two", "",
    ]  # fmt: skip


def test_lines_that_the_service_has_dropped(
    server: ScriptedServer, package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers = [(202, encode(BEGUN)), make_operation("x", "y", lines=1000)]
    assert main(["install", str(package)]) == 0
    assert capsys.readouterr().err.splitlines() == ["  … 998 lines are missing here", "  x", "  y"]


def test_the_service_restarts_meanwhile(
    server: ScriptedServer, package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    busy = make_problem(detail="supervisord does not answer", retry_after=1)
    server.answers = [(202, encode(BEGUN)), (503, busy), make_operation()]
    assert main(["install", str(package)]) == 0
    assert "supervisord does not answer; trying again" in capsys.readouterr().err


def test_a_package_from_a_pipe(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose length is not known."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("PLUGVISOR_PORT", str(listener.getsockname()[1]))
        monkeypatch.setenv("PLUGVISOR_TOKEN", "pv_a-token-for-tests")
        command = subprocess.Popen(
            [sys.executable, "-m", "plugvisor", "install", "-", "--no-wait"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=False,
        )  # fmt: skip
        assert command.stdin
        command.stdin.write(ZIP)
        command.stdin.close()
        connection, _ = listener.accept()
        received = b""
        with connection:
            while not received.endswith(b"\r\n0\r\n\r\n"):
                received += connection.recv(65536)
            answer = encode(BEGUN)
            connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))
        assert command.stdout
        assert command.stdout.read() == b"op-1\n"
        assert command.wait(DEADLINE_SECONDS) == 0
        command.stdout.close()
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert body == b"%x\r\n%b\r\n0\r\n\r\n" % (len(ZIP), ZIP)


@pytest.mark.parametrize("words", ["install -", "uninstall echo", "config set echo -"])
def test_no_standard_input(server: ScriptedServer, words: str) -> None:
    server.answers = [make_versions("1.1.0"), (200, encode({"plugins": [LISTED]}))]
    command = ["/bin/sh", "-c", f"exec '{sys.executable}' -m plugvisor {words} <&-"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("plugvisor: cannot ")
    assert not [request for request in server.requests if request.method != "GET"]


def test_what_is_no_package(server: ScriptedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.zip").write_bytes(b"Rar!")
    os.mkfifo(tmp_path / "pipe")
    for name, words in (("x.zip", "neither a .zip nor a .tar.gz"), ("none", "No such file"), ("pipe", "no file")):
        assert main(["install", str(tmp_path / name)]) == 2, name
        assert words in capsys.readouterr().err
    assert server.requests == []


def test_a_rejection_ends_the_sending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The service may answer before it has the whole body, and then read no more of it."""
    package = tmp_path / "large.zip"
    with package.open("wb") as file:
        file.write(ZIP)
        file.truncate(64 << 20)
    problem = make_problem(detail="it has more than 1 MB", status=413)
    received = 0
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("PLUGVISOR_PORT", str(listener.getsockname()[1]))
        monkeypatch.setenv("PLUGVISOR_TOKEN", "pv_a-token-for-tests")
        is_answered = threading.Event()

        def serve() -> None:
            nonlocal received
            connection, _ = listener.accept()
            with connection:
                received += len(connection.recv(65536))
                head = f"HTTP/1.1 413 Too Large\r\nContent-Length: {len(problem)}\r\nConnection: close\r\n\r\n"
                connection.sendall(head.encode() + problem)
                is_answered.wait(DEADLINE_SECONDS)

        thread = threading.Thread(target=serve)
        thread.start()
        assert main(["install", str(package)]) == 1
        is_answered.set()
        thread.join()
    assert capsys.readouterr().err == "plugvisor: it has more than 1 MB\n"
    assert received <= 65536


def test_a_file_that_becomes_shorter(
    server: ScriptedServer, package: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, size = os.fstat, len(ZIP)

    def claim_more(descriptor: int) -> Any:
        found = real(descriptor)
        return os.stat_result((*found[:6], found.st_size + 5, *found[7:10])) if found.st_size == size else found

    monkeypatch.setattr("plugvisor.cli.packages.upload.os.fstat", claim_more)
    assert main(["install", str(package)]) == 2
    assert capsys.readouterr().err == "plugvisor: cannot read the package: it became shorter while it was sent\n"


# -- Ctrl-C


def start_command(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "plugvisor", *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


class Service:
    """Has one operation, which goes on until it is cancelled or the test ends it."""

    def __init__(self, server: ScriptedServer, cancel: tuple[int, bytes]) -> None:
        self.state = "running"
        self.server = server
        self.answer_to_cancel = cancel
        server.respond = self.respond

    def respond(self, request: Request) -> tuple[int, bytes]:
        if request.method == "POST":
            return 202, encode(BEGUN)
        if request.method == "DELETE":
            if self.answer_to_cancel[0] == 200:
                self.state = "cancelled"
            return self.answer_to_cancel
        return make_operation("building", state=self.state)

    def count(self, method: str) -> int:
        return sum(request.method == method for request in self.server.requests)


def test_ctrl_c_cancels(server: ScriptedServer, package: Path) -> None:
    service = Service(server, cancel=(200, encode(BEGUN)))
    with start_command("install", str(package)) as command:
        wait_for(lambda: service.count("GET") > 0, "the command to follow")
        command.send_signal(signal.SIGINT)
        out, err = command.communicate(timeout=DEADLINE_SECONDS)
    assert (command.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "plugvisor: cancelled; nothing has changed"
    assert service.count("DELETE") == 1


def test_ctrl_c_when_it_is_too_late(server: ScriptedServer, package: Path) -> None:
    """It is said, and followed to its end; another Ctrl-C would end the command alone."""
    service = Service(server, cancel=(409, make_problem(detail="cannot cancel it: it has gone too far")))
    with start_command("install", str(package)) as command:
        wait_for(lambda: service.count("GET") > 0, "the command to follow")
        command.send_signal(signal.SIGINT)
        wait_for(lambda: service.count("DELETE") > 0, "the command to ask for it")
        service.state = "succeeded"
        out, err = command.communicate(timeout=DEADLINE_SECONDS)
    assert (command.returncode, out) == (0, "'echo' 1.1.0 is installed\n")
    assert "gone too far; the operation goes on, and Ctrl-C ends this command alone" in err


def test_a_second_ctrl_c(server: ScriptedServer, package: Path) -> None:
    service = Service(server, cancel=(409, make_problem(detail="too far")))
    with start_command("install", str(package)) as command:
        wait_for(lambda: service.count("GET") > 0, "the command to follow")
        command.send_signal(signal.SIGINT)
        wait_for(lambda: service.count("DELETE") > 0, "the command to ask for it")
        seen = service.count("GET")
        wait_for(lambda: service.count("GET") > seen, "the command to go on")
        command.send_signal(signal.SIGINT)
        _, err = command.communicate(timeout=DEADLINE_SECONDS)
    assert command.returncode == 130
    assert "`plugvisor operations op-1` shows it" in err
    assert service.count("DELETE") == 1


def test_somebody_else_cancels_it(server: ScriptedServer, package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    problem = json.loads(make_problem(detail="it was cancelled", code="cancelled"))
    server.answers = [(202, encode(BEGUN)), make_operation(state="cancelled", problem=problem)]
    assert main(["install", str(package)]) == 1
    assert capsys.readouterr().err == "plugvisor: it was cancelled\n"
