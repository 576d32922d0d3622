"""The journal over a real service: who did what, page by page and as a stream, and nothing of it secret."""

from __future__ import annotations

import json
import os
import re
import signal
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from plugvisor.api.operation_notes import find_verb
from plugvisor.api.routes import ROUTES
from plugvisor.models.stored.journal import KINDS

from tests.helpers.event_client import EventClient, open_events
from tests.helpers.stack import ADMIN_CODE, QUICK
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from tests.helpers.stack import PlugvisorStack

AUTH = {"Authorization": f"Bearer {ADMIN_CODE}"}
LOOPING = f"{QUICK}\nrestart.delay = 0\nrestart.factor = 1\nrestart.max_restarts = 1000000"
STREAM = "/journal/stream"


def read(shared: PlugvisorStack, **query: Any) -> dict[str, Any]:
    response = shared.http.get("/journal", params=query, headers=AUTH)
    assert response.status_code == 200, response.text
    page: dict[str, Any] = response.json()
    return page


def read_all(shared: PlugvisorStack, **query: Any) -> list[dict[str, Any]]:
    """Every entry, page by page."""
    entries: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while True:
        page = read(shared, **query, **after)
        entries += page["entries"]
        if "after" not in page:
            return entries
        assert len(page["entries"]) == query.get("limit", 100)
        after = {"after": page["after"]}


@pytest.fixture(autouse=True)
def _shared_has_begun(shared: PlugvisorStack) -> None:
    """Wait for the entry of the service's start, which is written soon after it."""
    wait_for(lambda: read(shared, limit=1)["entries"], "the first entry")


def wait_for_entry(shared: PlugvisorStack, plugin_id: str, **fields: Any) -> dict[str, Any]:
    """Wait until a plugin has an entry with these fields; returns the newest one."""

    def look() -> dict[str, Any] | None:
        entries = read(shared, plugin_id=plugin_id, limit=1000)["entries"]
        return next((entry for entry in entries if fields.items() <= entry.items()), None)

    entry: dict[str, Any] = wait_for(look, f"an entry {fields} of {plugin_id}")
    return entry


def open_stream(
    shared: PlugvisorStack, last: str | None = None, code: str = ADMIN_CODE, **query: str
) -> AbstractContextManager[EventClient]:
    return open_events(shared.port, last, path=STREAM, code=code, **query)


