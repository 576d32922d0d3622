"""PLUGVISOR_READ_AUTH=viewer: nothing but liveness is public, and what needs no token goes on without."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from plugvisor.api.routes import READS, ROUTES

from tests.helpers.stack import ADMIN_CODE, PlugvisorStack, run_stack

if TYPE_CHECKING:
    from collections.abc import Iterator

ORIGIN = "https://front.example"


@pytest.fixture(scope="module")
def guarded() -> Iterator[PlugvisorStack]:
    with run_stack() as made:
        made.environ |= {"PLUGVISOR_READ_AUTH": "viewer", "PLUGVISOR_CORS_ORIGINS": ORIGIN}
        made.write_plugin("one", runtime="auto_start = false")
        made.up()
        yield made


def test_the_contract_s_public_reads_are_what_the_setting_is_about() -> None:
    public = {route.path for route in ROUTES if route.role_setting == READS}
    assert public >= {"/plugins", "/plugin/status", "/events", "/available", "/plugin/{plugin_id}/health"}


def test_without_a_token_nothing_is_said_of_a_plugin(guarded: PlugvisorStack) -> None:
    for path in (
        "/plugins",
        "/plugin/status",
        "/plugin/status?plugin_id=one",
        "/plugin/one/health",
        "/plugin/x/health",
    ):
        response = guarded.get(path, None)
        assert (response.status_code, response.json()["code"]) == (401, "unauthorized")
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert "one" not in response.json().get("plugin_id", "")
    assert guarded.get("/plugin/status").status_code == 200


def test_the_page_is_served_and_asks_for_the_token_itself(guarded: PlugvisorStack) -> None:
    page = guarded.http.get("/", follow_redirects=True)
    assert page.status_code == 200
    assert page.headers["Content-Type"].startswith("text/html")


def test_the_health_command_needs_no_token(guarded: PlugvisorStack) -> None:
    done = guarded.command("health")
    assert (done.returncode, done.stdout) == (0, "healthy\n"), done.stderr


def test_a_preflight_carries_no_token(guarded: PlugvisorStack) -> None:
    asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    response = guarded.http.options("/plugins", headers={"Origin": ORIGIN, **asked})
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    refused = guarded.http.get("/plugins", headers={"Origin": ORIGIN})
    assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (401, ORIGIN)
    code = {"Authorization": f"Bearer {ADMIN_CODE}"}
    assert guarded.http.get("/plugins", headers={"Origin": ORIGIN, **code}).status_code == 200


def test_wrong_tokens_on_reads_are_counted_like_others(guarded: PlugvisorStack) -> None:
    before = guarded.get("/metrics").text
    assert guarded.get("/plugins", "wrong-token-of-a-test").status_code == 401
    after = guarded.get("/metrics").text
    name = 'plugvisor_auth_failures_total{reason="wrong"}'

    def count(text: str) -> float:
        return float(text.partition(f"{name} ")[2].partition("\n")[0])

    assert count(after) - count(before) == 1
