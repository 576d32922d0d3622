"""Requests of every kind of bytes, in pieces and too large, against the real service."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plugvisor.api.http.limits import MOST_BODY_BYTES, MOST_HEAD_BYTES
from plugvisor.api.problems import PROBLEMS

from tests.helpers.processes import resident_megabytes
from tests.helpers.raw_http import AUTHORIZED, PROMPT_SECONDS, ask, connect, get, parse, post, receive, send

if TYPE_CHECKING:
    from tests.helpers.stack import PlugvisorStack

CODES = {code for _, code in PROBLEMS.values()} | {"not_found", "method_not_allowed"}
"""Every code but `internal_error`, which would be a defect."""


TOKENS = st.sampled_from(
    [
        "",
        "a",
        "runs",
        "idle",
        "..",
        ".",
        "%2e%2e",
        "%2f",
        "%00",
        "\x00",
        "%",
        "%zz",
        "%ff%fe",
        "%ed%a0%80",
        "ÿ",
        "é",
        "*",
        "\\",
        "\t",
        " ",
        "?",
        "#",
        ";",
        "//",
        "@",
        ":",
        "[",
        "]",
        "%0d%0aX:%20y",
        "a" * 300,
        "a" * 70000,
    ]
)
IDS = st.one_of(TOKENS, st.text(max_size=20), st.lists(TOKENS, max_size=4).map("".join))
PATHS = st.one_of(
    st.sampled_from(
        ["/", "/plugins", "/plugin/status", "/events", "/plugins/refresh", "/docs", "*", "", "http://[::1"]
    ),
    st.builds("/plugin/{}/{}".format, IDS, st.sampled_from(["start", "stop", "reload", "status", ""])),
    st.builds("/{}?plugin_id={}".format, st.sampled_from(["plugin/status", "events"]), IDS),
    st.builds(
        "/plugin/idle/start?wait={}".format, st.sampled_from(["0", "-1", "nan", "inf", "1e999", "", "x", "0" * 999])
    ),
    st.builds("http://{}{}".format, IDS, IDS),
    IDS,
)
METHODS = st.sampled_from(
    [
        "GET",
        "POST",
        "HEAD",
        "OPTIONS",
        "PUT",
        "DELETE",
        "PATCH",
        "TRACE",
        "CONNECT",
        "PROPFIND",
        "PRI",
        "get",
        "G\0T",
        "",
    ]
)
VERSIONS = st.sampled_from(
    ["HTTP/1.1"] * 8 + ["HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/9.9", "http/1.1", "HTTP/1.1 x", ""]
)
HEADERS = st.one_of(
    st.sampled_from(
        [
            AUTHORIZED.decode().strip(),
            "Authorization: Bearer x",
            "Authorization: Bearer",
            "Authorization: ÿ",
            "Host: localhost",
            "Content-Length: 0",
            "Content-Length: 5",
            "Content-Length: -1",
            "Content-Length: 5, 5",
            "Content-Length: 0x5",
            "Content-Length: +5",
            f"Content-Length: {2**64}",
            "Content-Length: 9999999",
            "Content-Length:",
            "Transfer-Encoding: chunked",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: x",
            "Trailer: x",
            "Connection: close",
            "Connection: keep-alive",
            "Connection: upgrade",
            "Upgrade: websocket",
            "Upgrade: h2c",
            "Expect: 100-continue",
            "Expect: x",
            "If-None-Match: *",
            'If-None-Match: "ÿ',
            "Last-Event-ID: \x00",
            " folded: x",
            "Last-Event-ID: 1-99999999999999999999",
            "Origin: ÿ",
            "Range: bytes=0-",
            "no colon",
            ": no name",
            "a b: c",
        ]
    ),
    st.builds("{}: {}".format, IDS, IDS),
)
BODIES = st.sampled_from(
    [
        b"",
        b"",
        b"{}",
        b"hello",
        b"0\r\n\r\n",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhel",
        b"-1\r\n",
        b"zz\r\n\r\n",
        b"ffffffffffffffffff\r\n",
        b"5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n",
        b"\x00" * 100,
        b"\r\n\r\n",
        b"x" * 200000,
    ]
)


@pytest.fixture(autouse=True)
def nothing_was_started(target: PlugvisorStack) -> None:
    """Each test begins with a stopped `idle`, which a request of `test_whatever_is_sent` may have started."""
    target.post("/plugin/idle/stop")


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request, mostly almost right."""
    method, path, version = draw(METHODS), draw(PATHS), draw(VERSIONS)
    headers = draw(st.lists(HEADERS, max_size=6))
    end = draw(st.sampled_from(["\r\n"] * 6 + ["\n", "\r", "\r\n "]))
    head = end.join([f"{method} {path} {version}", *headers, "", ""])
    return head.encode("utf-8", "surrogatepass") + draw(BODIES)


