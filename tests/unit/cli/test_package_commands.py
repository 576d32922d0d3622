"""`plugvisor uninstall`, `versions` and `operations`: what they send, print and return; against a scripted service."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
from urllib.parse import urlsplit

import pytest
from plugvisor.cli.main import main

from tests.helpers.package_answers import BEGUN, DONE, LISTED, encode, make_operation, make_versions, read_query
from tests.helpers.scripted_server import ScriptedServer, make_problem
from tests.helpers.waiting import DEADLINE_SECONDS

PLUGINS = {
    "plugins": [
        LISTED,
        {"id": "web", "status": "running", "depends_on": [{"id": "echo", "condition": "ready", "required": True}]},
        {"id": "front", "status": "starting", "depends_on": [{"id": "web", "condition": "ready", "required": True}]},
        {"id": "idle", "status": "stopped", "depends_on": [{"id": "echo", "condition": "ready", "required": True}]},
        {"id": "loose", "status": "running", "depends_on": [{"id": "echo", "condition": "ready", "required": False}]},
    ]
}


# -- uninstall


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
