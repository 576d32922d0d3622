"""Who may do what: every cell of senders and endpoints, made of the route table, over a real supervisord."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import pytest
from plugvisor.api.endpoint import EndpointRoute, Route
from plugvisor.api.routes import READS, ROUTES, make_routes
from plugvisor.models.stored.identity import ROLES
from starlette.routing import WebSocketRoute

from tests.helpers.log_clients import open_websocket, receive, refused_with
from tests.helpers.stack import PlugvisorStack, run_stack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plugvisor.models.stored.identity import Role

SENDERS = (None, *ROLES)
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class Stack(NamedTuple):
    """A Plugvisor, and tokens: of an identity of each role, and of an operator of some plugins."""

    plugvisor: PlugvisorStack
    tokens: dict[str | None, str | None]

    def ask(
        self, route: Route, sender: str | None, plugin_id: str = "gone", method: str = ""
    ) -> tuple[int, dict[str, str]]:
        """The status of an answer, and the problem if it is one; what follows of a stream is not read."""
        path = route.path.replace("{plugin_id}", plugin_id)
        path = re.sub(r"\{\w+\}", "gone", path)
        token = self.tokens[sender]
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with self.plugvisor.http.stream(method or route.method, path, headers=headers) as response:
            is_problem = response.headers.get("Content-Type") == "application/problem+json"
            if not is_problem or method == "HEAD":
                return response.status_code, {}
            response.read()
            return response.status_code, response.json()


def make_stack(plugvisor: PlugvisorStack, read_auth: str) -> Stack:
    plugvisor.environ["PLUGVISOR_READ_AUTH"] = read_auth
    plugvisor.up()
    tokens: dict[str | None, str | None] = {None: None}
    tokens |= {role: plugvisor.add_identity(f"a-{role}", role) for role in ROLES}
    tokens["some"] = plugvisor.add_identity("some", "operator", plugins=["web-*", "db"])
    return Stack(plugvisor, tokens)


@pytest.fixture(scope="module", params=["open", "viewer"])
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    with run_stack() as plugvisor:
        yield make_stack(plugvisor, request.param)


def is_public(route: Route, stack: Stack) -> bool:
    is_open = stack.plugvisor.environ["PLUGVISOR_READ_AUTH"] == "open"
    return route.role is None or (is_open and route.role_setting == READS)


def name_route(route: Route) -> str:
    return f"{route.method} {route.path}"


# -- the table


def test_a_route_must_name_its_role() -> None:
    row = ROUTES[0]
    with pytest.raises(TypeError, match="role"):
        Route(method="GET", path="/x", handler=row.handler, answers=row.answers)  # type: ignore[call-arg]


def test_nothing_but_liveness_and_the_schema_is_for_everyone() -> None:
    assert [route.path for route in ROUTES if route.role is None] == ["/health", "/schemas/plugin.toml.json"]
    assert {route.role for route in ROUTES} <= {None, *ROLES}


def test_what_changes_something_needs_more_than_a_viewer() -> None:
    changing = [route for route in ROUTES if route.method != "GET"]
    assert changing
    assert not [route.path for route in changing if route.role not in ("operator", "admin")]
    assert not [route.path for route in changing if route.role_setting], "no setting opens it"
    assert not [route.path for route in ROUTES if route.role_setting and route.role != "viewer"]
    assert {route.method for route in ROUTES} <= {*METHODS}


def test_every_path_is_in_the_table() -> None:
    """What is not checks the role itself: the one WebSocket, which the last test here is about."""
    rest = [route for route in make_routes() if not isinstance(route, EndpointRoute)]
    assert [(type(route), route.path) for route in rest if isinstance(route, WebSocketRoute)] == [
        (WebSocketRoute, "/ws/logs/{plugin_id}")
    ]
    assert len(make_routes()) == len(ROUTES) + 1


# -- each cell


@pytest.mark.parametrize("sender", SENDERS)
@pytest.mark.parametrize("route", ROUTES, ids=name_route)
def test_the_role_of_a_row_is_enough_and_needed(stack: Stack, route: Route, sender: Role | None) -> None:
    status, problem = stack.ask(route, sender)
    if is_public(route, stack):
        assert status not in (401, 403)
    elif sender is None:
        assert (status, problem["code"]) == (401, "unauthorized")
    elif ROLES.index(sender) < ROLES.index(route.role or "viewer"):
        assert (status, problem["code"], problem["role"]) == (403, "forbidden", route.role)
        assert f"the role {route.role}" in problem["detail"]
        assert f"the role {sender}" in problem["detail"]
    else:
        assert status not in (401, 403), problem
    if route.method == "GET":
        assert stack.ask(route, sender, method="HEAD")[0] == status


@pytest.mark.parametrize(
    "route",
    [route for route in ROUTES if route.role == "operator" and "{plugin_id}" in route.path],
    ids=name_route,
)
def test_an_operator_of_some_plugins_changes_no_others(stack: Stack, route: Route) -> None:
    for plugin_id in ("gone", "web", "db-2", "WEB-1"):
        status, problem = stack.ask(route, "some", plugin_id)
        assert (status, problem["code"], problem["plugin_id"]) == (403, "forbidden", plugin_id)
        assert "role" not in problem, "no other role is needed"
        assert "web-*, db" in problem["detail"]
    for plugin_id in ("web-", "web-1", "db"):
        assert stack.ask(route, "some", plugin_id)[0] != 403


@pytest.mark.parametrize("sender", ROLES)
def test_a_websocket_is_for_every_role(stack: Stack, sender: Role) -> None:
    with open_websocket(stack.plugvisor, "_server", stack.tokens[sender]) as websocket:
        assert receive(websocket)["type"] == "initial"
    assert refused_with(stack.plugvisor, "_server", None)["status"] == 401