@settings(
    max_examples=500,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    sent=st.one_of(st.lists(requests(), min_size=1, max_size=3).map(b"".join), st.binary(max_size=300)),
    cut=st.integers(0, 400),
)
def test_whatever_is_sent(target: PlugvisorStack, sent: bytes, cut: int) -> None:
    began = time.monotonic()
    with connect(target) as client:
        send(client, sent[:cut])
        send(client, sent[cut:])
        received, _ = receive(client, 0.05)
    # an answer to HEAD has a length and no body: where it ends is not seen in a row of several
    for answer in parse(received) if b"HEAD" not in sent else ():
        assert answer.status < 500 or answer.status == 503 or (answer.status == 500 and answer.code == "start_failed")
        if answer.status >= 400 and answer.body:
            assert answer.code in CODES
    [probe] = ask(target, get(b"/plugin/status?plugin_id=runs"))
    assert probe.status == 200
    assert time.monotonic() - began < PROMPT_SECONDS + 2  # a start or stop of a plugin is among them


CASES = {
    "no HTTP at all": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "malformed_request"),
    "another protocol": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "malformed_request"),
    "unknown method": (b"BREW /plugins HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "malformed_request"),
    "odd method": (
        b"PROPFIND /plugins HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        405,
        "method_not_allowed",
    ),
    "tunnel": (b"CONNECT x:1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "malformed_request"),
    "asterisk": (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 404, "not_found"),
    "absolute form": (get(b"http://elsewhere/nothing"), 404, "not_found"),
    "absolute form without a path": (get(b"http://elsewhere"), 400, "malformed_request"),
    "bytes beyond ASCII": (get(b"/\xff\xfe"), 400, "malformed_request"),
    "raw NUL": (get(b"/plugin/\0/start"), 400, "malformed_request"),
    "encoded NUL": (post(b"/plugin/%00/start"), 404, "plugin_not_found"),
    "NUL in a query": (get(b"/plugin/status?plugin_id=%00"), 404, "plugin_not_found"),
    "invalid UTF-8": (post(b"/plugin/%ff%fe/start"), 404, "plugin_not_found"),
    "surrogates": (get(b"/plugin/status?plugin_id=%ed%a0%80"), 404, "plugin_not_found"),
    "encoded slash": (post(b"/plugin/a%2fb/start"), 404, "not_found"),
    "dots": (post(b"/plugin/../start"), 404, "plugin_not_found"),
    "encoded dots": (post(b"/plugin/%2e%2e/start"), 404, "plugin_not_found"),
    "dots that lead out": (get(b"/../../etc/passwd"), 404, "not_found"),
    "long path": (get(b"/" + b"a" * MOST_HEAD_BYTES), 431, "too_large"),
    "long header": (get(b"/plugins", b"X: " + b"a" * MOST_HEAD_BYTES + b"\r\n"), 431, "too_large"),
    "many headers": (get(b"/plugins", b"X: y\r\n" * MOST_HEAD_BYTES), 431, "too_large"),
    "endless head": (b"GET /plugins HTTP/1.1\r\nX: " + b"a" * 20 * MOST_HEAD_BYTES, 431, "too_large"),
    "two codes": (
        post(b"/plugin/idle/start", b"Authorization: Bearer x\r\n" + AUTHORIZED, authorized=False),
        401,
        "unauthorized",
    ),
    "negative length": (post(b"/plugins/refresh", b"Content-Length: -1\r\n"), 400, "malformed_request"),
    "two lengths": (post(b"/plugins/refresh", b"Content-Length: 1\r\nContent-Length: 2\r\n"), 400, "malformed_request"),
    "length beyond numbers": (post(b"/plugins/refresh", b"Content-Length: %d\r\n" % 2**70), 400, "malformed_request"),
    "length and chunks": (
        post(b"/plugins/refresh", b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        400,
        "malformed_request",
    ),
    "chunked nonsense": (
        post(b"/plugins/refresh", b"Transfer-Encoding: chunked\r\n", b"zz\r\n\r\n"),
        400,
        "malformed_request",
    ),
    "too large as it says": (post(b"/plugins/refresh", b"Content-Length: %d\r\n" % 2**21), 413, "too_large"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "status", "code"), CASES.values(), ids=CASES)
def test_what_cannot_be_answered(target: PlugvisorStack, data: bytes, status: int, code: str) -> None:
    began = time.monotonic()
    [answer] = ask(target, data)
    assert (answer.status, answer.code) == (status, code)
    assert time.monotonic() - began < PROMPT_SECONDS
    assert target.status("idle")["status"] == "stopped"


def test_pipelined_requests_are_answered_in_order(target: PlugvisorStack) -> None:
    keep = b"GET /plugin/status?plugin_id=%s HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answers = ask(target, b"".join(keep % name for name in (b"runs", b"idle", b"nobody")) + get(b"/nothing"))
    assert [answer.status for answer in answers] == [200, 200, 404, 404]
    assert [answer.json()["plugin_id"] for answer in answers[:2]] == ["runs", "idle"]
    # nonsense after a request takes nothing from its answer, and is not mistaken for it
    [answer] = ask(target, keep % b"runs" + b"\0\0\0\r\n\r\n")
    assert answer.json()["plugin_id"] == "runs"


def test_a_broken_body_starts_nothing(target: PlugvisorStack) -> None:
    for headers, body in (
        (b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\nzz\r\n"),
        (b"Transfer-Encoding: chunked\r\n", (b"10000\r\n" + b"x" * 65536 + b"\r\n") * 17),
        (b"Content-Length: %d\r\n" % (1 << 40), b"x"),
    ):
        [answer] = ask(target, post(b"/plugin/idle/start", headers, body))
        assert answer.status in (400, 413), answer
    with connect(target) as client:  # hangs up in the middle
        send(client, post(b"/plugin/idle/start", b"Content-Length: 5\r\n", b"he"))
    [answer] = ask(target, post(b"/plugin/idle/stop", b"Content-Length: 2\r\n", b"{}"))
    assert answer.code == "not_running"


@pytest.mark.parametrize("authorized", [True, False])
@pytest.mark.parametrize("path", [b"/plugins/refresh", b"/plugins/install"])
@pytest.mark.parametrize(
    ("begin", "piece"),
    {
        "trailers": (b"0\r\n", b"X: " + b"y" * 1000 + b"\r\n"),
        "a trailer": (b"0\r\nX: ", b"y" * 1000),
        "an extension": (b"1;", b"y" * 1000),
    }.values(),
    ids=["trailers", "a trailer", "an extension"],
)
def test_what_surrounds_a_body_is_limited(
    target: PlugvisorStack, begin: bytes, piece: bytes, path: bytes, authorized: bool
) -> None:
    before = resident_megabytes(target.service_pid)
    request = post(path, b"Transfer-Encoding: chunked\r\n", authorized=authorized) + begin
    with connect(target) as client:
        client.sendall(request)
        taken = 0
        with contextlib.suppress(ConnectionError):
            while taken < 100 * MOST_BODY_BYTES:
                taken += client.send(piece * 100)
    assert taken < 20 * MOST_BODY_BYTES  # what the kernel has room for on both sides comes on top
    assert resident_megabytes(target.service_pid) < before + 16


def test_headers_after_the_body_change_nothing(target: PlugvisorStack) -> None:
    request = post(
        b"/plugin/idle/config/toml", b"Transfer-Encoding: chunked\r\n", b'1\r\n[\r\n0\r\nIf-Match: "x"\r\n\r\n'
    )
    [answer] = ask(target, request.replace(b"POST", b"PUT", 1))
    assert answer.code == "invalid_manifest"


@pytest.mark.parametrize("authorized", [True, False])
@pytest.mark.parametrize("headers", [b"Content-Length: 1000000000\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_no_more_than_a_megabyte_is_read(target: PlugvisorStack, headers: bytes, authorized: bool) -> None:
    pid = target.service_pid
    before = resident_megabytes(pid)
    request = post(b"/plugins/refresh", headers, authorized=authorized).replace(b"Connection: close\r\n", b"")
    with connect(target) as client:
        client.sendall(request)
        taken = 0
        with contextlib.suppress(ConnectionError):
            while taken < 100 * MOST_BODY_BYTES:
                taken += client.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        received, _ = receive(client)
    # what the kernel has room for on both sides comes on top
    assert taken < 20 * MOST_BODY_BYTES
    assert resident_megabytes(pid) - before < 20
    for answer in parse(received):  # a reset may overtake it
        assert answer.status in ((413,) if authorized or b"Length" in headers else (401, 413))


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (b"Content-Length: %d\r\n" % (MOST_BODY_BYTES + 1), b"x" * MOST_BODY_BYTES),
        (b"Transfer-Encoding: chunked\r\n", b"%x\r\n%b\r\n" % (MOST_BODY_BYTES + 1, b"x" * (MOST_BODY_BYTES + 1))),
    ],
    ids=["declared", "chunked"],
)
def test_an_answer_to_a_body_that_is_too_large_is_said_to_be_the_last(
    target: PlugvisorStack, headers: bytes, body: bytes
) -> None:
    """The client would keep the connection; it reads the answer when it has sent all but the end."""
    request = post(b"/plugins/refresh", headers, body).replace(b"Connection: close\r\n", b"")
    with connect(target) as client:
        client.sendall(request)
        received, is_closed = receive(client)
    [answer] = parse(received)
    assert (answer.status, answer.headers["connection"]) == (413, "close")
    assert is_closed
