"""nginx and Caddy in front of Plugvisor, with the configurations of `deploy/`: the real servers, over TLS."""

from __future__ import annotations

import json
import os
import signal
import socket
from itertools import takewhile
from typing import TYPE_CHECKING

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.helpers.packages import make_plugin_package
from tests.helpers.proxies import NAME, run_proxy
from tests.helpers.stack import ADMIN_CODE, QUICK
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from websockets.sync.client import ClientConnection

    from tests.helpers.proxies import Proxy

TALKATIVE = """\
import time
while True:
    time.sleep(0.2)
    print("another line", flush=True)
"""
KINDS = ["nginx", "caddy"]


@pytest.fixture(scope="module", params=KINDS)
def proxy(request: pytest.FixtureRequest) -> Iterator[Proxy]:
    """A proxy in front of a Plugvisor without plugins."""
    with run_proxy(request.param) as proxy:
        yield proxy


def add(proxy: Proxy, plugin_id: str, code: str | None = None, runtime: str = QUICK) -> None:
    """Add a plugin, past the proxy."""
    stack = proxy.stack
    stack.write_plugin(plugin_id, **({"code": code} if code else {}), runtime=runtime)
    assert plugin_id in stack.post("/plugins/refresh").json()["added"]


def open_websocket(proxy: Proxy, plugin_id: str, origin: str | None = None) -> ClientConnection:
    return connect(
        f"wss://{proxy.authority}/ws/logs/{plugin_id}?code={ADMIN_CODE}",
        sock=socket.create_connection(("127.0.0.1", proxy.port), DEADLINE_SECONDS),
        ssl=proxy.context,
        origin=origin,  # type: ignore[arg-type] # a plain string is one
        proxy=None,
        open_timeout=DEADLINE_SECONDS,
    )


def receive_until(websocket: ClientConnection, text: str) -> None:
    """Receive messages until one has this text."""
    wait_for(lambda: text in str(websocket.recv(2 * DEADLINE_SECONDS)), text, 2 * DEADLINE_SECONDS)


def read_event(lines: Iterator[str]) -> dict[str, str]:
    """The next event of a stream; comments are skipped."""
    fields: dict[str, str] = {}
    while not fields:
        block = takewhile(bool, lines)
        fields = {name: value for name, _, value in (line.partition(": ") for line in block) if name}
    return fields


# -- requests


