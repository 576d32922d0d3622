"""The sender, to real receivers: what counts as delivered, and what is tried again and when."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from plugvisor.manager.webhooks import outbox as outbox_module
from plugvisor.manager.webhooks import sender as module
from plugvisor.manager.webhooks.outbox import Outbox
from plugvisor.manager.webhooks.sender import Sender, _read_retry_after
from plugvisor.manager.webhooks.signing import Signer
from plugvisor.store.store import Store
from plugvisor.webhook_secret import WebhookSecret

from tests.helpers.ports import find_free_port
from tests.helpers.scenarios import run_scenario, wait_until
from tests.helpers.webhook_receiver import SECRET, WebhookReceiver, run_receiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from plugvisor.manager.webhooks.deliveries import Queue

BODY = b'{"type":"plugin.error","timestamp":"2026-11-29T19:10:00Z","data":{"plugin_id":"a"}}'
ENDLESS = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DELAYS_SECONDS", (0.01, 0.02))
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.01)


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with run_receiver() as receiver:
        yield receiver


def run(url: str, scenario: Callable[[Outbox, Queue], Awaitable[None]]) -> None:
    """A sender to that URL, which has one message to deliver."""

    async def live() -> None:
        outbox = Outbox(Store(Path("/nonexistent")), [url])
        [queue] = outbox.queues
        outbox.add("plugin.error", "a", BODY)
        task = asyncio.create_task(Sender(outbox, queue, Signer(WebhookSecret(SECRET))).run())
        await scenario(outbox, queue)
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert asyncio.all_tasks() == {asyncio.current_task()}, "nothing is left behind"

    run_scenario(live())


async def wait_sent(_outbox: Outbox, queue: Queue) -> None:
    await wait_until(lambda: queue.sent == 1, "the message to be delivered")
    assert queue.deliveries == {}


async def wait_failed(_outbox: Outbox, queue: Queue) -> None:
    await wait_until(lambda: queue.failed, "an attempt to fail")
    assert queue.sent == 0
    assert len(queue.deliveries) == 1


@pytest.mark.parametrize("status", [200, 202, 204])
def test_a_message_that_is_accepted_is_sent_once(receiver: WebhookReceiver, status: int) -> None:
    receiver.statuses = [status]

    async def scenario(outbox: Outbox, queue: Queue) -> None:
        await wait_sent(outbox, queue)
        outbox.add("plugin.error", "a", BODY)
        await wait_until(lambda: queue.sent == 2)

    run(receiver.url, scenario)
    [first, second] = receiver.received
    assert first.id.startswith("msg_")
    assert first.id != second.id
    assert first.headers["Content-Type"] == "application/json"
    assert first.path == "/hook?token=a-secret-of-the-receiver"
    assert receiver.forged == []


def test_the_signature_is_wrong_for_another_secret() -> None:
    """The receiver of these tests does verify."""
    with run_receiver("whsec_" + "QUFB" * 8) as receiver:
        run(receiver.url, wait_sent)
        assert receiver.received == []
        assert "No matching signature found" in receiver.forged[0]


def test_whatever_else_is_answered_is_a_failure(receiver: WebhookReceiver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    receiver.statuses = [500, 404, 410, 400, 301, 304]
    run(receiver.url, wait_sent)
    assert len(receiver.received) == 7
    assert len({one.id for one in receiver.received}) == 1
    assert [record.message for record in caplog.records if record.name == module.__name__] == [
        "a webhook does not reach receiver 1 (127.0.0.1) and is tried again: it answered 500",
        "webhooks reach receiver 1 (127.0.0.1) again",
    ], "not for each attempt, and without the URL"


def test_a_redirect_is_not_followed(receiver: WebhookReceiver, caplog: pytest.LogCaptureFixture) -> None:
    with run_receiver() as internal:
        receiver.statuses, receiver.headers = [308], {"Location": internal.url}
        run(receiver.url, wait_sent)
        assert internal.received == []
        assert internal.forged == []
    assert "redirects are not followed: name the address" in caplog.text


def test_the_delays_grow_to_the_last(receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    delays: list[float] = []
    postpone = Outbox.postpone

    def record(outbox: Outbox, queue: Queue, delivery: outbox_module.Delivery, seconds: float) -> None:
        delays.append(seconds)
        postpone(outbox, queue, delivery, seconds)

    monkeypatch.setattr(Outbox, "postpone", record)
    receiver.statuses = [500] * 4
    run(receiver.url, wait_sent)
    assert delays == [0.01, 0.02, 0.02, 0.02]


@pytest.mark.parametrize("status", [429, 503])
def test_a_receiver_that_asks_for_time_gets_it(receiver: WebhookReceiver, status: int) -> None:
    receiver.statuses, receiver.headers = [status], {"Retry-After": "3000"}
    began = time.monotonic()

    async def scenario(outbox: Outbox, queue: Queue) -> None:
        await wait_failed(outbox, queue)
        [delivery] = queue.deliveries.values()
        assert began + 3000 <= delivery.due <= time.monotonic() + 3000
        outbox.add("plugin.error", "b", BODY)
        with pytest.raises(TimeoutError):  # nor does it get any other
            async with asyncio.timeout(0.05):
                await queue.take()

    run(receiver.url, scenario)
    assert len(receiver.received) == 1


def test_retry_after() -> None:
    now = time.time()
    date = (datetime.fromtimestamp(now, UTC) + timedelta(seconds=90)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert _read_retry_after("120", now) == 120
    assert 88 < _read_retry_after(date, now) <= 90
    assert _read_retry_after("9999999", now) == 3600
    for value in ("", "-5", "soon", "1e300", "Fri, 31 Dec 1999 23:59:59 GMT", "Fri, 99 Foo 99999 23:59:59", "٣", "²"):
        assert 0 <= _read_retry_after(value, now) <= 3, value


def test_a_receiver_that_is_dead(caplog: pytest.LogCaptureFixture) -> None:
    run(f"http://user:a-secret@127.0.0.1:{find_free_port()}/a-secret", wait_failed)
    assert "a webhook does not reach receiver 1 (127.0.0.1) and is tried again" in caplog.text
    assert "a-secret" not in caplog.text


def test_a_receiver_that_does_not_answer(
    receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "ATTEMPT_SECONDS", 0.2)
    receiver.may_answer.clear()
    run(receiver.url, wait_failed)
    assert "no answer within 0.2 seconds" in caplog.text


def test_a_message_is_dropped_after_a_day(
    receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outbox_module, "KEPT_SECONDS", 0.0)
    receiver.statuses = [500]

    async def scenario(_outbox: Outbox, queue: Queue) -> None:
        await wait_until(lambda: queue.dropped == 1)
        assert queue.deliveries == {}

    run(receiver.url, scenario)
    assert len(receiver.received) == 1
    assert "webhook plugin.error of 'a' is dropped" in caplog.text
    assert "a-secret" not in caplog.text


def test_a_password_in_the_url_is_sent_and_not_logged(
    receiver: WebhookReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    run(receiver.url.replace("http://", "http://user:a-secret@"), wait_sent)
    assert receiver.received[0].headers["Authorization"].startswith("Basic ")
    assert "a-secret" not in caplog.text


def test_a_url_that_nobody_can_use(caplog: pytest.LogCaptureFixture) -> None:
    run("http://127.0.0.1/" + "a-secret" * 10_000, wait_failed)
    assert "its URL is invalid" in caplog.text
    assert "a-secret" not in caplog.text


def test_an_error_that_nobody_has_thought_of(
    receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        monkeypatch.undo()
        raise RuntimeError("a-secret")

    monkeypatch.setattr(module, "_load_certificates", fail)
    run(receiver.url, wait_failed)
    assert "is tried again: RuntimeError" in caplog.text
    assert "a-secret" not in caplog.text


def test_a_proxy_of_the_environment_is_not_used(receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{find_free_port()}")
    run(receiver.url, wait_sent)


# -- receivers that are no servers


@asynccontextmanager
async def serve(response: bytes, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server that answers every connection with these bytes, again and again; yields its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            while True:
                writer.write(response)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def deliver_to(response: bytes, scenario: Callable[[Outbox, Queue], Awaitable[None]]) -> None:
    async def live() -> None:
        async with serve(response) as port:
            outbox = Outbox(Store(Path("/nonexistent")), [f"http://127.0.0.1:{port}/"])
            outbox.add("plugin.error", "a", BODY)
            sender = Sender(outbox, outbox.queues[0], Signer(WebhookSecret(SECRET)))
            task = asyncio.create_task(sender.run())
            await scenario(outbox, outbox.queues[0])
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await wait_until(lambda: len(asyncio.all_tasks()) == 1, "the server's tasks to end")

    run_scenario(live())


def test_a_body_without_end_is_not_read() -> None:
    deliver_to(ENDLESS, wait_sent)


@pytest.mark.parametrize("response", [b"a" * 65536, b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 100_000, b"\x16\x03\x01\0"])
def test_what_is_not_http_is_a_failure(response: bytes, caplog: pytest.LogCaptureFixture) -> None:
    deliver_to(response, wait_failed)
    assert all(len(record.message) < 400 for record in caplog.records)


def test_the_certificate_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout key -out certificate -subj /CN=localhost -days 1 "
        "-addext subjectAltName=DNS:localhost"
    )
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate", tmp_path / "key")

    async def live(is_trusted: bool) -> None:
        async with serve(ENDLESS, context) as port:
            outbox = Outbox(Store(Path("/nonexistent")), [f"https://localhost:{port}/"])
            outbox.add("plugin.error", "a", BODY)
            sender = Sender(outbox, outbox.queues[0], Signer(WebhookSecret(SECRET)))
            task = asyncio.create_task(sender.run())
            await (wait_sent if is_trusted else wait_failed)(outbox, outbox.queues[0])
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await wait_until(lambda: len(asyncio.all_tasks()) == 1, "the server's tasks to end")

    module._load_certificates.cache_clear()
    asyncio.run(live(is_trusted=False))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate"))
    module._load_certificates.cache_clear()
    asyncio.run(live(is_trusted=True))
    module._load_certificates.cache_clear()
