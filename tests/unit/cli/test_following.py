"""Following streams that break, against a scripted service."""

from __future__ import annotations

import itertools
import json
import threading
from collections import Counter

import pytest
from plugvisor.cli.client import Client, Credential
from plugvisor.cli.main import main
from plugvisor.cli.streams import following
from plugvisor.cli.streams.following import FollowedStream
from plugvisor.cli.streams.log_follower import Filter, follow_logs
from plugvisor.cli.streams.log_lines import LineFormat
from plugvisor.errors import CommandRejected

from tests.helpers.scripted_server import STREAM, Request, ScriptedServer, make_problem
from tests.helpers.waiting import wait_for

CREDENTIAL = Credential("pv_a-token-for-tests", "PLUGVISOR_TOKEN")
GONE = (404, make_problem(detail="there is no plugin 'a'"))


@pytest.fixture(autouse=True)
def stream_headers(server: ScriptedServer) -> None:
    server.headers = STREAM


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it try again at once."""
    monkeypatch.setattr(following, "RETRY_SECONDS", 0.01)


def event(name: str, data: str, event_id: str = "") -> bytes:
    fields = [f"event: {name}", *([f"id: {event_id}"] if event_id else []), f"data: {data}"]
    return "".join(f"{field}\n" for field in [*fields, ""]).encode()


def line(message: str) -> str:
    return f'{{"timestamp": null, "level": null, "file": null, "line": null, "message": "{message}"}}'


def lines(*messages: str) -> str:
    return f'{{"logs": [{", ".join(map(line, messages))}]}}'


def test_a_stream_is_resumed_from_its_last_event(server: ScriptedServer) -> None:
    server.answers = [
        (200, event("entry", '{"id": 1}', "7") + event("entry", '{"id": 2}', "8")),
        (503, make_problem(detail="full", retry_after=0)),
        (200, event("entry", '{"id": 3}', "9")),
    ]
    said: list[str] = []
    stream = FollowedStream(Client(server.url, CREDENTIAL), "/x?lines=1", "/x?lines=9", said.append)
    assert [seen.data["id"] for seen in itertools.islice(stream, 3)] == [1, 2, 3]
    assert stream.last_id == "9"
    assert said == ["full; trying again", ""]
    assert [path for _, path, *_ in server.requests] == ["/x?lines=1", "/x?lines=9", "/x?lines=9"]
    assert [headers.get("Last-Event-ID") for _, _, headers, _ in server.requests] == [None, "8", "8"]


def test_a_stream_that_is_not_admitted_any_more(server: ScriptedServer) -> None:
    server.answers = [(200, b""), GONE]
    with pytest.raises(CommandRejected, match="there is no plugin"):
        list(FollowedStream(Client(server.url, CREDENTIAL), "/x"))


def follow(server: ScriptedServer, plugin_id: str) -> None:
    """Follow a log until the service says that there is no such plugin any more."""
    client = Client(server.url, CREDENTIAL)
    with pytest.raises(CommandRejected, match="there is no plugin"):
        follow_logs(client, [plugin_id], Filter(5), LineFormat([plugin_id], colored=False, as_json=False))


def test_a_log_that_did_not_exist(server: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Without an id there is nothing to resume from: what it begins with then is all new."""
    server.answers = [(200, event("initial", lines())), (200, event("initial", lines("one", "two"), "2")), GONE]
    follow(server, "a")
    shown = capsys.readouterr()
    assert shown.out.splitlines() == ["one", "two"]
    assert "missing" not in shown.err
    assert [path.partition("=")[2] for _, path, *_ in server.requests] == ["5", "10000", "10000"]


def test_a_log_that_begins_again(server: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.answers = [
        (200, event("initial", lines("one"), "1") + event("append", lines("two"), "2")),
        (200, event("initial", lines("nine"), "9")),
        GONE,
    ]
    follow(server, "a")
    shown = capsys.readouterr()
    assert shown.out.splitlines() == ["one", "two", "nine"]
    assert "lines of 'a' may be missing here" in shown.err


@pytest.mark.parametrize("begins", ["together", "when the other has ended"])
def test_a_service_that_is_gone(server: ScriptedServer, capsys: pytest.CaptureFixture[str], begins: str) -> None:
    """Of several logs it is said once, even if one has not begun yet."""
    answers = [(200, event("initial", lines("one"), "1")), (503, make_problem(detail="full", retry_after=0)), GONE]
    counts: Counter[str] = Counter()

    def respond(request: Request) -> tuple[int, bytes]:
        """Each log is answered with one after the other."""
        plugin_id = request.path.split("/")[2]
        if plugin_id == "b" and begins == "when the other has ended":
            wait_for(lambda: all(thread.name != "log a" for thread in threading.enumerate()), "the end of the other")
        counts[plugin_id] += 1
        return answers[counts[plugin_id] - 1]

    server.respond = respond
    plugin_ids = ["a", "b"]
    with pytest.raises(CommandRejected, match="there is no plugin"):
        follow_logs(
            Client(server.url, CREDENTIAL), plugin_ids, Filter(5), LineFormat(plugin_ids, colored=False, as_json=False)
        )
    shown = capsys.readouterr()
    assert shown.out.count("one") == 2
    assert shown.err.splitlines() == [
        "plugvisor: full; trying again",
        "plugvisor: there is no plugin 'a'",
    ]


@pytest.mark.parametrize("patterns", [["a"], ["a", "b*"], []])
def test_nodes_are_events_of_no_plugin(
    patterns: list[str], server: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    known = (200, b'{"plugins": [{"id": "a"}, {"id": "b"}]}')
    happened = event("nodes", '{"nodes": []}') + event("status", '{"plugin_id": "a"}')
    server.answers = [*([known] if patterns else []), (200, happened), GONE]
    assert main(["events", "--json", *patterns]) == 1
    shown = [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]
    assert shown == (["status"] if patterns else ["nodes", "status"])
