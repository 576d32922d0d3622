"""The checks `http` and `tcp`, against servers that answer, and servers that do worse."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import ssl
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from plugvisor.engines.engine import Address
from plugvisor.errors import NotRunning, SupervisorUnavailable
from plugvisor.manager.checks import attempt
from plugvisor.manager.checks.attempt import make_attempt
from plugvisor.manager.checks.http_check import MOST_BYTES, check_http, parse_url
from plugvisor.models.lifecycle import Check

from tests.helpers.fake_engine import FakeEngine
from tests.helpers.ports import find_free_port
from tests.helpers.scenarios import run_scenario, wait_until
from tests.helpers.waiting import DEADLINE_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Sends a response to each request, however it came, and keeps the requests."""

    def __init__(self, response: bytes = OK, *, goes_on: bytes = b"", is_kept: bool = False) -> None:
        self.response = response
        self.goes_on = goes_on
        """What it sends for ever after the response."""
        self.is_kept = is_kept
        """It does not close the connection."""
        self.request_end = b"\r\n\r\n"
        self.requests: list[bytes] = []
        self.sent_bytes = 0
        self.open_connections = 0
        self.closed = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open_connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            self.requests.append(await reader.readuntil(self.request_end))
            writer.write(self.response)
            while self.goes_on and not writer.is_closing():
                writer.write(self.goes_on)
                self.sent_bytes += len(self.goes_on)
                await writer.drain()
                await asyncio.sleep(0)
            if self.is_kept:
                await reader.read()
        writer.close()
        self.open_connections -= 1
        self.closed.set()


