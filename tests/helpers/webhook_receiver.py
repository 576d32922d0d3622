"""A receiver of webhooks: a real HTTP server that verifies what it gets."""

from __future__ import annotations

import contextlib
import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from standardwebhooks import Webhook

from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass(frozen=True)
class Received:
    """One request, whose signature was right."""

    id: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def kind(self) -> str:
        """What it is about."""
        kind: str = self.body["type"]
        return kind

    @property
    def data(self) -> dict[str, Any]:
        """The plugin."""
        data: dict[str, Any] = self.body["data"]
        return data


class WebhookReceiver:
    """Answers what the test says; every request is verified, or is one of `forged`."""

    def __init__(self, secret: str = SECRET, port: int = 0) -> None:
        self.received: list[Received] = []
        self.forged: list[str] = []
        """Why requests could not be verified."""
        self.statuses: list[int] = []
        """What to answer, one after another; then 204."""
        self.headers: dict[str, str] = {}
        """More of each response."""
        self.may_answer = threading.Event()
        self.may_answer.set()
        receiver, webhook = self, Webhook(secret)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = dict(self.headers)
                try:
                    receiver.received.append(
                        Received(headers["webhook-id"], self.path, headers, webhook.verify(body, headers))
                    )
                except Exception as error:  # noqa: BLE001 - whatever is wrong with it
                    receiver.forged.append(repr(error))
                receiver.may_answer.wait(DEADLINE_SECONDS)
                with contextlib.suppress(OSError):  # it may be gone
                    self.send_response(receiver.statuses.pop(0) if receiver.statuses else 204)
                    for name, value in receiver.headers.items():
                        self.send_header(name, value)
                    self.end_headers()

            do_GET = do_POST  # noqa: N815 - named by the protocol

            def log_message(self, *_arguments: object) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/hook?token=a-secret-of-the-receiver"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def wait(self, count: int = 1) -> list[Received]:
        """Wait until so many requests have come, and return all of them."""
        wait_for(lambda: len(self.received) >= count or self.forged, f"{count} webhooks, not {self.received}")
        assert not self.forged
        return list(self.received)

    def wait_for(self, kind: str, plugin_id: str) -> Received:
        """Wait for a message of that kind about that plugin."""

        def find() -> Received | None:
            assert not self.forged
            matching = (one for one in self.received if one.kind == kind and one.data["plugin_id"] == plugin_id)
            return next(matching, None)

        found: Received = wait_for(find, f"{kind} of {plugin_id}")
        return found

    def close(self) -> None:
        """Stop; nobody listens on the port any more."""
        self.may_answer.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextlib.contextmanager
def run_receiver(secret: str = SECRET, port: int = 0) -> Iterator[WebhookReceiver]:
    """A receiver on loopback."""
    receiver = WebhookReceiver(secret, port)
    try:
        yield receiver
    finally:
        receiver.close()


def show(received: Received) -> str:
    """All of a request, as text in which a secret would be found."""
    return json.dumps([received.path, received.headers, received.body])
