"""Front ends elsewhere: a configured origin may read everything, errors included; no other may read anything."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.helpers.stack import ADMIN_CODE, PlugvisorStack, run_stack
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx

FRIENDS = ["http://localhost:5173", "https://front.example"]
STRANGERS = [
    "http://localhost:5174",
    "https://localhost:5173",
    "http://localhost",
    "http://localhost:5173.evil.example",
    "https://front.example.evil.example",
    "https://sub.front.example",
    "HTTPS://FRONT.EXAMPLE",
    "null",
    "*",
]
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization, content-type"}


@pytest.fixture(scope="module")
def friendly() -> Iterator[PlugvisorStack]:
    """A Plugvisor that knows two origins, written as a person would."""
    with run_stack() as made:
        made.environ["PLUGVISOR_CORS_ORIGINS"] = f" {FRIENDS[0]}/ ,{FRIENDS[1]},"
        made.up()
        yield made


def find_cors_headers(response: httpx.Response) -> list[str]:
    return [name for name in response.headers if name.lower().startswith("access-control-")]


def assert_readable(response: httpx.Response, origin: str) -> None:
    assert response.headers["Access-Control-Allow-Origin"] == origin
    assert "Retry-After" in response.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Credentials" not in response.headers
    assert "Origin" in response.headers["Vary"], "a cache must not hand it to another origin"


REQUESTS: dict[str, Callable[[PlugvisorStack, dict[str, str]], httpx.Response]] = {
    "200": lambda it, headers: it.http.get("/plugins", headers=headers),
    "200 POST": lambda it, headers: it.http.post(
        "/plugins/refresh", headers=headers | {"Authorization": f"Bearer {ADMIN_CODE}"}
    ),
    "401": lambda it, headers: it.http.post("/plugins/refresh", headers=headers),
    "404": lambda it, headers: it.http.get("/nothing", headers=headers),
    "404 plugin": lambda it, headers: it.http.get("/plugin/status?plugin_id=none", headers=headers),
    "405": lambda it, headers: it.http.delete("/plugins", headers=headers),
}


@pytest.mark.parametrize("what", [*REQUESTS])
def test_none_by_default(shared: PlugvisorStack, what: str) -> None:
    response = REQUESTS[what](shared, {"Origin": FRIENDS[0]})
    assert response.status_code == int(what[:3])
    assert "Access-Control-Allow-Origin" not in response.headers


def test_no_preflight_by_default(shared: PlugvisorStack) -> None:
    response = shared.http.options("/plugins/refresh", headers=PREFLIGHT | {"Origin": FRIENDS[0]})
    assert response.status_code >= 400
    assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize("origin", FRIENDS)
@pytest.mark.parametrize("what", [*REQUESTS])
def test_a_configured_origin_reads_answers_and_errors(friendly: PlugvisorStack, what: str, origin: str) -> None:
    response = REQUESTS[what](friendly, {"Origin": origin})
    assert response.status_code == int(what[:3])
    assert_readable(response, origin)


@pytest.mark.parametrize("origin", STRANGERS)
@pytest.mark.parametrize("what", [*REQUESTS])
def test_another_origin_reads_nothing(friendly: PlugvisorStack, what: str, origin: str) -> None:
    response = REQUESTS[what](friendly, {"Origin": origin})
    assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize("origin", FRIENDS)
@pytest.mark.parametrize("path", ["/plugins", "/plugin/x/start", "/nothing"])
def test_preflight_of_a_configured_origin(friendly: PlugvisorStack, path: str, origin: str) -> None:
    response = friendly.http.options(path, headers=PREFLIGHT | {"Origin": origin})
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == origin
    assert {"GET", "POST"} <= {*response.headers["Access-Control-Allow-Methods"].split(", ")}
    allowed = response.headers["Access-Control-Allow-Headers"].lower().split(", ")
    assert {"authorization", "content-type", "if-match", "last-event-id"} <= {*allowed}
    assert {"PUT", "DELETE"} <= {*response.headers["Access-Control-Allow-Methods"].split(", ")}


@pytest.mark.parametrize("origin", STRANGERS)
def test_preflight_of_another_origin(friendly: PlugvisorStack, origin: str) -> None:
    response = friendly.http.options("/plugins/refresh", headers=PREFLIGHT | {"Origin": origin})
    assert response.status_code >= 400
    assert "Access-Control-Allow-Origin" not in response.headers


def test_preflight_of_another_method_or_header(friendly: PlugvisorStack) -> None:
    for asked in ({"Access-Control-Request-Method": "PATCH"}, {"Access-Control-Request-Headers": "x-other"}):
        response = friendly.http.options("/plugins", headers=PREFLIGHT | {"Origin": FRIENDS[0]} | asked)
        assert response.status_code >= 400


def test_who_names_no_origin_gets_no_permission(friendly: PlugvisorStack) -> None:
    response = friendly.http.get("/plugins")
    assert response.status_code == 200
    assert not find_cors_headers(response)
    assert response.headers["Vary"] == "Origin"


def test_an_unavailable_supervisord_is_readable_too(friendly: PlugvisorStack) -> None:
    os.kill(friendly.supervisord_pid, signal.SIGSTOP)
    answers = []

    def is_unavailable() -> bool:
        answers.append(friendly.http.get("/plugins", headers={"Origin": FRIENDS[0]}))
        return answers[-1].status_code == 503

    try:
        wait_for(is_unavailable, "supervisord to be missed")
    finally:
        os.kill(friendly.supervisord_pid, signal.SIGCONT)
    wait_for(lambda: friendly.http.get("/plugins").status_code == 200, "supervisord to answer again")
    response = answers[-1]
    assert "Retry-After" in response.headers
    assert_readable(response, FRIENDS[0])


def test_every_origin_may_be_allowed(plugvisor: PlugvisorStack) -> None:
    plugvisor.environ["PLUGVISOR_CORS_ORIGINS"] = "*"
    plugvisor.up()
    response = plugvisor.http.get("/plugins", headers={"Origin": "https://anyone.example"})
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in response.headers
    response = plugvisor.http.options("/plugins/refresh", headers=PREFLIGHT | {"Origin": "https://anyone.example"})
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == "*"
