"""`plugvisor install` and its kin: what they send, print and return; against a scripted service."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from plugvisor.cli.main import main

from tests.helpers.scripted_server import Request, ScriptedServer, make_problem
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from pathlib import Path

ZIP = b"PK\x03\x04 the rest of it"
BEGUN = {
    "id": "op-1", "verb": "install", "state": "running", "phase": "received", "percent": 5, "lines": 0,
    "begun_at": "2026-11-29T18:05:06.000000+00:00", "by": "admin",
}  # fmt: skip
DONE = {**BEGUN, "plugin_id": "echo", "version": "1.1.0", "state": "succeeded", "phase": "swap", "percent": 100}
LISTED = {"id": "echo", "status": "running", "depends_on": []}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    path = tmp_path / "echo 1.1.0.zip"
    path.write_bytes(ZIP)
    return path


def encode(value: object) -> bytes:
    return json.dumps(value).encode()


def make_operation(*log: str, lines: int | None = None, **members: object) -> tuple[int, bytes]:
    """An answer of `GET /operations/{id}`."""
    return 200, encode({**DONE, "log": log, "lines": len(log) if lines is None else lines, **members})


def make_versions(*versions: str, installed: bool = True) -> tuple[int, bytes]:
    """An answer of `GET /plugin/{id}/versions`."""
    listed = [
        {"version": version, "sha256": "ab" * 32, "source": "echo.zip", "installed_at": BEGUN["begun_at"],
         "installed_by": "deploy"}
        for version in versions
    ]  # fmt: skip
    if listed:
        listed[0] |= {"current": True, "environment": True, "python": "3.12.1"}
    return 200, encode({"plugin_id": "echo", "installed": installed, "versions": listed})


def read_query(request: Request) -> dict[str, list[str]]:
    return parse_qs(urlsplit(request.path).query)


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


# -- uninstall

PLUGINS = {
    "plugins": [
        LISTED,
        {"id": "web", "status": "running", "depends_on": [{"id": "echo", "condition": "ready", "required": True}]},
        {"id": "front", "status": "starting", "depends_on": [{"id": "web", "condition": "ready", "required": True}]},
        {"id": "idle", "status": "stopped", "depends_on": [{"id": "echo", "condition": "ready", "required": True}]},
        {"id": "loose", "status": "running", "depends_on": [{"id": "echo", "condition": "ready", "required": False}]},
    ]
}


def test_uninstall(server: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.answers = [
        make_versions("1.1.0", "1.0.0"),
        (200, encode(PLUGINS)),
        (202, encode(BEGUN)),
        make_operation(verb="uninstall"),
    ]
    assert main(["uninstall", "echo", "--yes", "--purge", "--dependents"]) == 0
    deleted = server.requests[2]
    assert (deleted.method, urlsplit(deleted.path).path) == ("DELETE", "/plugin/echo")
    assert read_query(deleted) == {"purge": ["true"], "dependents": ["true"], "wait": ["0"]}
    assert capsys.readouterr().out == "'echo' is removed, with its data\n"


def test_nothing_is_removed_without_an_answer(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers = [make_versions("1.1.0", "1.0.0"), (200, encode(PLUGINS))]
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert main(["uninstall", "echo"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "This does not stop front and web, which require it, without --dependents; "
        "stops echo, if it runs; removes its versions 1.1.0 and 1.0.0; keeps its data; --purge removes it too.",
        "plugvisor: cannot ask, because standard input is no terminal: add --yes",
    ]
    assert len(server.requests) == 2


@pytest.mark.parametrize(("answer", "status"), [(b"y\n", 0), (b"\n", 1), (b"no\n", 1)])
def test_it_asks_on_a_terminal(server: ScriptedServer, answer: bytes, status: int) -> None:
    server.answers = [
        make_versions("1.1.0"),
        (200, encode({"plugins": [LISTED]})),
        (202, encode(BEGUN)),
        make_operation(verb="uninstall"),
    ]
    controller, terminal = pty.openpty()
    try:
        os.write(controller, answer)
        command = [sys.executable, "-m", "plugvisor", "uninstall", "echo"]
        done = subprocess.run(
            command, stdin=terminal, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False
        )
    finally:
        os.close(controller)
        os.close(terminal)
    assert done.returncode == status, done.stderr
    assert "Remove 'echo'? [y/N] " in done.stderr
    assert [request.method for request in server.requests].count("DELETE") == (status == 0)


def test_data_that_was_kept_can_be_purged(server: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    missing = make_problem(detail="there is no plugin 'echo'", status=404)
    server.answers = [(404, missing), (404, missing), (202, encode(BEGUN)), make_operation(verb="uninstall")]
    assert main(["uninstall", "echo", "--yes"]) == 1
    assert main(["uninstall", "echo", "--yes", "--purge"]) == 0
    assert capsys.readouterr().out == "'echo' is removed, with its data\n"


# -- what there is


def test_versions(server: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.answers = [make_versions("1.1.0", "1.0.0\x1b"), make_versions(installed=False)]
    assert main(["versions", "echo"]) == 0
    head, current, other = capsys.readouterr().out.splitlines()
    assert head.split() == ["VERSION", "INSTALLED", "BY", "FROM", "SHA-256", "PYTHON"]
    assert current.split()[0:2] == ["1.1.0", "current"]
    assert current.split()[-4:] == ["deploy", "echo.zip", "abababababab", "3.12.1"]
    assert other.split()[0] == "1.0.0\\x1b"
    assert main(["versions", "echo"]) == 0
    assert capsys.readouterr().out == "'echo' was put there by hand: it has no versions\n"


def test_operations(server: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    problem = json.loads(make_problem(code="start_failed", detail="it failed")) | {"log": ["no way"]}
    failed = {**DONE, "id": "op-2", "state": "failed", "problem": problem}
    cancelled = {**DONE, "id": "op-3", "state": "cancelled", "problem": json.loads(make_problem(code="cancelled"))}
    answer = 200, encode({"operations": [BEGUN, failed, cancelled]})
    server.answers = [answer, answer, answer, answer, make_operation("a line", "it failed", **failed)]
    assert main(["operations"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["ID", "BEGUN", "VERB", "PLUGIN", "VERSION", "BY", "STATE"]
    for row, end in zip(rows, ["  received, 5 %", "  failed: start_failed", "  cancelled"], strict=True):
        assert row.endswith(end)
    for patterns, ids in ((["echo"], ["op-2", "op-3"]), (["web", "e*o"], ["op-2", "op-3"]), (["ech"], [])):
        chosen = [word for pattern in patterns for word in ("--plugin", pattern)]
        assert main(["operations", *chosen, "--json"]) == 0
        assert [each["id"] for each in json.loads(capsys.readouterr().out)["operations"]] == ids
    assert main(["operations", "op-2"]) == 0
    *lines, row = capsys.readouterr().out.splitlines()
    assert lines == ["  a line", "the last lines of its log since the change began:", "  no way", "it failed"]
    assert row.split()[0] == "op-2"
    assert main(["operations", "--cancel"]) == 2


def test_a_reader_of_a_list_may_go_away(server: ScriptedServer) -> None:
    server.answers = [(200, encode({"operations": [BEGUN]}))]
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "plugvisor", "operations"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, timeout=DEADLINE_SECONDS, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


def test_an_operation_is_cancelled(server: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.answers = [(200, encode(BEGUN)), make_operation(state="cancelled")]
    assert main(["operations", "op-1", "--cancel", "--follow"]) == 0
    assert [request.method for request in server.requests] == ["DELETE", "GET"]
    assert capsys.readouterr().out.endswith("  cancelled\n")


def test_somebody_else_cancels_it(server: ScriptedServer, package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    problem = json.loads(make_problem(detail="it was cancelled", code="cancelled"))
    server.answers = [(202, encode(BEGUN)), make_operation(state="cancelled", problem=problem)]
    assert main(["install", str(package)]) == 1
    assert capsys.readouterr().err == "plugvisor: it was cancelled\n"
