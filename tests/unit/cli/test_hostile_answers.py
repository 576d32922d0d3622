"""Commands that ask a server which is broken, or wants to control the terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.cli.main import main

from tests.helpers.scripted_server import make_problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.scripted_server import Request, ScriptedServer

EVIL = "x\x1b]52;c;QQ==\x07\x1b[2J\x1b[?2004h\x9b31m\x9d8;;y\x9c\x00\u202e\u2066\r\b\x7f\n"
PLUGIN: dict[str, Any] = {
    **dict.fromkeys(("id", "plugin_id", "version", "status", "state", "health", "detail", "disabled", "node"), EVIL),
    **dict.fromkeys(("pid", "restarts", "message"), EVIL),
    "enabled": True,
    "queued": True,
    "unmet": [EVIL],
    "uptime": 5,
    "ok": True,
    "remembered": False,
    "tasks": [
        {**dict.fromkeys(("node", "state", "pid", "at", "error", "exit_code"), EVIL), "slot": 1, "lost": False},
    ],
}
FAILED = {"plugin_id": EVIL, "ok": False, "problem": {"detail": EVIL, "code": "start_failed", "status": 500}}
ENTRY = dict.fromkeys(
    ("id", "at", "until", "times", "kind", "plugin_id", "verb", "subject", "status", "state", "health", "outcome"), EVIL
)
IDENTITY = dict.fromkeys(("name", "role", "created_at", "expires_at", "created_by", "token"), EVIL) | {
    "plugins": [EVIL]
}
NODE = {
    **dict.fromkeys(("name", "state", "role", "availability", "tasks", "detail"), EVIL),
    "leader": True,
    "cpus": 1,
    "memory": 1,
    "plugins": [EVIL],
}
OPERATION = dict.fromkeys(("id", "begun_at", "verb", "plugin_id", "version", "by", "state", "phase"), EVIL)
VERSION = dict.fromkeys(("version", "installed_at", "installed_by", "source", "sha256", "python"), EVIL)
USAGE = {"plugin_id": EVIL, "cpu_percent": 1.0, "memory_mb": 1.0, "num_threads": EVIL}
ANSWERS: dict[str, Any] = {
    "/plugins": {"plugins": [PLUGIN], "message": EVIL},
    "/plugin/status": {"plugins": {EVIL: PLUGIN}, **PLUGIN},
    "/plugin/metrics": {"metrics": [USAGE], "time": EVIL},
    "/plugin/x/logs": {"logs": [dict.fromkeys(("timestamp", "level", "file", "line", "message"), EVIL)]},
    "/plugin/x/versions": {"installed": True, "versions": [VERSION]},
    "/journal": {"entries": [ENTRY]},
    "/nodes": {"nodes": [NODE]},
    "/whoami": IDENTITY,
    "/identities": {"identities": [IDENTITY], **IDENTITY},
    "/identities/x/rotate": IDENTITY,
    "/operations": {"operations": [OPERATION]},
    "/operations/x": {**OPERATION, "log": [EVIL], "problem": FAILED["problem"]},
    **{f"/plugins/{verb}": {"results": [PLUGIN, FAILED]} for verb in ("start", "stop", "reload")},
}
COMMANDS = (
    ["ls"],
    ["status"],
    ["status", "x"],
    ["start", "--all"],
    ["stop", "--all"],
    ["reload", "--all", "--no-wait"],
    ["disable", "x"],
    ["enable", "x"],
    ["top", "--once"],
    ["journal"],
    ["nodes"],
    ["whoami"],
    ["identity", "list"],
    ["identity", "rotate", "x"],
    ["versions", "x"],
    ["operations"],
    ["operations", "x"],
    ["config", "set", "x", "-", "--reload"],
)
STREAMS = {
    "events": ("/events", ["events"]),
    "list": ("/events", ["ls", "--watch"]),
    "statuses": ("/events", ["status", "--watch"]),
    "journal": ("/journal/stream", ["journal", "-f"]),
    "logs": ("/plugin/x/logs/stream", ["logs", "x", "-f"]),
}


def answer(answers: dict[str, Any]) -> Callable[[Request], tuple[int, bytes]]:
    def respond(request: Request) -> tuple[int, bytes]:
        return 200, json.dumps(answers.get(request.path.partition("?")[0], PLUGIN)).encode()

    return respond


def make_event(name: str, data: object) -> bytes:
    return f"event: {name}\nid: 1\ndata: {json.dumps(data)}\n\n".encode()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_answer_controls_a_terminal(
    server: ScriptedServer, command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    server.respond = answer(ANSWERS)
    main(command)
    shown = capsys.readouterr()
    assert shown.out + shown.err
    assert all(line.isprintable() for line in (shown.out + shown.err).splitlines())
    assert "\r" not in shown.out + shown.err


@pytest.mark.parametrize("kind", STREAMS)
def test_no_event_controls_a_terminal(server: ScriptedServer, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    path, command = STREAMS[kind]
    plugins = {"plugins": [PLUGIN], "time": EVIL}
    other = {**PLUGIN, "status": f"{EVIL}2", "time": EVIL}
    nodes = {"nodes": [NODE]}
    events = {
        "/events": (("snapshot", plugins), ("status", other), ("nodes", {"nodes": []}), ("nodes", nodes),
                    ("operation", OPERATION), ("operation", OPERATION | {"state": "running"}),
                    ("unavailable", {"detail": EVIL})),
        "/journal/stream": (("entry", ENTRY | {"id": 7}),),
        "/plugin/x/logs/stream": (("initial", ANSWERS["/plugin/x/logs"]), ("append", ANSWERS["/plugin/x/logs"])),
    }  # fmt: skip
    streams = [b"".join(make_event(name, data) for name, data in events[path])]
    named = {"/plugins": {"plugins": [PLUGIN, {**PLUGIN, "id": "x"}]}, "/plugin/status": {"plugins": {"x": PLUGIN}}}

    def respond(request: Request) -> tuple[int, bytes]:
        if request.path.partition("?")[0] != path:
            return answer({**ANSWERS, **named})(request)
        # then a rejection, which ends it
        return (200, streams.pop()) if streams else (404, make_problem(detail=EVIL, status=404))

    server.respond = respond
    server.headers = {"Content-Type": "text/event-stream"}
    assert main(command) == 1
    shown = capsys.readouterr()
    assert "]52" in shown.out
    assert all(line.isprintable() for line in (shown.out + shown.err).splitlines())
    assert "\r" not in shown.out + shown.err


@pytest.mark.parametrize("body", [b"[]", b"{}", b'"x"', b"null", b"7", b"[" * 100_000, b'{"plugins": [[]]}'])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_an_answer_of_another_shape_is_no_traceback(
    server: ScriptedServer,
    command: list[str],
    body: bytes,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    server.respond = lambda _: (200, body)
    main(command)
    assert "Traceback" not in capsys.readouterr().err


def test_what_is_said_of_an_answer_of_another_shape(server: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.respond = lambda _: (200, b'{"plugins": [7]}')
    assert main(["ls"]) == 2
    words = capsys.readouterr().err
    assert words.startswith("plugvisor: cannot use what the service has answered: it is not that of a Plugvisor of")
    assert words.endswith(", AttributeError)\n")


def test_an_event_without_end(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up, and nothing grows without a limit."""
    monkeypatch.setattr("plugvisor.cli.connection.events._LONGEST_BYTES", 1000)
    bodies = [b"data: 1\n" * 10_000]
    server.headers = {"Content-Type": "text/event-stream"}
    server.respond = lambda _: (200, bodies.pop()) if bodies else (404, make_problem(detail="gone"))
    assert main(["events"]) == 1
    assert not bodies
