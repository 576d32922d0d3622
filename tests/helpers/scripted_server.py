"""An HTTP server that answers as a test says, for clients of the service."""

from __future__ import annotations

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import socketserver
    from collections.abc import Callable, Iterator


STREAM = {"Content-Type": "text/event-stream"}
"""The headers of a stream of events."""


class Request(NamedTuple):
    """What was sent."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class ScriptedServer(ThreadingHTTPServer):
    """Answers each request with the next of `answers`, a status and a body, and then as `respond` says.

    Keeps what it was sent.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), ScriptedHandler)
        self.answers: list[tuple[int, bytes]] = []
        self.respond: Callable[[Request], tuple[int, bytes]] | None = None
        self.headers: dict[str, str] = {}
        """Those of every answer."""
        self.requests: list[Request] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class ScriptedHandler(BaseHTTPRequestHandler):
    server: ScriptedServer

    def handle_any(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if len(body) < length:
            return  # the client is gone
        request = Request(self.command, self.path, dict(self.headers.items()), body)
        self.server.requests.append(request)
        if self.server.respond is not None and not self.server.answers:
            status, answer = self.server.respond(request)
        else:
            status, answer = self.server.answers.pop(0)
        self.send_response(status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815 - the names are the base's

    def log_message(self, *_arguments: object) -> None:
        """Print nothing."""


@contextlib.contextmanager
def run_server(server: socketserver.BaseServer) -> Iterator[None]:
    """Serve in a thread."""
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def make_problem(**members: object) -> bytes:
    """The body of a problem."""
    return json.dumps({"type": "about:blank", "title": "-", "status": 400, "code": "some_code", **members}).encode()
