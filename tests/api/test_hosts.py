"""The header `Host`, and the `Origin` of WebSockets: what a page on the operator's machine cannot reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from plugvisor.api.http.hosts import HostCheck, is_own_origin
from plugvisor.errors import MalformedRequest, MisdirectedRequest
from plugvisor.settings import Settings

from tests.helpers.log_clients import open_websocket, receive, refused_with
from tests.helpers.raw_http import Answer, ask, connect
from tests.helpers.raw_http import receive as receive_bytes
from tests.helpers.stack import ADMIN_CODE, OVERDUE, PlugvisorStack, run_stack
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

KNOWN = ["plugvisor.example.com", "other.example:8443", "*.lan"]
WEBSOCKET = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


@pytest.fixture(scope="module")
def named() -> Iterator[PlugvisorStack]:
    """A Plugvisor that has names of its own, and a front end elsewhere."""
    with run_stack() as made:
        made.environ["PLUGVISOR_HOSTS"] = " , ".join(KNOWN)
        made.environ["PLUGVISOR_CORS_ORIGINS"] = "https://front.example"
        made.write_plugin("runs")
        made.up()
        yield made


def check(host: bytes, environ: Mapping[str, str]) -> type[Exception] | None:
    error = HostCheck(Settings.from_env(environ).allowed_hosts).find_error([host], "1.1")
    return None if error is None else type(error)


ACCEPTED = [
    (b"localhost", {}),
    (b"LocalHost.:1", {}),
    (b"127.0.0.1:48916", {}),
    (b"127.9.9.9", {}),
    (b"[::1]:80", {}),
    (b"[0:0::1]", {}),
    (b"192.0.2.7:5", {"PLUGVISOR_HOST": "192.0.2.7"}),
    (b"[2001:DB8::1]", {"PLUGVISOR_HOST": "2001:db8::1"}),
    (b"my.host:48916", {"PLUGVISOR_HOST": "my.host"}),
    (b"a.example", {"PLUGVISOR_HOSTS": "b.example, A.example"}),
    (b"a.example:99", {"PLUGVISOR_HOSTS": "a.example"}),
    (b"a.example:99", {"PLUGVISOR_HOSTS": "a.example:99"}),
    (b"proxy.example", {"PLUGVISOR_URL": "https://Proxy.example:8443"}),
    (b"anything", {"PLUGVISOR_HOST": "unix:///run/plugvisor.sock"}),
    (b"a.example", {"PLUGVISOR_HOST": "unix:///run/plugvisor.sock", "PLUGVISOR_HOSTS": "a.example"}),
    (b"localhost", {"PLUGVISOR_HOST": "unix:///run/plugvisor.sock", "PLUGVISOR_HOSTS": "a.example"}),
    (b"x.y.example", {"PLUGVISOR_HOSTS": "*.example"}),
    (b"[2001:db8::2]:7", {"PLUGVISOR_HOSTS": "[2001:db8::2]:7"}),
    (b"anything.at.all", {"PLUGVISOR_HOSTS": "*"}),
    (b"anything.at.all", {"PLUGVISOR_HOST": "0.0.0.0"}),
    (b"anything.at.all", {"PLUGVISOR_HOST": "::"}),
    (b"localhost", {"PLUGVISOR_HOST": "0.0.0.0", "PLUGVISOR_HOSTS": "a.example"}),
]
MISDIRECTED = [
    (b"rebound.example", {}),
    (b"localhost.rebound.example", {}),
    (b"127.0.0.1.rebound.example", {}),
    (b"128.0.0.1", {}),
    (b"192.168.1.4:48916", {}),
    (b"[::2]", {}),
    (b"0.0.0.0:48916", {}),
    (b"2130706433", {}),
    (b"a.example:98", {"PLUGVISOR_HOSTS": "a.example:99"}),
    (b"a.example", {"PLUGVISOR_HOSTS": "a.example:99"}),
    (b"xa.example", {"PLUGVISOR_HOSTS": "a.example"}),
    (b"example", {"PLUGVISOR_HOSTS": "*.example"}),
    (b"xexample", {"PLUGVISOR_HOSTS": "*.example"}),
    (b"x.elsewhere", {"PLUGVISOR_HOST": "unix:///run/plugvisor.sock", "PLUGVISOR_HOSTS": "a.example"}),
    (b"unix", {"PLUGVISOR_HOST": "unix:///run/plugvisor.sock", "PLUGVISOR_HOSTS": "a.example"}),
    (b"x.elsewhere", {"PLUGVISOR_HOST": "0.0.0.0", "PLUGVISOR_HOSTS": "a.example"}),
]
INVALID = [
    b"",
    b" ",
    b"a b",
    b"localhost,x",
    b"localhost/x",
    b"a:b",
    b"a:1:2",
    b"::1",
    b"[::1",
    b"u@localhost",
    b"a\xff",
]


@pytest.mark.parametrize(("host", "environ"), ACCEPTED)
def test_accepted(host: bytes, environ: dict[str, str]) -> None:
    assert check(host, environ) is None


@pytest.mark.parametrize(("host", "environ"), MISDIRECTED)
def test_misdirected(host: bytes, environ: dict[str, str]) -> None:
    assert check(host, environ) is MisdirectedRequest


@pytest.mark.parametrize("host", INVALID)
def test_invalid(host: bytes) -> None:
    assert check(host, {"PLUGVISOR_HOSTS": "*"}) is MalformedRequest


def test_the_cache_is_bounded() -> None:
    hosts = HostCheck(["*"])
    for number in range(1000):
        assert hosts.find_error([b"host%d" % number], "1.1") is None
    assert len(hosts.cache) <= 64


@pytest.mark.parametrize(
    ("origin", "host", "is_own"),
    [
        (None, "127.0.0.1:48916", True),
        ("http://127.0.0.1:48916", "127.0.0.1:48916", True),
        ("https://plugvisor.example", "plugvisor.example", True),
        ("https://plugvisor.example", "plugvisor.example:443", True),
        ("https://front.example", "plugvisor.example", True),
        ("http://localhost:48916", "127.0.0.1:48916", False),
        ("http://127.0.0.1", "127.0.0.1:48916", False),
        ("https://evil.example", "plugvisor.example", False),
        ("ftp://plugvisor.example", "plugvisor.example", False),
        ("null", "null", False),
        ("", "", False),
        ("http://", "", False),
    ],
)
def test_own_origins(origin: str | None, host: str, is_own: bool) -> None:
    assert is_own_origin(origin, host, ["https://front.example"]) is is_own


# -- over HTTP


def request(path: str, *hosts: str, method: str = "GET", version: str = "1.1", headers: str = "") -> bytes:
    lines = "".join(f"Host: {host}\r\n" for host in hosts)
    head = f"{method} {path} HTTP/{version}\r\n{lines}Connection: close\r\nAuthorization: Bearer {ADMIN_CODE}\r\n"
    return f"{head}{headers}\r\n".encode()


def ask_one(plugvisor: PlugvisorStack, data: bytes) -> Answer:
    [answer] = ask(plugvisor, data)
    return answer


ANY_PATH = [
    ("GET", "/plugins"),
    ("GET", "/plugin/status?plugin_id=runs"),
    ("GET", "/events"),
    ("GET", "/plugin/runs/logs"),
    ("GET", "/health"),
    ("GET", "/"),
    ("GET", "/ui/"),
    ("GET", "/ui/main.js"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("GET", "/nothing"),
    ("OPTIONS", "/plugins"),
    ("POST", "/plugin/runs/stop"),
    ("POST", "/plugins/refresh"),
]


@pytest.mark.parametrize(("method", "path"), ANY_PATH)
def test_every_path_rejects_another_name(named: PlugvisorStack, method: str, path: str) -> None:
    for host in ("rebound.example", f"rebound.example:{named.port}", "other.example:1"):
        answer = ask_one(named, request(path, host, method=method))
        assert (answer.status, answer.code) == (421, "misdirected_request")
        assert b"example" not in answer.body, "it repeats no name"
    assert ask_one(named, request(path, "rebound.example", method=method, headers=WEBSOCKET)).status == 421
    assert named.status("runs")["state"] in ("STARTING", "RUNNING")


def test_known_names_are_answered(named: PlugvisorStack) -> None:
    for host in ("plugvisor.example.com", "OTHER.example:8443", "a.lan:5", f"localhost:{named.port}", "[::1]"):
        for _ in range(2):  # the second time from the cache
            assert ask_one(named, request("/plugins", host)).status == 200


def test_exactly_one_valid_host(named: PlugvisorStack) -> None:
    for hosts in (
        [],
        ["localhost", "localhost"],
        ["localhost", "evil.example"],
        ["a b"],
        ["localhost, x"],
        ["a/b"],
        [""],
    ):
        for headers in ("", WEBSOCKET):
            answer = ask_one(named, request("/plugins", *hosts, headers=headers))
            assert (answer.status, answer.code) == (400, "malformed_request"), hosts


def test_http_1_0_needs_no_host_and_gets_no_chunks(named: PlugvisorStack) -> None:
    for hosts in ([], ["localhost"]):
        with connect(named) as client:
            client.sendall(request("/plugins", *hosts, version="1.0"))
            data, is_closed = receive_bytes(client)
        assert data.startswith(b"HTTP/1.1 200 ")
        assert is_closed
    with connect(named) as client:
        client.sendall(request("/plugins", "evil.example", version="1.0"))
        assert receive_bytes(client)[0].startswith(b"HTTP/1.1 421 ")
    for path in ("/events", "/plugin/runs/logs/stream"):
        with connect(named) as client:
            client.sendall(request(path, version="1.0"))
            data = b""
            while b"\n\n" not in data:
                data += client.recv(65536)
            head, _, body = data.partition(b"\r\n\r\n")
            assert b"transfer-encoding" not in head.lower()
            assert b"connection: close" in head.lower()
            assert body.startswith(b"event: ")
    # a body without a length ends with the connection
    with connect(named) as client:
        client.sendall(request("/events", version="1.0"))
        client.recv(12)
        named.ctl("restart", "plugvisor")
        data, is_closed = receive_bytes(client)
        assert is_closed
        assert not data.endswith(b"0\r\n\r\n")
        assert OVERDUE not in named.service_log
    wait_for(named.is_ready)
    assert "Traceback" not in named.service_log


def test_websockets_are_for_our_own_pages(named: PlugvisorStack) -> None:
    origins = [None, named.url, "https://front.example"]
    for origin in origins:
        with open_websocket(named, "runs", origin=origin) as websocket:
            assert receive(websocket)["type"] == "initial"
    for origin in ("https://evil.example", "null", f"http://localhost:{named.port}", "http://127.0.0.1:1"):
        problem = refused_with(named, "runs", ADMIN_CODE, origin=origin)
        assert (problem["status"], problem["code"]) == (403, "forbidden")


def test_all_addresses_mean_any_name_which_is_said(plugvisor: PlugvisorStack) -> None:
    plugvisor.environ["PLUGVISOR_HOST"] = "0.0.0.0"
    plugvisor.up()
    assert ask_one(plugvisor, request("/plugins", "any.example")).status == 200
    for text in (plugvisor.output_path.read_text(), plugvisor.service_log):
        assert "PLUGVISOR_HOSTS" in text
    plugvisor.down()
    plugvisor.environ["PLUGVISOR_HOSTS"] = "a.example"
    for path in (plugvisor.output_path, plugvisor.log_dir / "_server.log"):
        path.write_text("")
    plugvisor.up()
    assert ask_one(plugvisor, request("/plugins", "any.example")).status == 421
    assert ask_one(plugvisor, request("/plugins", "a.example")).status == 200
    assert "PLUGVISOR_HOSTS" not in plugvisor.output_path.read_text() + plugvisor.service_log


@pytest.mark.parametrize("value", ["http://a", "a b", "a/b", "*a", "a:b", "[::1", "::1", "ä.example", "*.", "a,,b c"])
def test_hosts_that_are_none(shared: PlugvisorStack, value: str) -> None:
    ended = shared.command("up", PLUGVISOR_HOSTS=value)
    assert ended.returncode == 2
    assert "PLUGVISOR_HOSTS" in ended.stderr