@contextlib.asynccontextmanager
async def listen(server: Server, host: str = "127.0.0.1", context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Listen on a port, which is returned."""
    listener = await asyncio.start_server(server.serve, host, 0, ssl=context)
    try:
        yield listener.sockets[0].getsockname()[1]
        await wait_until(lambda: not server.open_connections, "the end of every connection")
    finally:
        listener.close()


async def try_check(seconds: float = 5.0, **fields: object) -> str | None:
    return await make_attempt(FakeEngine(), "echo", 1, "web", Check(timeout=seconds, **fields))  # type: ignore[arg-type]


def check_response(response: bytes, seconds: float = 5.0, **options: object) -> str | None:
    """What an attempt finds of a server that sends this."""

    async def scenario() -> str | None:
        server = Server(response, **options)  # type: ignore[arg-type]
        async with listen(server) as port:
            found = await try_check(seconds, http=f"http://127.0.0.1:{port}/ok")
            await server.closed.wait()  # the attempt has closed its connection
            return found

    return run_scenario(scenario())


# -- http


@pytest.mark.parametrize(
    ("response", "found"),
    [
        (OK, ""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", ""),
        (b"HTTP/1.0 299 Whatever\r\n\r\nuntil the connection closes", ""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + OK, ""),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", "answered 302"),
        (b"HTTP/1.1 300 Choices\r\nContent-Length: 0\r\n\r\n", "answered 300"),
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 3\r\n\r\nno\n", "answered 503"),
        (b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "answered 101"),
        (b"", "the connection was closed, no answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", ""),  # and closes before the end of the body
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2 * MOST_BYTES, "the answer's head is too long"),
    ],
)
def test_responses(response: bytes, found: str) -> None:
    assert check_response(response) == found


@pytest.mark.parametrize(("status", "found"), [(200, ""), (500, "answered 500")])
def test_a_body_without_end(status: int, found: str) -> None:
    async def scenario() -> None:
        server = Server(b"HTTP/1.1 %d OK\r\n\r\n" % status, goes_on=b"x" * 1024)
        async with listen(server) as port:
            assert await try_check(http=f"http://127.0.0.1:{port}/") == found
            await server.closed.wait()
        assert server.sent_bytes < 64 * MOST_BYTES, "what the sockets hold, and no more"

    run_scenario(scenario())


def test_the_status_decides_if_the_body_does_not_end_in_time() -> None:
    assert check_response(b"HTTP/1.1 200 OK\r\n\r\ndata: 1\n\n", 0.2, is_kept=True) == ""


@pytest.mark.parametrize("response", [b"", b"HTTP/1.1 200"])
def test_no_answer_in_time(response: bytes) -> None:
    assert check_response(response, 0.2, is_kept=True) == "timed out after 0.2 s"


def test_the_request() -> None:
    async def scenario() -> None:
        server = Server()
        async with listen(server) as port:
            assert await try_check(http=f"http://127.0.0.1:{port}/ä b?q=ü&x=%20#part") == ""
        lines = server.requests[0].decode().split("\r\n")
        assert lines[:2] == ["GET /%C3%A4%20b?q=%C3%BC&x=%20 HTTP/1.1", f"Host: 127.0.0.1:{port}"]
        assert "Connection: close" in lines

    run_scenario(scenario())


@pytest.mark.parametrize(
    ("url", "host", "port", "header"),
    [
        ("http://localhost", "localhost", 80, "Host: localhost"),
        ("https://localhost/", "localhost", 443, "Host: localhost"),
        ("http://localhost:443", "localhost", 443, "Host: localhost:443"),
        ("http://[::1]:8080/", "::1", 8080, "Host: [::1]:8080"),
        ("http://localhost/\r\nX: y", "localhost", 80, "Host: localhost"),
    ],
)
def test_where_a_request_goes(url: str, host: str, port: int, header: str) -> None:
    target = parse_url(url)
    assert (target.host, target.port) == (host, port)
    assert target.request.split(b"\r\n")[1] == header.encode()
    assert target.request.count(b"\r\n") == 6


@pytest.mark.parametrize("url", ["", "ftp://localhost/", "http://", "http://localhost:x/", "http://localhost:70000/"])
def test_what_is_no_url(url: str) -> None:
    async def scenario() -> None:
        with pytest.raises(ValueError, match=r".+"):
            await check_http(url, 1)

    run_scenario(scenario())


@pytest.mark.parametrize(
    "check", [{"http": "http://localhost:x/"}, {"tcp": "localhost"}, {"tcp": ":80"}, {"tcp": "a:b"}]
)
def test_an_invalid_address(check: dict[str, str]) -> None:
    async def scenario() -> None:
        assert await try_check(**check) == "its address is invalid"

    run_scenario(scenario())


def test_a_redirect_is_not_followed() -> None:
    async def scenario() -> None:
        elsewhere = Server()
        async with listen(elsewhere) as other:
            moved = Server(b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:%d/\r\nContent-Length: 0\r\n\r\n" % other)
            async with listen(moved) as port:
                assert await try_check(http=f"http://127.0.0.1:{port}/") == "answered 301"
        assert not elsewhere.requests

    run_scenario(scenario())


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A server's certificate that nobody has signed."""
    folder: Path = tmp_path_factory.mktemp("certificate")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key -out certificate -subj /CN=nobody -days 1"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(folder / "certificate", folder / "key")
    return made


def test_tls(context: ssl.SSLContext) -> None:
    async def scenario() -> None:
        async with listen(Server(), context=context) as port:
            assert await try_check(http=f"https://127.0.0.1:{port}/") == ""
        plain = Server(b"HTTP/1.1 400 Bad\r\n\r\n")
        plain.request_end = b"\x03"  # in the first record of TLS
        async with listen(plain) as port:
            assert await try_check(http=f"https://127.0.0.1:{port}/") == "no TLS connection"

    run_scenario(scenario())


# -- addresses


@pytest.mark.parametrize("kind", ["http", "tcp"])
def test_a_port_that_nobody_listens_on(kind: str) -> None:
    async def scenario() -> None:
        address = f"127.0.0.1:{find_free_port()}"
        assert await try_check(**{kind: f"http://{address}/" if kind == "http" else address}) == "connection refused"

    run_scenario(scenario())


@pytest.fixture
def full() -> Iterator[int]:
    """A port whose listener accepts nobody, and has no room for another connection."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.mark.parametrize("kind", ["http", "tcp"])
def test_a_host_that_never_answers(full: int, kind: str) -> None:
    async def scenario() -> None:
        address = f"127.0.0.1:{full}"
        fields = {kind: f"http://{address}/" if kind == "http" else address}
        assert await try_check(0.3, **fields) == "timed out after 0.3 s"

    run_scenario(scenario())


def test_an_unknown_host() -> None:
    async def scenario() -> None:
        assert await try_check(tcp="no-such-host.invalid:80", seconds=30) == "unknown host"

    run_scenario(scenario())


def test_a_tcp_port_that_accepts() -> None:
    async def scenario() -> None:
        server = Server()
        async with listen(server) as port:
            assert await try_check(tcp=f"127.0.0.1:{port}") == ""
            assert await try_check(tcp=f"localhost:{port}") == "", "the second of its addresses"

    run_scenario(scenario())


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
def test_ipv6() -> None:
    async def scenario() -> None:
        try:
            async with listen(server := Server(), "::1") as port:
                assert await try_check(tcp=f"[::1]:{port}") == ""
                assert await try_check(http=f"http://[::1]:{port}/") == ""
        except OSError:
            pytest.skip("no IPv6")
        assert f"Host: [::1]:{port}".encode() in server.requests[-1]

    run_scenario(scenario())


# -- plugins that run elsewhere


def check_at(*hosts: str, **fields: object) -> str | None:
    """What an attempt at `localhost` finds of a plugin whose processes are at these addresses, each on a node."""

    async def scenario() -> str | None:
        engine = FakeEngine()
        engine.addresses["echo", "localhost"] = [
            Address(host, f"node{number}" if len(hosts) > 1 else "") for number, host in enumerate(hosts, 1)
        ]
        async with listen(Server(), "127.0.0.2") as port:
            check = Check(timeout=5.0, **{kind: str(text).replace("PORT", str(port)) for kind, text in fields.items()})  # type: ignore[arg-type]
            return await make_attempt(engine, "echo", 1, "web", check)

    return run_scenario(scenario())


@pytest.mark.parametrize("fields", [{"tcp": "localhost:PORT"}, {"http": "http://localhost:PORT/ok"}])
def test_an_attempt_is_made_where_the_plugin_runs(fields: dict[str, str]) -> None:
    assert check_at("127.0.0.2", **fields) == ""
    assert check_at("127.0.0.3", **fields) == "connection refused"


@pytest.mark.parametrize("fields", [{"tcp": "localhost:PORT"}, {"http": "http://localhost:PORT/ok"}])
def test_every_process_of_a_plugin_must_pass(fields: dict[str, str]) -> None:
    assert check_at("127.0.0.2", "127.0.0.2", **fields) == ""
    assert check_at("127.0.0.2", "127.0.0.3", **fields) == "connection refused, on node2"


def test_the_request_names_the_host_of_the_manifest() -> None:
    async def scenario() -> None:
        engine, server = FakeEngine(), Server()
        engine.addresses["echo", "localhost"] = [Address("127.0.0.2")]
        async with listen(server, "127.0.0.2") as port:
            assert await make_attempt(engine, "echo", 1, "web", Check(http=f"http://localhost:{port}/")) == ""
        assert f"Host: localhost:{port}".encode() in server.requests[0]

    run_scenario(scenario())


# -- what says nothing of the plugin


def test_nothing_is_known_while_the_engine_is_away() -> None:
    async def scenario() -> None:
        for error in (SupervisorUnavailable("away"), NotRunning("over")):
            engine = FakeEngine()
            engine.errors["execute"] = error
            assert await make_attempt(engine, "echo", 1, "run", Check(exec=("true",))) is None
            engine.errors["locate"] = error
            assert await make_attempt(engine, "echo", 1, "web", Check(tcp="localhost:1")) is None

    run_scenario(scenario())


@pytest.mark.parametrize("kind", ["http", "tcp"])
def test_a_service_without_open_files_does_not_blame_the_plugin(kind: str) -> None:
    async def scenario() -> None:
        async with listen(Server()) as port:
            limits = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (4, limits[1]))
            try:
                found = await try_check(**{kind: f"{'http://' * (kind == 'http')}127.0.0.1:{port}"})
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            assert found is None

    run_scenario(scenario())


def test_a_timeout_that_comes_late_is_not_the_plugins(full: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this service had been stopped meanwhile."""
    monkeypatch.setattr(attempt, "LATE_SECONDS", -1.0)

    async def scenario() -> None:
        assert await try_check(0.2, tcp=f"127.0.0.1:{full}") is None

    run_scenario(scenario())


def test_a_name_server_that_does_not_answer_holds_up_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()

    def look_up(*_: object, **_options: object) -> list[object]:
        assert answered.wait(DEADLINE_SECONDS)
        return []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(2))
        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        try:
            attempts = [try_check(0.05, tcp=f"host-{number}.example:80") for number in range(10)]
            assert set(await asyncio.gather(*attempts)) == {"timed out after 0.05 s"}
            async with asyncio.timeout(5):
                assert await asyncio.to_thread(int) == 0
        finally:
            answered.set()

    run_scenario(scenario())


def test_a_service_that_can_start_no_thread_knows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    assert run_scenario(try_check(tcp="host.example:80")) is None


def test_names_that_no_name_server_answers_do_not_hold_up_other_names(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    look_up = socket.getaddrinfo
    lookups: list[str] = []

    def look_up_late(host: str, *arguments: int, **options: int) -> object:
        if host == "localhost":
            return look_up(host, *arguments, **options)
        lookups.append(host)
        answered.wait(DEADLINE_SECONDS)
        raise socket.gaierror

    async def scenario() -> None:
        hosts = [f"host-{number}.example" for number in range(40)]
        try:
            for _ in range(2):  # the lookups of the first round are still under way in the second
                await asyncio.gather(*(try_check(0.05, tcp=f"{host}:80") for host in hosts))
            async with listen(Server()) as port:
                assert await try_check(tcp=f"localhost:{port}") == ""
            assert sorted(lookups) == sorted(hosts)
        finally:
            answered.set()

    monkeypatch.setattr(socket, "getaddrinfo", look_up_late)
    run_scenario(scenario())
