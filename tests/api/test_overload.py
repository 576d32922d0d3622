"""Clients that are too slow or too many, or that guess codes, against the real service."""

from __future__ import annotations

import contextlib
import resource
import select
import socket
import time
from typing import TYPE_CHECKING

import pytest
from plugvisor.api.auth.gate import BURST, DELAY_SECONDS, MOST_DELAYED_PER_ADDRESS
from plugvisor.api.event_hub import MOST_CLIENTS, MOST_CLIENTS_PER_ADDRESS
from plugvisor.api.http.limits import MOST_CONNECTIONS, MOST_PIPELINED, REQUEST_SECONDS, UNREAD_SECONDS

from tests.helpers.processes import count_descriptors, cpu_seconds, resident_megabytes
from tests.helpers.raw_http import (
    AUTHORIZED,
    PROMPT_SECONDS,
    ask,
    connect,
    get,
    parse,
    post,
    receive,
    send,
    slowest_answer,
)
from tests.helpers.stack import ADMIN_CODE, PlugvisorStack
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

# -- slow ones


def test_nobody_keeps_a_connection_without_using_it(plugvisor: PlugvisorStack) -> None:
    """All at once, for each takes its time."""
    plugvisor.write_plugin("runs")
    plugvisor.write_plugin("idle", runtime="auto_start = false")
    for number in range(8):
        folder = plugvisor.write_plugin(f"heavy{number}", runtime="auto_start = false")
        manifest = folder / "plugin.toml"
        manifest.write_text(manifest.read_text().replace("[plugin]", f'[plugin]\ndescription = "{"x" * 120_000}"', 1))
    plugvisor.up()
    pid = plugvisor.service_pid
    request = get(b"/plugin/status?plugin_id=runs").replace(b"Connection: close\r\n", b"")
    body = post(b"/plugin/idle/start", b"Content-Length: 1000\r\n")
    chunks = post(b"/plugins/refresh", b"Transfer-Encoding: chunked\r\n")
    # what is sent first, what is sent again and again, and the code of the last answer
    slow: list[tuple[bytes, bytes, str]] = [
        (b"", b"", ""),
        (b"GET /plugins HTTP/1.1\r\nX: ", b"a", "request_timeout"),
        (b"GET /plugins HTTP/1.1\r\n", b"A: b\r\n", "request_timeout"),
        (b"\r\n", b"\r\n", "request_timeout"),
        (request, b"\r\n", "request_timeout"),
        (body, b"x", "request_timeout"),
        (chunks, b"1\r\nx\r\n", "request_timeout"),
    ] * 5
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(plugvisor)) for _ in slow]
        for client, (first, _, _) in zip(clients, slow, strict=True):
            client.sendall(first)
        idle = stack.enter_context(connect(plugvisor))  # asks, and long after that again
        idle.sendall(request)
        lazy = stack.enter_context(socket.socket())  # asks for much and reads nothing
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.connect(("127.0.0.1", plugvisor.port))
        lazy.settimeout(1)
        with contextlib.suppress(OSError):
            lazy.sendall(get(b"/plugins").replace(b"Connection: close\r\n", b"") * 100_000)
        began = time.monotonic()
        slowest = 0.0
        is_over = [False] * len(slow)
        while not all(is_over):
            assert time.monotonic() - began < REQUEST_SECONDS + DEADLINE_SECONDS, is_over
            for index, (client, (_, again, code)) in enumerate(zip(clients, slow, strict=True)):
                if is_over[index]:
                    continue
                send(client, again)
                received, is_over[index] = receive(client, 0.001)
                if is_over[index] and code:
                    # a byte that was sent after its end may have reset the connection
                    assert not received or parse(received)[-1].code == code, received
            slowest = max(slowest, slowest_answer(plugvisor, 1))
            time.sleep(0.3)
        assert slowest < PROMPT_SECONDS
        idle.sendall(get(b"/plugin/status?plugin_id=runs"))
        assert [answer.status for answer in parse(receive(idle)[0])] == [200, 200]
        poll = select.poll()
        poll.register(lazy, 0)  # that it was disconnected is told without reading
        assert poll.poll(UNREAD_SECONDS * 1000 + DEADLINE_SECONDS * 1000), "who does not read is still connected"
        taken, _ = receive(lazy)
        assert len(taken) < MOST_PIPELINED * 8 * 120_000  # which would be all
    assert plugvisor.status("idle")["status"] == "stopped"
    assert resident_megabytes(pid) < 200
    assert "Traceback" not in plugvisor.service_log


# -- many


