"""The client of commands: what it sends, what it reads, and how it fails; against a scripted server."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from typing import TYPE_CHECKING

import pytest
from plugvisor.cli.client import Client, Credential, NoAnswer
from plugvisor.cli.connection.paths import make_query, quote_part
from plugvisor.cli.main import main
from plugvisor.errors import CommandRejected

from tests.helpers.scripted_server import STREAM, ScriptedServer, make_problem, run_server

if TYPE_CHECKING:
    from pathlib import Path

CREDENTIAL = Credential("pv_a-token-for-tests", "PLUGVISOR_TOKEN")


# -- requests and answers


def test_a_request_and_its_answer(server: ScriptedServer) -> None:
    server.answers = [(200, b'{"a": 1}'), (204, b"")]
    client = Client(server.url, CREDENTIAL)
    assert client.call("POST", "/identities", {"name": "ops"}) == {"a": 1}
    assert client.call("DELETE", "/identities/ops") == {}
    (method, path, headers, body), other = server.requests
    assert (method, path, json.loads(body)) == ("POST", "/identities", {"name": "ops"})
    assert headers["Authorization"] == "Bearer pv_a-token-for-tests"
    assert other[:2] == ("DELETE", "/identities/ops")


def test_a_problem_is_its_sentence(server: ScriptedServer) -> None:
    server.answers = [
        (429, make_problem(detail="too many \x1b[31m", retry_after=7)),
        (503, make_problem(detail="add these lines:\n[a]\rb")),
        (401, make_problem(detail="wrong")),
    ]
    client = Client(server.url, CREDENTIAL)
    with pytest.raises(CommandRejected) as caught:
        client.call("GET", "/x")
    assert (str(caught.value), caught.value.status, caught.value.retry_after) == ("too many \\x1b[31m", 429, 7)
    with pytest.raises(CommandRejected) as caught:
        client.call("GET", "/x")
    assert str(caught.value) == "add these lines:\n  [a]\\rb"
    with pytest.raises(CommandRejected, match=rf"^wrong; it came from PLUGVISOR_TOKEN, and was sent to {server.url}$"):
        client.call("GET", "/x")


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"<html>"),
        (200, b"[]"),
        (200, b"null"),
        (200, b'"ok"'),
        (404, b"<html>"),
        (400, b"{}"),
        (400, b"[]"),
        (200, b"\xff"),
        (400, b"[" * 100_000),
    ],
)
def test_an_answer_of_another_server(server: ScriptedServer, answer: tuple[int, bytes]) -> None:
    server.answers = [answer]
    with pytest.raises(NoAnswer, match="is not that of a Plugvisor") as caught:
        Client(server.url, CREDENTIAL).call("GET", "/x")
    assert CREDENTIAL.token not in str(caught.value)


@pytest.mark.parametrize("answer", [b"{}", b"", b'{"status": "ok"}', b'{"plugins": [{}]}'])
def test_an_answer_without_what_every_plugvisor_sends(server: ScriptedServer, answer: bytes) -> None:
    server.answers = [(200, answer)]
    found = Client(server.url, CREDENTIAL).call("GET", "/plugins")
    assert found.get("message") is None
    with pytest.raises(NoAnswer, match=f"cannot use the answer from {server.url}: it is not that of a Plugvisor"):
        found["plugins"][0]["id"]


ASKING = (
    "ls", "ls --watch", "status a", "start a b", "logs", "logs -f", "top", "events", "events a", "journal",
    "journal -f", "nodes", "versions a", "operations", "identity list", "whoami",
)  # fmt: skip


@pytest.mark.parametrize("words", ASKING)
def test_commands_that_ask_another_service(
    words: str, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server.respond = lambda _request: (200, b'{"status": "ok"}')
    monkeypatch.setenv("PLUGVISOR_URL", server.url)
    monkeypatch.setenv("PLUGVISOR_TOKEN", CREDENTIAL.token)
    status = main(words.split())
    assert (status, capsys.readouterr().err.count("is not that of a Plugvisor of this version")) == (2, 1)


@pytest.mark.parametrize("garbage", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"])
def test_an_answer_that_is_not_http(garbage: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(garbage)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(NoAnswer, match=r"^cannot "):
            Client(f"http://127.0.0.1:{listener.getsockname()[1]}", CREDENTIAL).call("GET", "/x")
        thread.join()


def test_a_redirect_is_not_followed(server: ScriptedServer) -> None:
    server.headers = {"Location": "http://127.0.0.1:1/elsewhere"}
    for status in (301, 302, 307, 308):
        server.answers = [(status, b"")]
        with pytest.raises(NoAnswer, match=f"{server.url} leads to another address, which is not followed"):
            Client(server.url, CREDENTIAL).call("POST", "/x")
    assert len(server.requests) == 4


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(NoAnswer, match=f"cannot reach the service at {url}: Connection refused; `plugvisor up`"):
        Client(url, CREDENTIAL).call("GET", "/x")


def test_a_unix_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            lines = [self.rfile.readline() for _ in range(2)]
            assert lines == [b"GET /x HTTP/1.1\r\n", b"Host: localhost\r\n"]
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    with run_server(socketserver.ThreadingUnixStreamServer("http.sock", Handler)):
        assert Client("unix://http.sock", CREDENTIAL).call("GET", "/x") == {}


def test_what_is_no_utf_8_is_sent_as_it_is() -> None:
    assert quote_part("a/b\udcff?") == "a%2Fb%FF%3F"
    assert make_query({"id": "\udcff&", "empty": "", "none": None, "count": 0}) == "?id=%FF%26&count=0"
    assert make_query({"empty": ""}) == ""


# -- streams

EVENTS = (
    b': hello\n\nid: 7\n\nevent: entry\nid: 8\ndata: {"id": 1}\n\n'
    b'event: entry\r\nid:9\r\ndata: {"id":\r\ndata: 2}\r\n\r\n'
    b'data: {"half": 1}\nid: 10\n'
)


def test_a_stream_of_events(server: ScriptedServer) -> None:
    server.headers = STREAM
    server.answers = [(200, EVENTS), (200, b"")]
    client = Client(server.url, CREDENTIAL)
    stream = client.stream("/journal/stream")
    seen = [(event.name, event.data, stream.last_id) for event in stream]
    assert seen == [("entry", {"id": 1}, "8"), ("entry", {"id": 2}, "9")]
    assert stream.last_id == "9", "what did not arrive whole is resumed from"
    assert list(client.stream("/journal/stream", stream.last_id)) == []
    assert "Last-Event-ID" not in server.requests[0][2]
    assert server.requests[1][2]["Last-Event-ID"] == "9"


def test_a_stream_that_is_known_before_its_first_event(server: ScriptedServer) -> None:
    server.headers = STREAM
    server.answers = [(200, b"id: 7\n\n"), (503, make_problem(detail="full", retry_after=1))]
    stream = Client(server.url, CREDENTIAL).stream("/x")
    assert list(stream) == []
    assert stream.last_id == "7"
    with pytest.raises(CommandRejected, match="full"):
        Client(server.url, CREDENTIAL).stream("/x")
