"""Packages on their way in: what is refused before a byte of them is read, and clients that are slow or go away."""

from __future__ import annotations

import contextlib
import hashlib
import time
from typing import TYPE_CHECKING

import pytest
from plugvisor.api.http.limits import BODY_IDLE_SECONDS, REQUEST_SECONDS
from plugvisor.manager.installation.uploads import MOST_UPLOADS

from tests.helpers.processes import count_spooled, resident_megabytes
from tests.helpers.raw_http import AUTHORIZED, connect, parse, post, receive, send
from tests.helpers.stack import PlugvisorStack, run_stack
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from socket import socket

    from tests.helpers.raw_http import Answer

PACKAGE_MB = 8
INSTALL = b"/plugins/install"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNK = b"10000\r\n" + b"x" * 65536 + b"\r\n"
EXPECT = b"Expect: 100-continue\r\n"
KEPT = (b"Connection: close\r\n", b"")
"""Replaced in a request, so that its connection is kept."""


@pytest.fixture(scope="module")
def plugvisor() -> Iterator[PlugvisorStack]:
    with run_stack() as made:
        made.environ["PLUGVISOR_PACKAGE_MB"] = str(PACKAGE_MB)
        made.up()
        yield made


def upload(path: bytes = INSTALL, headers: bytes = b"", length: int = 0) -> bytes:
    """The head of a request whose body has a length; 0: it has none."""
    return post(path, headers + (b"Content-Length: %d\r\n" % length if length else b""))


def ask(plugvisor: PlugvisorStack, *parts: bytes) -> Answer:
    """The one answer to a request."""
    with connect(plugvisor) as client:
        for part in parts:
            send(client, part)
        return take(client)


def take(client: socket) -> Answer:
    """The answer that comes next."""
    data = b""
    while not (answers := parse(data)):
        chunk = client.recv(65536)
        assert chunk, data
        data += chunk
    return answers[0]


@contextlib.contextmanager
def arriving(plugvisor: PlugvisorStack) -> Iterator[socket]:
    """A client whose package has begun to arrive."""
    pid = plugvisor.service_pid
    before = count_spooled(pid)
    with connect(plugvisor) as client:
        send(client, post(INSTALL, CHUNKED) + CHUNK)
        wait_for(lambda: count_spooled(pid) > before, "the package to arrive")
        yield client


# -- before a byte of it is read


@pytest.mark.parametrize(
    ("head", "status", "code"),
    [
        (
            upload(headers=b"Content-Type: application/x-www-form-urlencoded\r\n", length=100),
            415,
            "unsupported_media_type",
        ),
        (
            upload(headers=b"Content-Type: multipart/form-data; boundary=x\r\n", length=100),
            415,
            "unsupported_media_type",
        ),
        (upload(length=PACKAGE_MB * 1_000_000 + 1), 413, "too_large"),
        (upload(b"/plugins/install?sha256=abc", length=100), 422, "invalid_request"),
        (upload(b"/plugins/install?sha256=" + b"0" * 65, length=100), 422, "invalid_request"),
        (upload(b"/plugins/install?source=a%0Ab", length=100), 422, "invalid_request"),
        (upload(b"/plugins/install?source=" + b"x" * 201, length=100), 422, "invalid_request"),
        (upload(b"/plugins/install?wait=301", length=100), 422, "invalid_request"),
        (upload(length=100).replace(AUTHORIZED, b""), 401, "unauthorized"),
        (upload(length=100).replace(AUTHORIZED, b"Authorization: Bearer wrong\r\n"), 401, "unauthorized"),
    ],
)
def test_it_is_refused_before_it_is_sent(plugvisor: PlugvisorStack, head: bytes, status: int, code: str) -> None:
    """The client waits for 100 Continue, and does not get it."""
    with connect(plugvisor) as client:
        send(client, head.replace(b"\r\n\r\n", b"\r\n" + EXPECT + b"\r\n"))
        data, is_closed = receive(client)
    assert data.startswith(b"HTTP/1.1 %d " % status), data
    [answer] = parse(data)
    assert answer.code == code
    assert is_closed


def test_only_an_admin_may_send_one(plugvisor: PlugvisorStack) -> None:
    token = plugvisor.add_identity("an-operator", "operator").encode()
    head = upload(headers=EXPECT, length=100).replace(AUTHORIZED, b"Authorization: Bearer " + token + b"\r\n")
    with connect(plugvisor) as client:
        send(client, head)
        data, _ = receive(client)
    assert data.startswith(b"HTTP/1.1 403 "), data


def test_a_client_that_waits_for_it_is_asked_to_continue(plugvisor: PlugvisorStack) -> None:
    with connect(plugvisor) as client:
        send(client, upload(b"/plugins/install?sha256=" + b"0" * 64, EXPECT, length=3))
        assert client.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        send(client, b"abc")
        assert take(client).code == "checksum_mismatch"


# -- what arrives


@pytest.mark.parametrize(
    "body", [upload(), post(INSTALL, b"Content-Length: 0\r\n"), post(INSTALL, CHUNKED, b"0\r\n\r\n")]
)
def test_an_empty_one_is_none(plugvisor: PlugvisorStack, body: bytes) -> None:
    answer = ask(plugvisor, body)
    assert (answer.status, answer.code) == (422, "invalid_request")


