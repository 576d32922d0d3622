"""HTTP byte for byte, for requests that no client library would send."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.helpers.stack import ADMIN_CODE, PlugvisorStack
from tests.helpers.waiting import DEADLINE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

PROMPT_SECONDS = 5.0
"""What is answered at once takes milliseconds; on a busy machine it may take this."""
AUTHORIZED = f"Authorization: Bearer {ADMIN_CODE}\r\n".encode()


@dataclass(frozen=True)
class Answer:
    """One response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The problem's code; fails where this is no problem document."""
        assert self.headers["content-type"] == "application/problem+json", (self.headers, self.body)
        problem = json.loads(self.body)
        assert problem["status"] == self.status
        assert problem["detail"]
        code: str = problem["code"]
        return code

    def json(self) -> Any:
        """The body's value."""
        return json.loads(self.body)


@contextlib.contextmanager
def connect(plugvisor: PlugvisorStack, source: str = "") -> Iterator[socket.socket]:
    """A connection to the service, of an address of one's own choosing."""
    client = socket.create_connection(
        ("127.0.0.1", plugvisor.port), timeout=DEADLINE_SECONDS, source_address=(source, 0) if source else None
    )
    with client:
        yield client


def send(client: socket.socket, data: bytes) -> None:
    """Send as much as the other side takes: it may hang up in between, which is its right."""
    with contextlib.suppress(ConnectionError):
        client.sendall(data)


def receive(client: socket.socket, quiet_seconds: float = DEADLINE_SECONDS) -> tuple[bytes, bool]:
    """What comes until the other side hangs up, or is quiet for so long; and whether it has hung up."""
    data = b""
    client.settimeout(quiet_seconds)
    try:
        while chunk := client.recv(65536):
            data += chunk
    except TimeoutError:
        return data, False
    except ConnectionError:
        pass
    return data, True


def parse(data: bytes) -> list[Answer]:
    """The responses that were received, but for an incomplete last one; fails where that is no HTTP."""
    answers = []
    while data:
        head, separator, data = data.partition(b"\r\n\r\n")
        if not separator:
            break
        first, *lines = head.decode("latin-1").split("\r\n")
        version, status, _ = first.split(" ", 2)
        assert version == "HTTP/1.1", head
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        if status == "100":
            continue
        if headers.get("transfer-encoding") == "chunked":
            break  # an event stream
        length = int(headers.get("content-length", 0))
        if len(data) < length:
            break
        answers.append(Answer(int(status), headers, data[:length]))
        data = data[length:]
    return answers


def ask(plugvisor: PlugvisorStack, data: bytes, source: str = "") -> list[Answer]:
    """Send bytes and return the answers; the service is to hang up by itself within the deadline."""
    with connect(plugvisor, source) as client:
        send(client, data)
        received, is_closed = receive(client)
    assert is_closed, received
    return parse(received)


def post(path: bytes, headers: bytes = b"", body: bytes = b"", *, authorized: bool = True) -> bytes:
    """A POST after which the connection ends."""
    head = (
        b"POST " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + (AUTHORIZED if authorized else b"")
    )
    return head + headers + b"\r\n" + body


def get(path: bytes, headers: bytes = b"") -> bytes:
    """A GET after which the connection ends."""
    return b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + headers + b"\r\n"


def slowest_answer(plugvisor: PlugvisorStack, tries: int = 10) -> float:
    """The seconds that the slowest of some requests took, each over a new connection."""
    slowest = 0.0
    for _ in range(tries):
        began = time.monotonic()
        [answer] = ask(plugvisor, get(b"/plugin/status"))
        assert answer.status == 200, answer
        slowest = max(slowest, time.monotonic() - began)
    return slowest