def test_reads_and_changes(proxy: Proxy) -> None:
    add(proxy, "plain")
    listed = proxy.request("GET", "/plugins", code=None)
    assert [plugin["id"] for plugin in listed.json()["plugins"] if plugin["id"] == "plain"] == ["plain"]
    assert proxy.request("POST", "/plugin/plain/start").json()["status"] in ("starting", "running")
    rejected = proxy.request("POST", "/plugin/plain/stop", code="wrong-code-that-is-long")
    assert (rejected.status_code, rejected.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert proxy.request("POST", "/plugin/plain/stop").json()["status"] == "stopped"


def test_head(proxy: Proxy) -> None:
    response = proxy.request("HEAD", "/health")
    assert (response.status_code, response.content) == (200, b"")


def test_only_the_name_of_the_url_is_answered(proxy: Proxy) -> None:
    """Otherwise another site's page could read everything that is public, by its own name (DNS rebinding)."""
    with httpx.Client(base_url=proxy.stack.url, trust_env=False) as http:
        assert http.get("/plugins", headers={"Host": proxy.authority}).status_code == 200
        assert http.get("/plugins", headers={"Host": "attacker.example"}).status_code == 421


def test_responses_are_compressed_and_can_be_revalidated(proxy: Proxy) -> None:
    for number in range(5):
        add(proxy, f"compressed-{number}")
    whole = proxy.request("GET", "/plugins", headers={"Accept-Encoding": "identity"})
    compressed = proxy.request("GET", "/plugins", headers={"Accept-Encoding": "gzip"})
    assert compressed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in whole.headers
    assert [plugin["id"] for plugin in compressed.json()["plugins"]] == [
        plugin["id"] for plugin in whole.json()["plugins"]
    ]
    known = {"If-None-Match": compressed.headers["ETag"], "Accept-Encoding": "gzip"}
    assert proxy.request("GET", "/plugins", headers=known).status_code == 304
    page = proxy.request("GET", "/", headers={"Accept-Encoding": "gzip"})
    assert page.headers["Content-Encoding"] == "gzip"
    assert "<html" in page.text


def test_a_manifest_keeps_its_tag(proxy: Proxy) -> None:
    """It is sent back as `If-Match`, which accepts no weak tag."""
    add(proxy, "edited", runtime=f"{QUICK}\n{'# a comment that makes it large' * 100}")
    path = "/plugin/edited/config/toml"
    shown = proxy.request("GET", path, headers={"Accept-Encoding": "gzip"})
    assert shown.headers["ETag"][:1] == '"'
    text = shown.text.replace('id = "edited"', 'id = "edited"\nname = "Edited"')
    headers = {"If-Match": shown.headers["ETag"], "Content-Type": "application/toml"}
    written = proxy.request("PUT", path, content=text, headers=headers)
    assert written.status_code == 200, written.text


def test_what_a_client_says_of_its_address_is_ignored(proxy: Proxy) -> None:
    forged = dict.fromkeys(("X-Forwarded-For", "X-Real-IP", "Forwarded"), "198.51.100.7")
    add(proxy, "forged")
    proxy.request("POST", "/plugin/forged/start", headers=forged)
    entries = wait_for(lambda: proxy.request("GET", "/journal", params={"plugin": "forged"}).json()["entries"])
    assert "198.51.100.7" not in json.dumps(entries)


def test_plain_http_leads_to_tls(proxy: Proxy) -> None:
    response = httpx.get(
        f"http://127.0.0.1:{proxy.plain_port}/plugins",
        headers={"Host": NAME},
        timeout=DEADLINE_SECONDS,
        trust_env=False,
    )
    assert response.status_code in (301, 308)
    assert response.headers["Location"].startswith(f"https://{NAME}")


# -- packages


def test_a_package_is_uploaded_as_it_comes(proxy: Proxy) -> None:
    """Larger than what nginx accepts, and than what it keeps in memory, by itself."""
    package = make_plugin_package("uploaded", files={"data.bin": os.urandom(3 << 20)})
    headers = {"Content-Type": "application/zip"}
    answer = proxy.request("POST", "/plugins/install", content=package, headers=headers)
    assert answer.status_code == 202, answer.text
    location = answer.headers["Location"]
    wait_for(lambda: proxy.request("GET", location).json()["state"] == "succeeded", "the installation")


def test_a_large_package_without_a_valid_token_is_rejected_in_words(proxy: Proxy) -> None:
    """Plugvisor answers before it has read the package, which the client goes on sending."""
    headers = {"Content-Type": "application/zip"}
    answer = proxy.request(
        "POST", "/plugins/install", code="wrong-code-that-is-long", content=bytes(20 << 20), headers=headers
    )
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")


# -- streams


def test_an_event_arrives_at_once(proxy: Proxy) -> None:
    add(proxy, "watched")
    with proxy.stream("/events") as lines:
        assert read_event(lines)["event"] == "snapshot"
        proxy.stack.post("/plugin/watched/start")
        wait_for(lambda: '"watched"' in read_event(lines)["data"], "the event")


def test_a_stream_ends_with_its_client(proxy: Proxy) -> None:
    with proxy.stream("/events") as lines:
        assert read_event(lines)["event"] == "snapshot"
        assert proxy.count_upstream_connections() > 0
    wait_for(lambda: proxy.count_upstream_connections() == 0, "the end of the stream")


def test_a_log_is_followed_by_a_websocket(proxy: Proxy) -> None:
    add(proxy, "talkative", TALKATIVE)
    proxy.stack.post("/plugin/talkative/start")
    with open_websocket(proxy, "talkative", f"https://{proxy.authority}") as websocket:
        receive_until(websocket, "another line")


def test_a_page_of_another_site_opens_no_websocket(proxy: Proxy) -> None:
    add(proxy, "private")
    with pytest.raises(InvalidStatus) as rejected, open_websocket(proxy, "private", "https://attacker.example"):
        pass
    assert rejected.value.response.status_code == 403


# -- the service restarts behind it


def test_requests_wait_while_the_service_restarts(proxy: Proxy) -> None:
    stack = proxy.stack
    add(proxy, "survivor")
    for _ in range(3):
        before = stack.service_pid
        os.kill(before, signal.SIGKILL)
        # the first may be a POST: no proxy sends one a second time
        assert proxy.request("POST", "/plugins/refresh").status_code == 200
        assert proxy.request("GET", "/plugins").status_code == 200
        wait_for(lambda before=before: stack.service_pid not in (0, before), "another service")


@pytest.mark.parametrize("kind", KINDS)
def test_quiet_streams_outlive_the_timeouts_of_the_proxy(kind: str) -> None:
    """The WebSocket and the event stream of a plugin that prints nothing, until half a minute has passed."""
    with run_proxy(kind, read_timeout_seconds=25) as proxy:
        add(proxy, "silent")
        with proxy.stream("/plugin/silent/logs/stream") as lines, open_websocket(proxy, "silent") as websocket:
            receive_until(websocket, '"ping"')
            proxy.stack.start_running("silent")
            receive_until(websocket, "ready")
            wait_for(lambda: "ready" in next(lines), "the line in the event stream")


@pytest.mark.parametrize("kind", KINDS)
def test_the_service_on_a_unix_socket(kind: str) -> None:
    with run_proxy(kind, is_socket=True) as proxy:
        assert proxy.request("GET", "/plugins", code=None).status_code == 200
        assert proxy.request("POST", "/plugins/refresh").status_code == 200
        with proxy.stream("/events") as lines:
            assert read_event(lines)["event"] == "snapshot"