def test_another_package_than_the_client_meant(plugvisor: PlugvisorStack) -> None:
    digest = hashlib.sha256(b"another").hexdigest().upper().encode()
    answer = ask(plugvisor, upload(b"/plugins/install?sha256=" + digest, length=3), b"abc")
    assert (answer.status, answer.code) == (422, "checksum_mismatch")
    assert hashlib.sha256(b"abc").hexdigest() in answer.json()["detail"]


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize(("is_authorized", "status"), [(True, 413), (False, 401)])
def test_a_client_that_goes_on_sending_gets_the_answer(
    plugvisor: PlugvisorStack, is_authorized: bool, status: int, kept: bool
) -> None:
    """It reads the answer when it has sent all of it, which is many times more than the limit."""
    head = post(INSTALL, CHUNKED, authorized=is_authorized)
    pid = plugvisor.service_pid
    before = resident_megabytes(pid)
    with connect(plugvisor) as client:
        client.sendall(head.replace(*KEPT) if kept else head)
        for _ in range(1000):
            client.sendall(CHUNK)
        client.sendall(b"0\r\n\r\n")
        answer = take(client)
        assert answer.status == status
        if kept:  # and asks for something else
            client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert take(client).status == 200
        else:
            assert client.recv(1) == b""
    assert resident_megabytes(pid) - before < 20
    assert count_spooled(pid) == 0


def test_what_comes_after_an_answer_that_ends_the_connection_is_no_request(plugvisor: PlugvisorStack) -> None:
    head = post(INSTALL, CHUNKED, authorized=False)
    with connect(plugvisor) as client:
        client.sendall(head + CHUNK)
        assert take(client).status == 401
        send(client, b"0\r\n\r\nGET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert receive(client) == (b"", True)


def test_nonsense_after_an_answer_that_ends_the_connection(plugvisor: PlugvisorStack) -> None:
    with connect(plugvisor) as client:
        client.sendall(post(INSTALL, CHUNKED, authorized=False) + CHUNK)
        assert take(client).status == 401
        send(client, b"nonsense\r\n")
        assert receive(client) == (b"", True)


def test_a_client_that_goes_away_leaves_nothing(plugvisor: PlugvisorStack) -> None:
    pid = plugvisor.service_pid
    with arriving(plugvisor):
        assert count_spooled(pid) > 0
        assert not list((plugvisor.root / "state" / "uploads").iterdir()), "it has no name"
    wait_for(lambda: count_spooled(pid) == 0, "the package to be removed")
    wait_for(lambda: "malformed_request" in plugvisor.service_log, "the line about it")
    assert "Traceback" not in plugvisor.service_log


def test_a_token_that_is_removed_meanwhile_installs_nothing(plugvisor: PlugvisorStack) -> None:
    token = plugvisor.add_identity("removed", "admin").encode()
    pid = plugvisor.service_pid
    with connect(plugvisor) as client:
        head = post(INSTALL, CHUNKED).replace(AUTHORIZED, b"Authorization: Bearer " + token + b"\r\n")
        send(client, head + CHUNK)
        wait_for(lambda: count_spooled(pid) > 0, "the package to arrive")
        removed = plugvisor.http.delete("/identities/removed", headers=dict([AUTHORIZED.decode().strip().split(": ")]))
        assert removed.status_code == 200
        send(client, b"0\r\n\r\n")
        assert take(client).code == "unauthorized"
    assert count_spooled(pid) == 0


def test_so_many_at_once(plugvisor: PlugvisorStack) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(arriving(plugvisor)) for _ in range(MOST_UPLOADS)]
        answer = ask(plugvisor, upload(length=3), b"abc")
        assert (answer.status, answer.code) == (503, "too_many_operations")
        assert answer.headers["retry-after"]
        assert plugvisor.http.get("/health").status_code == 200
        clients[0].close()
        wait_for(lambda: count_spooled(plugvisor.service_pid) < 2 * MOST_UPLOADS, "room for another")
        wait_for(
            lambda: ask(plugvisor, upload(b"/plugins/install?sha256=" + b"0" * 64, length=3), b"abc").status == 422,
            "another one to be taken",
        )


def test_it_may_take_its_time_but_not_stand_still(plugvisor: PlugvisorStack) -> None:
    """All at once, for each takes half a minute."""
    pid = plugvisor.service_pid
    with connect(plugvisor) as silent, connect(plugvisor) as slow, connect(plugvisor) as answered:
        silent.sendall(post(INSTALL, CHUNKED) + CHUNK)
        slow.sendall(post(b"/plugins/install?sha256=" + b"0" * 64, CHUNKED) + CHUNK)
        answered.sendall(post(INSTALL, CHUNKED, authorized=False).replace(*KEPT) + CHUNK)
        assert take(answered).status == 401
        wait_for(lambda: count_spooled(pid) == 4, "both packages to arrive, each of which is open twice")
        began = time.monotonic()
        answer = None
        while answer is None:  # the silent one gets its answer while the slow one sends
            slow.sendall(b"1\r\nx\r\n")
            data, _ = receive(silent, quiet_seconds=1)
            answer = next(iter(parse(data)), None)
            assert time.monotonic() - began < BODY_IDLE_SECONDS + 30
        assert answer.code == "request_timeout"
        assert time.monotonic() - began > REQUEST_SECONDS
        slow.sendall(b"0\r\n\r\n")
        assert take(slow).code == "checksum_mismatch"
        assert receive(answered) == (b"", True)
