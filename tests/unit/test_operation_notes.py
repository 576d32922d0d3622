"""What a request leaves in the journal."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import UNSET
from plugvisor.api.operation_notes import MOST_LISTED, find_request_id, find_verb, note_operation
from plugvisor.manager.identities.token import make_token
from plugvisor.models.outcome import RefreshResult
from plugvisor.models.stored.identity import Identity
from starlette.requests import Request

if TYPE_CHECKING:
    from plugvisor.models.stored.journal import NewEntry


MANAGER = SimpleNamespace(catalog={"web": None, "db": None})


class Notes:
    """Takes entries, in place of the recorder."""

    def __init__(self) -> None:
        self.entries: list[NewEntry] = []

    def note(self, entry: NewEntry) -> None:
        """Keep it."""
        self.entries.append(entry)


def note(path: str, outcome: str = "ok", **more: Any) -> list[NewEntry]:
    notes = Notes()
    scope = {
        "type": "http",
        "client": ("192.0.2.7", 1),
        "state": {"recorder": notes, "manager": MANAGER},
        "request_id": "x",
    }
    request: Request[Any] = Request({**scope, "identity": Identity("ops", "operator"), **more})
    note_operation(request, "POST", path, outcome, time.perf_counter())
    return notes.entries


@pytest.mark.parametrize("most", [MOST_LISTED, MOST_LISTED + 1])
def test_a_refresh_that_finds_much_says_how_much(most: int) -> None:
    ids = [f"p{number}" for number in range(most)]
    found = RefreshResult(added=[], changed=["a"], removed=[], invalid=ids)
    [entry] = note("/plugins/refresh", changes=found)
    if most == MOST_LISTED:
        assert entry.facts.changes == found
    else:
        assert entry.facts.changes == RefreshResult(added=[], changed=["a"], removed=[], invalid=ids[:MOST_LISTED])
        assert entry.facts.detail == f"in all 0 added, 1 changed, 0 removed, {most} invalid"


def test_a_name_of_a_client_is_cut() -> None:
    [entry] = note("/identities/{name}/rotate", path_params={"name": "x" * 1000})
    assert (entry.kind, entry.facts.subject) == ("identity", "x" * 64)
    [entry] = note("/plugin/{plugin_id}/start", path_params={"plugin_id": "x" * 1000})
    assert (entry.kind, entry.plugin_id) == ("operation", "x" * 64)


def test_a_token_in_the_place_of_a_name_is_not_kept() -> None:
    token = make_token()
    [entry] = note("/identities/{name}", path_params={"name": token})
    assert entry.facts.subject == "pv_***"
    [entry] = note("/plugin/{plugin_id}/start", path_params={"plugin_id": f"{token}x"}, log_note=f"no {token}")
    assert (entry.plugin_id, entry.facts.detail) == ("pv_***", "no pv_***")
    assert find_request_id(token) != token


@pytest.mark.parametrize(
    ("method", "path", "verb"),
    [
        ("POST", "/plugins/install", "install"),
        ("POST", "/plugin/{plugin_id}/rollback", "rollback"),
        ("DELETE", "/plugin/{plugin_id}", "uninstall"),
        ("DELETE", "/operations/{operation_id}", "cancel"),
        ("DELETE", "/plugin/{plugin_id}/intent", "forget"),
    ],
)
def test_the_verb_of_a_route(method: str, path: str, verb: str) -> None:
    assert find_verb(method, path) == verb


def test_a_plugin_that_the_body_names_is_noted() -> None:
    [entry] = note("/plugins/install", plugin_id="new")
    assert (entry.plugin_id, entry.facts.subject) == ("new", UNSET)
    [entry] = note("/plugins/install", "forbidden", plugin_id="new")
    assert entry.plugin_id == ""


def test_it_is_noted_when_it_began() -> None:
    began = time.perf_counter() - 5
    notes = Notes()
    scope = {"type": "http", "client": None, "state": {"recorder": notes, "manager": MANAGER}, "request_id": "x"}
    request: Request[Any] = Request({**scope, "identity": Identity("ops", "operator")})
    note_operation(request, "POST", "/plugins/stop", "ok", began)
    [entry] = notes.entries
    assert 4 < time.time() - entry.at < 60
    assert 5000 <= entry.facts.milliseconds < 60_000  # type: ignore[operator]


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "ä", "a\n", "١"])
def test_an_id_that_is_not_usable_is_replaced(given: str) -> None:
    assert find_request_id(given) != given
    assert find_request_id(given) != find_request_id(given)


def test_only_plugins_that_exist_are_in_what_is_forbidden() -> None:
    for plugin_id, noted in (("web", "web"), ("made-up", "")):
        [entry] = note("/plugin/{plugin_id}/start", "forbidden", path_params={"plugin_id": plugin_id})
        assert (entry.plugin_id, entry.facts.outcome) == (noted, "forbidden")
    [entry] = note("/identities/{name}", "forbidden", path_params={"name": "made-up"})
    assert entry.facts.subject is UNSET
    outcomes = dict.fromkeys(("web", "made-up"), "forbidden")
    assert [entry.plugin_id for entry in note("/plugins/start", outcomes=outcomes)] == ["", "web"]
