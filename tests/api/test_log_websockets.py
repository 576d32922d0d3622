"""A log as it grows, over a WebSocket: the same for a client that cannot send a header, and the code in its URL."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.api.auth.gate import BURST
from plugvisor.api.auth.sessions import Sessions
from plugvisor.api.resources.logs import websocket
from plugvisor.api.resources.logs.streams import LogStreams
from plugvisor.logs.files import LogFiles
from plugvisor.settings import Settings
from starlette.websockets import WebSocket
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.helpers.log_clients import (
    open_websocket,
    receive,
    receive_lines,
    refused_with,
    wait_for_close,
)
from tests.helpers.printer_plugin import PRINTER, print_text
from tests.helpers.raw_http import ask, send
from tests.helpers.raw_http import connect as connect_raw
from tests.helpers.stack import ADMIN_CODE, PlugvisorStack
from tests.helpers.stores import make_identities
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from plugvisor.models.stored.identity import Identity

HANDSHAKE = (
    b"GET /ws/logs/_server?code=x HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
MASKED_HELLO = b"\x81\x85\x00\x00\x00\x00hello"


def test_a_websocket(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(PRINTER)
    shared.start_running(plugin_id)
    with open_websocket(shared, plugin_id) as websocket:
        initial = receive(websocket)
        assert initial.keys() == {"type", "logs", "log_file", "total_lines"}
        assert (initial["type"], initial["log_file"], initial["total_lines"]) == ("initial", f"{plugin_id}.log", 1)
        assert initial["logs"][0].keys() == {"timestamp", "level", "file", "line", "message"}
        websocket.send("what a client says")
        websocket.send(b"\xff\x00")
        print_text(shared, plugin_id, b"a\nINFO: b\n")
        assert receive_lines(websocket, 2) == ["a", "b"]
    with open_websocket(shared, "_server") as websocket:
        assert receive(websocket)["log_file"] == "_server.log"


def test_a_websocket_that_is_not_served(shared: PlugvisorStack) -> None:
    """It is never opened: the handshake has an HTTP status, and a problem as its body."""
    for code in ("wrong", "", None, "%E4%BD%A0", "%FF", ADMIN_CODE + "x"):
        problem = refused_with(shared, "_server", code)
        assert (problem["status"], problem["code"]) == (401, "unauthorized")
        assert "admin code" in problem["detail"]
    for plugin_id, name in (("nobody", "nobody"), ("%E4%BD%A0" * 60, "你" * 60)):
        problem = refused_with(shared, plugin_id, ADMIN_CODE)
        assert (problem["status"], problem["code"], problem["plugin_id"]) == (404, "plugin_not_found", name)
    assert refused_with(shared, "nobody", "wrong")["status"] == 401, "a client without a code learns nothing"
    with pytest.raises(InvalidStatus):
        open_websocket(shared, "a/b")
    assert shared.http.get("/ws/logs/_server").status_code == 404


def test_what_is_sent_before_the_handshake_is_answered(shared: PlugvisorStack) -> None:
    """Frames that come with the handshake are neither read as one nor answered."""
    [answer] = ask(shared, HANDSHAKE + b"\r\n" + MASKED_HELLO)
    assert (answer.status, answer.code) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_wrong_codes_are_throttled_wherever_they_come(plugvisor: PlugvisorStack) -> None:
    plugvisor.environ["PLUGVISOR_ADMIN_CODE"] = "ABCD"  # a weak one
    plugvisor.up()
    for number in range(BURST):
        if number % 2:
            assert plugvisor.post("/plugins/refresh", f"wrong{number}").status_code == 401
        else:
            assert refused_with(plugvisor, "_server", f"wrong{number}")["code"] == "unauthorized"
    problem = refused_with(plugvisor, "_server", "ABCD")
    assert (problem["status"], problem["code"]) == (429, "too_many_attempts")
    assert problem["retry_after"] > 0
    assert plugvisor.post("/plugins/refresh", "ABCD").status_code == 429


def test_a_shutdown_while_a_handshake_is_held_back(plugvisor: PlugvisorStack) -> None:
    plugvisor.environ["PLUGVISOR_ADMIN_CODE"] = "ABCD"
    plugvisor.up()
    for number in range(BURST + 1):
        plugvisor.post("/plugins/refresh", f"wrong{number}")
    with connect_raw(plugvisor) as client:
        send(client, HANDSHAKE + b"\r\n")
        assert plugvisor.http.get("/health").status_code == 200, "the handshake has arrived by then"
        plugvisor.rpc("stopProcess", "plugvisor")
    assert plugvisor.rpc("getProcessInfo", "plugvisor")["statename"] == "STOPPED"
    assert "Traceback" not in plugvisor.service_log


def test_the_code_reaches_no_log(plugvisor: PlugvisorStack) -> None:
    plugvisor.up()
    with open_websocket(plugvisor, "_server") as websocket:
        receive(websocket)
    refused_with(plugvisor, "nobody", ADMIN_CODE)
    refused_with(plugvisor, "_server", f"{ADMIN_CODE}x")
    query = f"?code={ADMIN_CODE}"
    with pytest.raises(InvalidStatus):
        connect(f"ws://127.0.0.1:{plugvisor.port}/elsewhere{query}", proxy=None)
    for path in ("/ws/logs/_server", "/ws/logs/a/b", "/plugin/_server/logs"):
        plugvisor.http.get(f"{path}{query}")
        plugvisor.http.post(f"{path}{query}")
    for lines in (
        "Upgrade: websocket\r\nConnection: Upgrade",
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x",
    ):
        with socket.create_connection(("127.0.0.1", plugvisor.port), DEADLINE_SECONDS) as raw:
            raw.sendall(f"GET /ws/logs/_server{query} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n\r\n".encode())
            assert b" 400 " in raw.recv(4096) or b" 426 " in raw.recv(4096)
    with open_websocket(plugvisor, "_server") as websocket:
        receive(websocket)
        websocket.send("x" * 100_000)
        assert wait_for_close(websocket).code == 1009
    with open_websocket(plugvisor, "_server") as websocket:
        receive(websocket)
        plugvisor.ctl("restart", "plugvisor")
        wait_for_close(websocket)
    wait_for(plugvisor.is_ready)
    plugvisor.down()
    for path in (*plugvisor.log_dir.iterdir(), plugvisor.output_path):
        text = path.read_text()
        assert ADMIN_CODE not in text, path
        assert "code=" not in text, path
        assert "Traceback" not in text, text


def test_the_code_is_taken_out_before_uvicorn_could_log_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """uvicorn's line is of level INFO and ours let it through no more, but that is no lock."""
    seen = []
    identities = make_identities(ADMIN_CODE)

    class Gate:
        async def check_token(self, code: bytes, _connection: object, _receive: object) -> Identity:
            seen.append(code)
            return identities.admin

    class Logs:
        def find(self, _plugin_id: str) -> LogFiles:
            return LogFiles(tmp_path, "x.log")

        def following(self, _plugin_id: str) -> AbstractAsyncContextManager[None]:
            return nullcontext()

    (tmp_path / "x.log").write_bytes(b"a\n")
    monkeypatch.setattr(websocket, "PING_SECONDS", 0)

    async def run() -> list[dict[str, Any]]:
        streams = LogStreams()
        sent: list[dict[str, Any]] = []
        inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        scope = {
            "type": "websocket",
            "path": "/ws/logs/x",
            "query_string": b"code=secret",
            "headers": [],
            "path_params": {"plugin_id": "x"},
            "state": {
                "gate": Gate(),
                "sessions": Sessions(identities),
                "logs": Logs(),
                "log_streams": streams,
                "settings": Settings.from_env({}),
            },
        }

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "websocket.accept":
                assert scope["query_string"] == b""
            sent.append(message)
            if '"ping"' in message.get("text", ""):
                inbox.put_nowait({"type": "websocket.disconnect", "code": 1000})

        inbox.put_nowait({"type": "websocket.connect"})
        connection = WebSocket(scope, inbox.get, send)  # type: ignore[arg-type]
        await websocket.follow_log_by_websocket(connection)
        return sent

    sent = asyncio.run(run())
    assert seen == [b"secret"]
    kinds = [json.loads(message["text"])["type"] for message in sent[1:]]
    assert kinds[:2] == ["initial", "ping"]