@contextlib.contextmanager
def descriptors(count: int) -> Iterator[int]:
    """Let this process open so many files, or as many as it may; yields how many connections that allows."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 500
    allowed = wanted if limits[1] == resource.RLIM_INFINITY else min(wanted, limits[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(allowed, limits[0]), limits[1]))
    try:
        yield min(count, allowed - 500)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def open_many(stack: contextlib.ExitStack, plugvisor: PlugvisorStack, count: int, first: bytes) -> list[socket.socket]:
    clients = []
    for _ in range(count):
        client = stack.enter_context(connect(plugvisor))
        send(client, first)
        clients.append(client)
    return clients


@pytest.mark.parametrize("first", [b"", b"GET /plugins HTTP/1.1\r\nX: "], ids=["idle", "half a request"])
def test_ten_thousand_connections(target: PlugvisorStack, first: bytes) -> None:
    pid = target.service_pid
    with descriptors(10_000) as count, contextlib.ExitStack() as stack:
        began = time.monotonic()
        open_many(stack, target, count, first)
        seconds = time.monotonic() - began
        slowest = slowest_answer(target)
        assert slowest < PROMPT_SECONDS
        [answer] = ask(target, post(b"/plugin/idle/start?wait=50"))
        assert answer.status == 200
        [answer] = ask(target, post(b"/plugin/idle/stop"))
        assert answer.status == 200
        memory = resident_megabytes(pid)
        assert memory < 300
    print(f"{count} connections in {seconds:.1f} s: {slowest * 1000:.0f} ms, {memory:.0f} MB")  # noqa: T201 - by -s
    wait_for(lambda: count_descriptors(pid) < 100, "the service to see that they are gone")


def test_more_connections_than_descriptors(plugvisor: PlugvisorStack) -> None:
    """The newest is served; who has waited longest without a request makes room."""
    plugvisor.write_plugin("runs")
    plugvisor.up(limit_descriptors=300)
    pid = plugvisor.service_pid
    with descriptors(2000) as count, contextlib.ExitStack() as stack:
        clients = open_many(stack, plugvisor, count, b"GET /plug")
        assert slowest_answer(plugvisor) < PROMPT_SECONDS
        # the room that is left is enough for what the service needs itself
        [answer] = ask(plugvisor, post(b"/plugin/runs/reload?wait=50"))
        assert answer.status == 200
        assert receive(clients[0])[1], "the first of them is still connected"
        busy = cpu_seconds(pid)
        time.sleep(1)
        assert cpu_seconds(pid) - busy < 0.5
    wait_for(lambda: count_descriptors(pid) < 100, "the service to see that they are gone")
    assert plugvisor.service_pid == pid


def test_nobody_can_be_spared(plugvisor: PlugvisorStack) -> None:
    """Streams use their connections: who comes last is told so, and served when one of them has ended."""
    plugvisor.write_plugin("runs")
    plugvisor.up(limit_descriptors=300)
    with contextlib.ExitStack() as stack:
        streams = []
        for _ in range(200):
            client = stack.enter_context(connect(plugvisor))
            client.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                if client.recv(12) == b"HTTP/1.1 200":
                    streams.append(client)
                    continue
            break
        assert 100 < len(streams) < 200
        [answer] = ask(plugvisor, b"")
        assert (answer.status, answer.code) == (503, "too_many_connections")
        assert int(answer.headers["retry-after"]) > 0
        streams[0].close()

        def is_served() -> bool:
            answers = ask(plugvisor, get(b"/plugin/status"))
            return bool(answers) and answers[0].status == 200

        wait_for(is_served, "an answer, now that there is room")


def test_streams_are_limited(target: PlugvisorStack) -> None:
    assert MOST_CLIENTS < MOST_CONNECTIONS / 2
    with descriptors(MOST_CLIENTS + 100), contextlib.ExitStack() as stack:
        request = b"GET /events HTTP/1.1\r\nHost: localhost\r\n" + AUTHORIZED + b"\r\n"
        for client in open_many(stack, target, MOST_CLIENTS, request):
            assert client.recv(12) == b"HTTP/1.1 200"
        [answer] = ask(target, get(b"/events"))
        assert (answer.status, answer.code) == (503, "too_many_streams")
        assert slowest_answer(target) < PROMPT_SECONDS


def test_streams_of_one_address_are_limited(target: PlugvisorStack) -> None:
    """A client without the code cannot take the streams of everybody else; one with the code is not counted."""
    greedy = "127.0.0.90"
    request = b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with descriptors(MOST_CLIENTS_PER_ADDRESS + 100), contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(target, greedy)) for _ in range(MOST_CLIENTS_PER_ADDRESS)]
        for client in clients:
            client.sendall(request)
        for client in clients:
            assert client.recv(12) == b"HTTP/1.1 200"
        [answer] = ask(target, get(b"/events"), greedy)
        assert (answer.status, answer.code) == (503, "too_many_streams")
        assert int(answer.headers["retry-after"]) > 0
        [answer] = ask(target, get(b"/events", b"Authorization: Bearer wrong\r\n"), greedy)
        assert (answer.status, answer.code) == (503, "too_many_streams")
        for address, headers in ((greedy, AUTHORIZED), ("127.0.0.91", b"")):
            client = stack.enter_context(connect(target, address))
            client.sendall(get(b"/events", headers))
            assert client.recv(12) == b"HTTP/1.1 200"
        clients[0].close()

        def has_room() -> bool:
            client = stack.enter_context(connect(target, greedy))
            client.sendall(get(b"/events"))
            return client.recv(12) == b"HTTP/1.1 200"

        wait_for(has_room, "the place of the client that has gone")


# -- guessing


def test_wrong_codes_from_many_clients_lock_nobody_out(plugvisor: PlugvisorStack) -> None:
    plugvisor.write_plugin("runs", runtime="auto_start = false")
    plugvisor.environ["PLUGVISOR_ADMIN_CODE"] = "ABCD"
    plugvisor.up()
    right = post(b"/plugin/runs/stop", b"Authorization: Bearer ABCD\r\n", authorized=False)
    for number in range(2, 32):
        address = f"127.0.0.{number}"
        statuses = [ask(plugvisor, guess(b"WXY%d" % n), address)[0].status for n in range(BURST)]
        assert statuses == [401] * BURST
        [answer] = ask(plugvisor, right, "127.0.0.1")
        assert answer.code == "not_running"
    # a weak code is of no use to one who guesses, until he has waited
    [answer] = ask(plugvisor, right, "127.0.0.31")
    assert answer.code in ("too_many_attempts", "not_running")
    assert plugvisor.status("runs")["status"] == "stopped"


def test_a_long_code_cannot_be_locked_out_at_all(target: PlugvisorStack) -> None:
    """Guesses beyond the burst wait a second or are answered 429; the right code passes meanwhile."""
    guesser = "127.0.0.77"  # an address of its own: other tests send wrong codes too
    for number in range(BURST):
        assert ask(target, guess(b"WXYZ%d" % number), guesser)[0].status == 401
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(target, guesser)) for _ in range(2 * MOST_DELAYED_PER_ADDRESS)]
        guessed_at = time.monotonic()
        for number, client in enumerate(clients):
            client.sendall(guess(b"VUT%d" % number))
        took = []
        for _ in range(5):  # a busy machine delays some
            began = time.monotonic()
            [owners] = ask(target, post(b"/plugin/idle/stop"), guesser)
            took.append(time.monotonic() - began)
            assert owners.code == "not_running"
        assert min(took) < DELAY_SECONDS / 2
        statuses = []
        for client in clients:
            data, is_closed = receive(client)
            assert is_closed
            [answer] = parse(data)
            statuses.append(answer.status)
            if answer.status == 429:
                assert answer.code == "too_many_attempts"
                assert answer.headers["connection"] == "close"
        assert time.monotonic() - guessed_at >= DELAY_SECONDS
        assert statuses.count(401) in (MOST_DELAYED_PER_ADDRESS, MOST_DELAYED_PER_ADDRESS + 1)  # one more in 10 seconds
        assert statuses.count(429) >= MOST_DELAYED_PER_ADDRESS - 1
    assert ADMIN_CODE not in target.service_log


def test_a_client_that_hangs_up_frees_its_place_among_the_delayed(target: PlugvisorStack) -> None:
    guesser = "127.0.0.78"
    for number in range(BURST):
        ask(target, guess(b"WXYZ%d" % number), guesser)
    for turn in range(10):
        with contextlib.ExitStack() as stack:
            for number in range(MOST_DELAYED_PER_ADDRESS):
                stack.enter_context(connect(target, guesser)).sendall(guess(b"X%d-%d" % (turn, number)))

    def is_delayed() -> bool:
        return ask(target, guess(b"Y%d" % time.monotonic_ns()), guesser)[0].status == 401

    wait_for(is_delayed, "a place among the delayed", DELAY_SECONDS + 2)


def guess(code: bytes) -> bytes:
    return post(b"/plugin/idle/stop", b"Authorization: Bearer " + code + b"\r\n", authorized=False)


def test_the_service_ends_in_the_middle_of_a_body(target: PlugvisorStack) -> None:
    with connect(target) as client:
        send(client, post(b"/plugins/start", b"Content-Length: 100\r\n", b'{"plugins": ['))
        slowest_answer(target, 1)  # what came before it has been read
        target.ctl("restart", "plugvisor")
        received, is_closed = receive(client)
    [answer] = parse(received)
    assert is_closed
    assert (answer.status, answer.code) == (503, "supervisor_unavailable")
    assert answer.headers["retry-after"]
    wait_for(target.is_ready)
