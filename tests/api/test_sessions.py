"""Open streams end with the identity that has opened them: when it is removed, rotated, or expires."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from plugvisor.api.auth import sessions
from plugvisor.api.auth.sessions import Sessions
from plugvisor.models.stored.identity import Identity

from tests.helpers.event_client import EventClient, open_events
from tests.helpers.log_clients import open_websocket, receive, wait_for_close
from tests.helpers.stack import ADMIN_CODE, PlugvisorStack, run_stack
from tests.helpers.stores import make_identities
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from websockets.sync.client import ClientConnection

JOURNAL = "/journal/stream"
LOG = "/plugin/_server/logs/stream"


@pytest.fixture(scope="module")
def guarded() -> Iterator[PlugvisorStack]:
    """A Plugvisor whose every read needs a token."""
    with run_stack() as made:
        made.environ["PLUGVISOR_READ_AUTH"] = "viewer"
        made.up()
        yield made


class Streams:
    """One stream of each kind, opened by a token."""

    def __init__(self, plugvisor: PlugvisorStack, token: str, stack: contextlib.ExitStack) -> None:
        self.events: EventClient = stack.enter_context(open_events(plugvisor.port, code=token))
        self.log: EventClient = stack.enter_context(open_events(plugvisor.port, path=LOG, code=token))
        self.journal: EventClient = stack.enter_context(open_events(plugvisor.port, path=JOURNAL, code=token))
        self.websocket: ClientConnection = stack.enter_context(open_websocket(plugvisor, "_server", token))
        self.events.wait("snapshot")
        self.log.wait("initial")
        assert receive(self.websocket)["type"] == "initial"

    def wait_for_end(self) -> None:
        wait_for(lambda: self.events.ended and self.log.ended and self.journal.ended, "the streams to end")
        assert (self.events.ended, self.log.ended, self.journal.ended) == ("cleanly",) * 3
        close = wait_for_close(self.websocket)
        assert (close.code, close.reason) == (1008, "the token or admin code is no longer valid")


@pytest.mark.parametrize("how", ["removed", "rotated", "expired"])
def test_every_stream_ends_with_its_identity(guarded: PlugvisorStack, how: str) -> None:
    # long enough to open four streams on a busy machine
    expiry = {"expires_at": (datetime.now(UTC) + timedelta(seconds=10)).isoformat()} if how == "expired" else {}
    token = guarded.add_identity(how, "viewer", **expiry)
    other = guarded.add_identity(f"not-{how}", "viewer")
    with contextlib.ExitStack() as stack:
        streams = Streams(guarded, token, stack)
        others = Streams(guarded, other, stack)
        if how == "removed":
            removed = guarded.http.delete(f"/identities/{how}", headers={"Authorization": f"Bearer {ADMIN_CODE}"})
            assert removed.status_code == 200
        elif how == "rotated":
            assert guarded.post(f"/identities/{how}/rotate").status_code == 200
        streams.wait_for_end()
        guarded.post("/plugin/none/stop")  # the service logs that: the other streams go on
        others.log.wait("append")
        others.journal.wait("entry", verb="stop")
        assert receive(others.websocket)["type"] == "append"
        assert not others.events.ended
        assert not others.log.ended
        assert not others.journal.ended
    assert guarded.get("/plugins", token).status_code == 401
    assert guarded.get(LOG, token).status_code == 401


def test_the_streams_of_the_admin_code_end_when_it_is_rotated(plugvisor: PlugvisorStack) -> None:
    plugvisor.environ["PLUGVISOR_READ_AUTH"] = "viewer"
    plugvisor.up()
    with contextlib.ExitStack() as stack:
        streams = Streams(plugvisor, ADMIN_CODE, stack)
        code = plugvisor.post("/identities/admin/rotate").json()["token"]
        streams.wait_for_end()
        streams = Streams(plugvisor, code, stack)
        (plugvisor.run_dir / "admin_code").write_text("a-code-that-was-configured")
        streams.wait_for_end()


def test_a_public_stream_needs_no_token_and_survives_it(shared: PlugvisorStack) -> None:
    """It only keeps the client from being counted by its address."""
    token = shared.add_identity("ops", "viewer")
    with open_events(shared.port, code=token) as listener:
        listener.wait("snapshot")
        shared.http.delete("/identities/ops", headers={"Authorization": f"Bearer {ADMIN_CODE}"})
        assert shared.get("/whoami", token).status_code == 401
        shared.write_plugin("one", runtime="auto_start = false")
        shared.post("/plugins/refresh")
        listener.wait("plugins")


# -- the registry by itself


def test_a_session_is_ended_once_and_forgotten() -> None:
    async def scenario() -> None:
        identities = make_identities(ADMIN_CODE)
        registry = Sessions(identities)
        ended: list[str] = []
        with registry.opening(identities.admin, lambda: ended.append("first")):
            with registry.opening(identities.admin, lambda: ended.append("closed before")):
                pass
            identities._announce()
            assert not ended
            identities._admin.replace(identities._admin.make_code()[1])  # as a rotation does
            for _ in range(2):
                identities._announce()
            assert ended == ["first"]
        assert not registry._open

    asyncio.run(scenario())


def test_an_identity_that_was_removed_meanwhile_ends_the_stream_at_once() -> None:
    async def scenario() -> None:
        registry = Sessions(make_identities(ADMIN_CODE))
        ended: list[int] = []
        with registry.opening(Identity("gone", "viewer"), lambda: ended.append(1)):
            assert ended == [1]

    asyncio.run(scenario())


def test_the_clock_is_looked_at_only_while_something_can_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "CHECK_SECONDS", 0.01)

    class Expiring:
        def __init__(self) -> None:
            self.on_change: list[object] = []

        def is_valid(self, identity: Identity) -> bool:
            return identity.expires_at is None or identity.expires_at > time.time()

    async def scenario() -> None:
        registry = Sessions(Expiring())  # type: ignore[arg-type]
        ended = asyncio.Event()
        with registry.opening(Identity("ever", "viewer"), ended.set):
            assert registry._timer is None
            with registry.opening(Identity("brief", "viewer", expires_at=time.time() + 0.05), ended.set):
                async with asyncio.timeout(30):
                    await ended.wait()
            assert registry._timer is None

    asyncio.run(scenario())
