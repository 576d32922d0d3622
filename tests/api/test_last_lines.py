"""The last line of a plugin that has ended: who gets it, where, and what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.event_client import open_events
from tests.helpers.stack import ADMIN_CODE
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.stack import PlugvisorStack

ONCE = "auto_start = false\nsupervisor.startsecs = 0\nsupervisor.autorestart = false"
BROKEN = "print('ready', flush=True)\nraise ValueError('no luck')\n"
LINE = "ValueError: no luck"
PLAIN = "it ended unexpectedly, with exit code 1; its log may say why"
FULL = f"it ended unexpectedly, with exit code 1: {LINE}"


def read_detail(shared: PlugvisorStack, plugin_id: str) -> str:
    """A plugin's detail, for a client that may read logs."""
    detail: str = shared.get(f"/plugin/status?plugin_id={plugin_id}").json().get("detail", "")
    return detail


@pytest.fixture
def broken(shared: PlugvisorStack, add: Callable[..., str]) -> str:
    """A plugin that has ended, and whose last line is known."""
    plugin_id = add(BROKEN, runtime=ONCE)
    shared.post(f"/plugin/{plugin_id}/start")
    wait_for(lambda: LINE in read_detail(shared, plugin_id), "the last line")
    return plugin_id


def read_details(shared: PlugvisorStack, plugin_id: str, code: str | None) -> set[str]:
    """The plugin's detail everywhere that a client can read it."""
    listed = {each["id"]: each for each in shared.get("/plugins", code).json()["plugins"]}
    every = shared.get("/plugin/status", code).json()["plugins"]
    one = shared.get(f"/plugin/status?plugin_id={plugin_id}", code).json()
    with open_events(shared.port, code=code) as client:
        snapshot = client.wait("snapshot")
    return {each["detail"] for each in (listed[plugin_id], every[plugin_id], one, snapshot.plugins[plugin_id])}


def test_it_is_for_clients_that_may_read_logs(shared: PlugvisorStack, broken: str) -> None:
    viewer = shared.add_identity("lines-viewer", "viewer")
    for code, detail in ((ADMIN_CODE, FULL), (viewer, FULL), (None, PLAIN), ("wrong", PLAIN)):
        assert read_details(shared, broken, code) == {detail}
        assert shared.get(f"/plugin/{broken}/logs", code).status_code == (200 if detail is FULL else 401)
    shared.remove_identity("lines-viewer")
    assert read_details(shared, broken, viewer) == {PLAIN}


def test_each_form_has_its_tag(shared: PlugvisorStack, broken: str) -> None:
    tags = {code: shared.get("/plugins", code).headers["ETag"] for code in (ADMIN_CODE, None)}
    assert len(set(tags.values())) == 2
    for code, tag in tags.items():
        for other in tags:
            headers = {"If-None-Match": tag} | ({"Authorization": f"Bearer {other}"} if other else {})
            assert shared.http.get("/plugins", headers=headers).status_code == (304 if other == code else 200)
    assert LINE in read_detail(shared, broken)


def test_it_comes_as_an_event(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(BROKEN, runtime=ONCE)
    with (
        open_events(shared.port, code=ADMIN_CODE, plugin_id=plugin_id) as reader,
        open_events(shared.port, plugin_id=plugin_id) as other,
    ):
        for client in (reader, other):
            client.wait("snapshot")
        shared.post(f"/plugin/{plugin_id}/start")
        reader.wait("status", detail=FULL)
        shared.post(f"/plugin/{plugin_id}/start")
        reader.wait("status", after=reader.events.index(reader.wait("status", detail=FULL)) + 1, detail=FULL)
        assert other.wait("status", detail=PLAIN)
        assert all(LINE not in str(each.data) for each in other.events)


def test_a_stream_goes_on_without_it_when_its_token_is_invalid(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(BROKEN, runtime=ONCE)
    token = shared.add_identity("lines-stream", "viewer")
    with (
        open_events(shared.port, code=token, plugin_id=plugin_id) as client,
        open_events(shared.port, code=ADMIN_CODE, plugin_id=plugin_id) as other,
    ):
        client.wait("snapshot")
        other.wait("snapshot")
        shared.post(f"/plugin/{plugin_id}/start")
        client.wait("status", detail=FULL)
        other.wait("status", detail=FULL)
        shared.remove_identity("lines-stream")
        before = len(client.events), len(other.events)
        shared.post(f"/plugin/{plugin_id}/start")
        other.wait("status", after=before[1], detail=FULL)
        shared.post(f"/plugin/{plugin_id}/start")

        def list_details() -> list[str]:
            return [each.data.get("detail", "") for each in client.events[before[0] :]]

        wait_for(lambda: list_details().count(PLAIN) == 2, "both ends")
        assert not any(LINE in detail for detail in list_details())


def test_it_goes_when_the_plugin_runs_again(shared: PlugvisorStack, broken: str) -> None:
    shared.write_plugin(broken, runtime=ONCE)
    shared.post(f"/plugin/{broken}/reload")
    assert not read_detail(shared, broken)
    shared.post(f"/plugin/{broken}/stop")
    assert not read_detail(shared, broken)


def test_it_is_found_again_by_another_service(shared: PlugvisorStack, broken: str) -> None:
    shared.restart_service()
    wait_for(lambda: read_detail(shared, broken) == FULL, "the last line")


@pytest.mark.parametrize(
    ("code", "detail"),
    [
        ("raise SystemExit(3)\n", "with exit code 3; its log may say why"),
        ("print('bye', end='', flush=True)\nraise SystemExit(3)\n", "with exit code 3: bye"),
        ("print('\\x1b[1mb\\x00ye\\n\\n', flush=True)\nraise SystemExit(3)\n", "with exit code 3: b\ufffdye"),
        ("import os\nos.write(1, b'\\xff\\n' + b'x' * 99999)\nos._exit(3)\n", "x…"),
        ("import plugin.sdk\n", "with exit code 1: ModuleNotFoundError: No module named 'plugin'"),
    ],
)
def test_what_is_printed_last(shared: PlugvisorStack, add: Callable[..., str], code: str, detail: str) -> None:
    plugin_id = add(code, runtime=ONCE)
    shared.post(f"/plugin/{plugin_id}/start")
    wait_for(lambda: read_detail(shared, plugin_id).endswith(detail), detail)


def test_a_plugin_that_cannot_be_started(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    """Also by the runner: what is missing is in the status."""
    plugin_id = add(runtime="auto_start = false\nsupervisor.startretries = 0\nsupervisor.startsecs = 60")
    folder = shared.plugins_dir / plugin_id
    (folder / "main.py").write_text("import plugin.sdk\nclass Plugin:\n    def __init__(self, ctx): pass\n")
    manifest = (folder / "plugin.toml").read_text()
    (folder / "plugin.toml").write_text(manifest.replace('command = ["python", "main.py"]', 'entry = "main:Plugin"'))
    shared.post(f"/plugin/{plugin_id}/start")

    def look() -> Any:
        detail = read_detail(shared, plugin_id)
        return detail if "ModuleNotFoundError" in detail else None

    assert wait_for(look, "the last line").startswith(
        "it could not be started and supervisord has given up: it exited too quickly, with exit code 1: "
        "ModuleNotFoundError: No module named 'plugin'; put the folder `plugin` of the plugin host above the plugins"
    )