def test_what_becomes_of_a_plugin_and_who_did_it(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    pid = shared.start_running(plugin_id)
    os.kill(pid, signal.SIGKILL)
    shared.wait_for_state(plugin_id, "EXITED")
    assert shared.post(f"/plugin/{plugin_id}/start").status_code == 200
    assert shared.post(f"/plugin/{plugin_id}/start").status_code == 409
    assert shared.post(f"/plugin/{plugin_id}/stop").status_code == 200
    wait_for_entry(shared, plugin_id, verb="stop")
    entries = read(shared, plugin_id=plugin_id)["entries"][::-1]
    assert [entry["id"] for entry in read_all(shared, plugin_id=plugin_id, limit=2)[::-1]] == [
        entry["id"] for entry in entries
    ]
    assert {entry["plugin_id"] for entry in entries} == {plugin_id}

    states = [(entry["state"], entry["status"]) for entry in entries if entry["kind"] == "state"]
    assert states == [("RUNNING", "running"), ("EXITED", "error"), ("STOPPING", "stopping"), ("STOPPED", "stopped")]
    running = next(entry for entry in entries if entry.get("state") == "RUNNING")
    assert running["times"] == 2
    assert datetime.fromisoformat(running["until"]) > datetime.fromisoformat(running["at"])
    killed = next(entry for entry in entries if entry.get("state") == "EXITED")
    assert killed["last_exit"]["signal"] == "SIGKILL"
    assert "SIGKILL" in killed["detail"]
    stopped = next(entry for entry in entries if entry.get("state") == "STOPPED")
    ended = stopped["last_exit"]
    assert ended.get("signal") == "SIGTERM" or ended.get("code") == 0, "0 if it was already prepared for the signal"

    operations = [entry for entry in entries if entry["kind"] == "operation"]
    assert [(entry["verb"], entry["outcome"]) for entry in operations] == [
        ("start", "ok"),
        ("start", "ok"),
        ("start", "already_running"),
        ("stop", "ok"),
    ]
    for operation in operations:
        assert (operation["identity"], operation["address"]) == ("admin", "127.0.0.1")
        assert operation["milliseconds"] >= 0
    assert len({operation["request_id"] for operation in operations}) == 4


def test_a_plugin_that_keeps_crashing_has_one_entry_for_each_state(
    shared: PlugvisorStack, add: Callable[..., str]
) -> None:
    plugin_id = add("raise SystemExit(3)", runtime=LOOPING)
    with open_stream(shared, plugin_id=plugin_id, kind="state") as listener:
        assert shared.post(f"/plugin/{plugin_id}/start").status_code == 200
        wait_for(lambda: [event for event in list(listener.events) if event.data.get("times", 1) >= 5], "5 crashes")
        assert shared.post(f"/plugin/{plugin_id}/stop").status_code == 200
        entries = read(shared, plugin_id=plugin_id, kind="state")["entries"]
        assert len({(entry["state"], json.dumps(entry.get("last_exit", {}).get("code"))) for entry in entries}) == len(
            entries
        )
        assert max(entry.get("times", 1) for entry in entries) >= 5
        exited = next(entry for entry in entries if entry.get("last_exit", {}).get("code") == 3)
        assert exited["status"] == "error"
        assert listener.grows


def test_a_request_about_many_has_an_entry_for_each(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    one, other = add(runtime=QUICK, suffix="-one"), add(runtime=QUICK, suffix="-other")
    headers = {**AUTH, "X-Request-Id": "many.1"}
    body = {"plugin_ids": [one, other, "gone"]}
    assert shared.http.post("/plugins/start", json=body, headers=headers).headers["X-Request-Id"] == "many.1"
    wait_for_entry(shared, other, request_id="many.1")
    entries = [entry for entry in read(shared, kind="operation")["entries"] if entry["request_id"] == "many.1"]
    assert {entry.get("plugin_id"): entry["outcome"] for entry in entries} == {None: "ok", one: "ok", other: "ok"}
    assert "2 of 3 succeeded" in next(entry for entry in entries if "plugin_id" not in entry)["detail"]


def test_a_refresh_says_what_has_changed(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add()

    def list_added() -> list[str]:
        entries = read(shared, kind="operation", limit=1000)["entries"]
        return [name for entry in entries if "changes" in entry for name in entry["changes"]["added"]]

    wait_for(lambda: plugin_id in list_added(), "the refresh")
    assert list_added().count(plugin_id) == 1


def test_only_what_the_filters_say(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    shared.start_running(plugin_id)
    wait_for_entry(shared, plugin_id, verb="start")
    wait_for_entry(shared, plugin_id, state="RUNNING")
    entries = read_all(shared, limit=7)
    assert entries == sorted(entries, key=lambda entry: (entry["at"], entry["id"]), reverse=True)
    assert len({entry["id"] for entry in entries}) == len(entries)
    for kinds in ("operation", "state,operation", " state , service", ",".join(KINDS)):
        chosen = {name.strip() for name in kinds.split(",")}
        expected = [entry["id"] for entry in entries if entry["kind"] in chosen]
        assert [entry["id"] for entry in read_all(shared, kind=kinds, limit=7)][-len(expected) :] == expected
    [operation] = read(shared, plugin_id=plugin_id, kind="operation")["entries"]
    moment = datetime.fromisoformat(operation["at"]).timestamp()
    for since in (operation["at"], f"{moment - 0.001:.6f}"):
        assert operation in read(shared, since=since, limit=1000)["entries"]
        assert operation not in read(shared, since=f"{moment + 0.001:.6f}", kind="operation", limit=1000)["entries"]
        assert operation in read(shared, until=f"{moment + 0.001:.6f}", limit=1000)["entries"]
        assert operation not in read(shared, until=f"{moment - 0.001:.6f}", limit=1000)["entries"]
    assert read(shared, plugin_id="never") == {"entries": []}


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("kind=x", "kind"),
        ("kind=state,x", "kind"),
        ("since=yesterday", "since"),
        ("until=nan", "until"),
        ("until=-1", "until"),
        ("since=1e9", "since"),
        ("since=20&until=10", "since"),
        ("since=99999-01-01", "since"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("after=x", "after"),
        ("after=-1", "after"),
        ("after=99999999999999999999", "after"),
        ("after=%D9%A1", "after"),
    ],
)
def test_a_parameter_that_does_not_fit_is_named(shared: PlugvisorStack, query: str, parameter: str) -> None:
    response = shared.http.get(f"/journal?{query}", headers=AUTH)
    assert response.status_code == 422, response.text
    assert (response.json()["code"], response.json()["parameter"]) == ("invalid_request", parameter)


def test_a_token_is_needed(shared: PlugvisorStack) -> None:
    for path in ("/journal", STREAM):
        assert shared.http.get(path).status_code == 401
        assert shared.http.head(path).status_code == 401
    assert shared.http.head(STREAM, headers=AUTH).headers["Content-Type"].startswith("text/event-stream")


# -- request ids


@pytest.mark.parametrize("path", ["/plugin/gone/start", "/plugins/stop?wait=x", "/plugins/refresh"])
@pytest.mark.parametrize("given", ["A-b_c.9", "x" * 64, "x" * 65, "a b", "ä", "", None])
def test_every_answer_to_a_change_has_an_id(shared: PlugvisorStack, path: str, given: str | None) -> None:
    headers = {} if given is None else {"X-Request-Id": given.encode()}
    for auth in ({}, AUTH):
        answered = shared.http.post(path, headers={**auth, **headers}).headers["X-Request-Id"]
        if given in ("A-b_c.9", "x" * 64):
            assert answered == given
        else:
            assert re.fullmatch("[0-9a-f]{16}", answered)
        wait_for(lambda answered=answered: f"ms, request {answered}\n" in shared.read_log("_server"), "the log line")


def test_reads_have_none_and_leave_nothing(shared: PlugvisorStack) -> None:
    response = shared.http.get("/server/info", headers={**AUTH, "X-Request-Id": "of-a-read"})
    assert "X-Request-Id" not in response.headers
    shared.post("/plugin/after-a-read/start")
    wait_for_entry(shared, "after-a-read", verb="start")
    assert "of-a-read" not in [entry.get("request_id") for entry in read_all(shared)]


def test_who_has_no_token_leaves_nothing(shared: PlugvisorStack) -> None:
    refused = [shared.post("/plugin/refused/start", code) for code in (None, "wrong")]
    assert [response.status_code for response in refused] == [401, 401]
    assert shared.post("/plugin/refused-no-more/start").status_code == 404
    wait_for_entry(shared, "refused-no-more", outcome="plugin_not_found")
    assert read(shared, plugin_id="refused") == {"entries": []}


def test_who_may_not_do_it_is_named(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    token = shared.post("/identities", json={"name": "reader", "role": "viewer"}).json()["token"]
    assert shared.post(f"/plugin/{plugin_id}/start", token).status_code == 403
    entry = wait_for_entry(shared, plugin_id, verb="start")
    assert (entry["identity"], entry["outcome"]) == ("reader", "forbidden")
    assert shared.http.get("/journal", headers={"Authorization": f"Bearer {token}"}).status_code == 200
    shared.http.delete("/identities/reader", headers=AUTH)

    def list_changes() -> list[str]:
        entries = read(shared, kind="identity")["entries"]
        return [entry["verb"] for entry in entries if entry["subject"] == "reader"]

    wait_for(lambda: list_changes() == ["remove", "add"], "entries of the identity")
    text = json.dumps(read_all(shared))
    assert token not in text
    assert ADMIN_CODE not in text


def test_a_client_sends_what_it_likes(shared: PlugvisorStack) -> None:
    for name in ("%F0%9F%90%88", "%ED%A0%80", "a%0Ab", "x" * 500):
        assert shared.post(f"/plugin/{name}/start").status_code == 404
    entry = wait_for_entry(shared, "x" * 64, verb="start")
    assert entry["outcome"] == "plugin_not_found"
    wait_for_entry(shared, "\N{CAT}", verb="start")
    wait_for_entry(shared, "a\nb", verb="start")


@pytest.mark.parametrize("route", [route for route in ROUTES if route.method != "GET"], ids=lambda route: route.path)
def test_every_change_has_a_verb(route: Any) -> None:
    assert re.fullmatch("[a-z]{3,10}", find_verb(route.method, route.path))


# -- the stream


@pytest.fixture
def listener(shared: PlugvisorStack, add: Callable[..., str]) -> Iterator[tuple[EventClient, str]]:
    plugin_id = add(runtime=QUICK)
    with open_stream(shared) as client:
        yield client, plugin_id


def test_an_entry_is_streamed_as_it_is_listed(shared: PlugvisorStack, listener: tuple[EventClient, str]) -> None:
    client, plugin_id = listener
    assert client.response.headers["Content-Type"].startswith("text/event-stream")
    shared.start_running(plugin_id)
    received = client.wait("entry", plugin_id=plugin_id, verb="start")
    assert received.data in read(shared, plugin_id=plugin_id)["entries"]
    client.wait("entry", plugin_id=plugin_id, state="RUNNING")
    assert client.grows


def test_only_what_is_asked_for_is_streamed(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    one, other = add(runtime=QUICK, suffix="-one"), add(runtime=QUICK, suffix="-other")
    with open_stream(shared, plugin_id=one) as of_one, open_stream(shared, kind="operation,check") as of_kind:
        shared.start_running(other)
        shared.start_running(one)
        of_one.wait("entry", verb="start")
        of_one.wait("entry", state="RUNNING")
        of_kind.wait("entry", plugin_id=one)
        assert {event.data["plugin_id"] for event in of_one.events} == {one}
        assert {event.data["kind"] for event in of_kind.events} == {"operation"}
        # and perhaps what was done just before
        assert {event.data.get("plugin_id") for event in of_kind.events} >= {one, other}


def test_who_comes_back_gets_what_was_missed(shared: PlugvisorStack, listener: tuple[EventClient, str]) -> None:
    client, plugin_id = listener
    shared.start_running(plugin_id)
    last = client.wait("entry", plugin_id=plugin_id, verb="start").id
    client.close()
    assert shared.post(f"/plugin/{plugin_id}/stop").status_code == 200
    wait_for_entry(shared, plugin_id, verb="stop")
    with open_stream(shared, last, plugin_id=plugin_id) as again:
        again.wait("entry", verb="stop")
        missed = {(event.data.get("state"), event.data.get("verb")) for event in again.events}
        assert {("STOPPING", None), ("STOPPED", None), (None, "stop")} <= missed
        assert (None, "start") not in missed
        assert again.grows
        assert again.events[0].number > int(last)


def test_who_comes_back_before_its_first_event_misses_nothing(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    with open_stream(shared, kind="limit", plugin_id=plugin_id) as waiting:
        last = wait_for(lambda: waiting.last_id, "an id")
        assert waiting.events == []
    shared.post(f"/plugin/{plugin_id}/start")
    wait_for_entry(shared, plugin_id, verb="start")
    with open_stream(shared, last, plugin_id=plugin_id) as resumed:
        resumed.wait("entry", verb="start")


def test_from_the_beginning(shared: PlugvisorStack) -> None:
    with open_stream(shared, "0") as client:
        client.wait("entry", subject="service", verb="started")
        last = read(shared, limit=1)["entries"][0]["id"]
        client.wait("entry", id=last)
        assert client.grows
        assert "gap" not in client.kinds


def test_who_comes_from_another_journal_is_told(shared: PlugvisorStack) -> None:
    with open_stream(shared, "999999999999") as client:
        assert "no longer in the journal" in client.wait("gap").data["detail"]
        client.wait("entry", subject="service", verb="started")


@pytest.mark.parametrize("last", ["x", "-1", "1-2", "9" * 30])
def test_an_id_that_is_none_counts_as_absent(shared: PlugvisorStack, add: Callable[..., str], last: str) -> None:
    plugin_id = add(runtime=QUICK)
    with open_stream(shared, last) as client:
        shared.start_running(plugin_id)
        client.wait("entry", plugin_id=plugin_id)
        assert not [event for event in client.events if event.data.get("subject") == "service"]


def test_a_stream_ends_with_its_identity(shared: PlugvisorStack) -> None:
    token = shared.post("/identities", json={"name": "short", "role": "viewer"}).json()["token"]
    with open_stream(shared, code=token) as client:
        assert shared.http.delete("/identities/short", headers=AUTH).status_code == 200
        wait_for(lambda: client.ended, "the end of the stream")
        assert client.ended == "cleanly"


def test_metrics(shared: PlugvisorStack) -> None:
    def read_values() -> dict[str, float]:
        text = shared.http.get("/metrics", headers=AUTH).text
        found = re.findall(r"^(plugvisor_(?:store|journal)_\w+) (\S+)$", text, re.MULTILINE)
        return {name: float(value) for name, value in found}

    wait_for(lambda: read_values()["plugvisor_journal_entries"] >= 1, "the service's start to be in the journal")
    values = read_values()
    assert values["plugvisor_store_up"] == 1
    assert values["plugvisor_store_errors_total"] == 0
    assert values["plugvisor_journal_bytes"] > 4096
