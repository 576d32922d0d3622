"""`WS /ws/admin` of the dialect: the first message is a code, lists are empty, and nothing that is sent does harm."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.api.auth.gate import BURST
from plugvisor.api.auth.sessions import Sessions
from plugvisor.api.dialects.neko import admin_socket
from plugvisor.settings import Settings
from starlette.websockets import WebSocket
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.helpers.admin_sockets import call, open_admin_socket, open_signed_in
from tests.helpers.log_clients import wait_for_close
from tests.helpers.stack import ADMIN_CODE, PlugvisorStack, run_stack
from tests.helpers.stores import make_identities
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plugvisor.models.stored.identity import Identity

FRONT_END = "http://localhost:5173"
AUTHORIZED = {"Authorization": f"Bearer {ADMIN_CODE}"}


@pytest.fixture(scope="module")
def neko() -> Iterator[PlugvisorStack]:
    with run_stack() as made:
        made.environ |= {"PLUGVISOR_DIALECT": "neko", "PLUGVISOR_CORS_ORIGINS": FRONT_END}
        made.up()
        yield made


def test_its_lists_are_empty(neko: PlugvisorStack) -> None:
    with open_signed_in(neko) as websocket:
        for method in ("runs.list", "export.list", "runs.list"):
            answer = call(websocket, method, plugin_id="x", after=None, limit=500)
            assert (answer["ok"], answer["result"]) == (True, [])
        for method in ("run.get", "run.cancel", "", "x" * 1000):
            answer = call(websocket, method, run_id="x")
            assert (answer["ok"], bool(answer["error"])) == (False, True)
        websocket.send('{"type": "ping"}')
        assert json.loads(websocket.recv(DEADLINE_SECONDS)) == {"type": "pong"}
        websocket.send('{"type": "pong"}')
        assert call(websocket, "runs.list")["ok"], "nothing is said to a pong"


def test_every_role_may_see_them(neko: PlugvisorStack) -> None:
    token = neko.add_identity("seer", "viewer")
    with open_signed_in(neko, token) as websocket:
        assert call(websocket, "runs.list")["ok"]
        neko.remove_identity("seer")
        close = wait_for_close(websocket)
    assert (close.code, close.reason) == (1008, "the token or admin code is no longer valid")


@pytest.mark.parametrize(
    "message",
    [
        '{"type": "auth"}',
        '{"type": "auth", "code": ""}',
        '{"type": "auth", "code": "wrong"}',
        '{"type": "auth", "code": 1}',
        '{"type": "req", "id": "1", "method": "runs.list"}',
        "[]",
        "",
        "null",
        "{",
        "[" * 4000,
        b"\xff\x00",
        '{"type": "auth", "code": "\\ud800"}',
    ],
)
def test_without_the_code_it_closes(neko: PlugvisorStack, message: str | bytes) -> None:
    with open_admin_socket(neko) as websocket:
        websocket.send(message)
        close = wait_for_close(websocket)
    assert close.code == 1008
    assert close.reason


def test_silence_is_not_waited_for(neko: PlugvisorStack) -> None:
    with open_admin_socket(neko) as websocket:
        close = wait_for_close(websocket)
    assert (close.code, close.reason) == (1008, "no code came within 5 seconds")


def test_what_is_no_message_is_answered_and_harmless(neko: PlugvisorStack) -> None:
    with open_signed_in(neko) as websocket:
        for message in ("", "[]", "{", '{"type": 1}', '{"type": "req", "id": {}}', "[" * 4000, b"\xff"):
            websocket.send(message)
            answer = json.loads(websocket.recv(DEADLINE_SECONDS))
            assert (answer["type"], answer["id"], answer["ok"]) == ("resp", None, False)
        websocket.send('{"type": "auth", "code": "again"}')
        websocket.send('{"type": "unknown"}')
        assert call(websocket, "runs.list")["ok"]
        websocket.send("x" * 5000)
        assert wait_for_close(websocket).code == 1009
    assert "Traceback" not in neko.service_log


def test_a_handshake_with_a_token_needs_no_message(neko: PlugvisorStack) -> None:
    """A proxy has added it, for a front end that knows no code."""
    with open_admin_socket(neko, additional_headers=AUTHORIZED) as websocket:
        assert call(websocket, "runs.list")["ok"]
    with pytest.raises(InvalidStatus) as refused:
        open_admin_socket(neko, additional_headers={"Authorization": "Bearer wrong"})
    assert refused.value.response.status_code == 401


def test_a_page_of_another_origin_is_refused(neko: PlugvisorStack) -> None:
    for origin in (None, neko.url, FRONT_END):
        with open_admin_socket(neko, origin=origin):
            pass
    for origin in ("http://evil.example", "null"):
        with pytest.raises(InvalidStatus) as refused:
            open_admin_socket(neko, origin=origin)
        assert refused.value.response.status_code == 403


def test_their_number_is_bounded(neko: PlugvisorStack) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(admin_socket.MOST_SOCKETS):
            websocket = stack.enter_context(open_signed_in(neko))
            assert call(websocket, "runs.list")["ok"]
        with open_signed_in(neko) as websocket:
            assert wait_for_close(websocket).code == 1013
        assert neko.get("/plugins").status_code == 200

    def is_free() -> bool:
        with open_signed_in(neko) as websocket, contextlib.suppress(ConnectionClosed):
            return bool(call(websocket, "runs.list")["ok"])
        return False

    wait_for(is_free, "a place to be free again")


def test_who_sends_no_code_takes_nobodys_place(neko: PlugvisorStack) -> None:
    with contextlib.ExitStack() as stack:
        signed_in = stack.enter_context(open_signed_in(neko))
        assert call(signed_in, "runs.list")["ok"]
        statuses = []
        for _ in range(admin_socket.MOST_WAITING + 1):
            try:
                stack.enter_context(open_admin_socket(neko))
            except InvalidStatus as refused:
                statuses.append(refused.response.status_code)
        assert statuses == [503]
        assert call(signed_in, "runs.list")["ok"]

    def is_free() -> bool:
        with contextlib.suppress(InvalidStatus), open_admin_socket(neko):
            return True
        return False

    wait_for(is_free, "a place to be free again")


def test_wrong_codes_are_throttled(plugvisor: PlugvisorStack) -> None:
    plugvisor.environ |= {"PLUGVISOR_DIALECT": "neko", "PLUGVISOR_ADMIN_CODE": "ABCD"}
    plugvisor.up()
    with open_signed_in(plugvisor, "abcd") as websocket:
        assert call(websocket, "runs.list")["ok"]
    for number in range(BURST):
        with open_signed_in(plugvisor, f"wrong{number}") as websocket:
            assert wait_for_close(websocket).code == 1008
    with open_signed_in(plugvisor, "ABCD") as websocket:
        close = wait_for_close(websocket)
    assert close.code == 1008
    assert close.reason.startswith("too many wrong tokens")


def test_an_open_one_delays_no_end(plugvisor: PlugvisorStack) -> None:
    plugvisor.environ["PLUGVISOR_DIALECT"] = "neko"
    plugvisor.up()
    with open_signed_in(plugvisor) as websocket, open_admin_socket(plugvisor) as silent:
        assert call(websocket, "runs.list")["ok"]
        plugvisor.rpc("stopProcess", "plugvisor")
        assert wait_for_close(websocket).code == 1012
        assert wait_for_close(silent).code == 1012
    assert "Traceback" not in plugvisor.service_log
    assert ADMIN_CODE not in plugvisor.service_log


def test_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_socket, "PING_SECONDS", 0.001)
    identities = make_identities(ADMIN_CODE)

    class Gate:
        async def check_token(self, _code: bytes, _connection: object, _receive: object) -> Identity:
            return identities.admin

    async def run() -> list[str]:
        sent: list[str] = []
        inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        scope = {
            "type": "websocket",
            "path": "/ws/admin",
            "query_string": b"",
            "headers": [],
            "path_params": {},
            "state": {"gate": Gate(), "sessions": Sessions(identities), "settings": Settings.from_env({})},
        }

        async def send(message: dict[str, Any]) -> None:
            sent.append(message.get("text", message["type"]))
            if len(sent) == 3:
                inbox.put_nowait({"type": "websocket.disconnect", "code": 1000})

        inbox.put_nowait({"type": "websocket.connect"})
        inbox.put_nowait({"type": "websocket.receive", "text": '{"type": "auth", "code": "x"}'})
        await admin_socket.AdminSockets().serve(WebSocket(scope, inbox.get, send))  # type: ignore[arg-type]
        return sent

    sent = asyncio.run(run())
    assert sent[:3] == ["websocket.accept", '{"type":"ping"}', '{"type":"ping"}']
