"""Bodies that are kept until something changes: when they change, and that nobody is ever shown an old one."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from tests.helpers.stack import PlugvisorStack

QUICK = "auto_start = false\nsupervisor.startsecs = 0\nsupervisor.autorestart = false"
CRASHING = "import time\nprint('ready', flush=True)\ntime.sleep(0.3)\nraise SystemExit(3)\n"


def listed(answer: httpx.Response) -> dict[str, dict[str, Any]]:
    """The plugins of a list by their ids."""
    assert answer.status_code == 200, answer.text
    return {plugin["id"]: plugin for plugin in answer.json()["plugins"]}


def get_list(shared: PlugvisorStack, *tags: str) -> httpx.Response:
    return shared.http.get("/plugins", headers=[("If-None-Match", tag) for tag in tags])


def test_the_tag_changes_exactly_when_the_list_changes(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    seen: list[tuple[str, bytes]] = []

    def look() -> str:
        answers = [get_list(shared) for _ in range(5)]
        assert len({(answer.headers["ETag"], answer.content) for answer in answers}) == 1
        seen.append((answers[0].headers["ETag"], answers[0].content))
        return answers[0].headers["ETag"]

    first = look()
    assert first.startswith('"')
    assert first.endswith('"')
    began = time.monotonic()
    wait_for(lambda: time.monotonic() - began > 1.2)
    assert look() == first, "time alone changes nothing in it"
    for change in ("start", "stop", "start", "stop"):
        before = look()
        shared.post(f"/plugin/{plugin_id}/{change}")
        assert look() != before
    before = look()
    shared.write_plugin(plugin_id, runtime=f"{QUICK}\nenabled = false")
    shared.post("/plugins/refresh")
    assert look() != before
    before = look()
    shared.post("/plugins/refresh")
    assert look() == before
    assert len(dict(seen)) == len({content for _, content in seen}) == len(set(seen))


def test_not_modified(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    full = get_list(shared)
    tag = full.headers["ETag"]
    # by weak comparison (RFC 9110, 13.1.2)
    for tags in (
        [tag],
        [f'"x", {tag}'],
        [f'{tag},"x"'],
        ["*"],
        [f"W/{tag}"],
        [f'W/"x" ,  W/{tag} , "y"'],
        ['"x"', tag],
    ):
        answer = get_list(shared, *tags)
        assert answer.status_code == 304, tags
        assert answer.content == b""
        assert answer.headers["ETag"] == tag
        assert answer.headers["Cache-Control"] == full.headers["Cache-Control"]  # RFC 9110, 15.4.5
        assert "Content-Type" not in answer.headers
    for other in ('"x"', tag.strip('"'), f'"{tag}"', "", tag[:-1], f"w/{tag}", '"*"'):
        assert get_list(shared, other).status_code == 200, other
    shared.post(f"/plugin/{plugin_id}/start")
    changed = get_list(shared, tag)
    assert changed.status_code == 200
    assert changed.headers["ETag"] != tag
    assert listed(changed)[plugin_id]["state"] == "RUNNING"
    shared.post(f"/plugin/{plugin_id}/stop")
    head = shared.http.head("/plugins")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["ETag"] == get_list(shared).headers["ETag"]


def test_uptime_advances_and_time_is_always_fresh(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    began = time.monotonic()
    pid = shared.start_running(plugin_id)
    uptimes, times = [0], []  # by turns of one and of all, which is rendered once a second
    while uptimes[-1] < 3:
        before = datetime.now().astimezone()
        one = shared.status(plugin_id)
        everyone = shared.http.get("/plugin/status").json()
        after = datetime.now().astimezone()
        told = [datetime.fromisoformat(answer["time"]) for answer in (one, everyone)]
        assert before <= told[0] < told[1] <= after
        assert one["pid"] == everyone["plugins"][plugin_id]["pid"] == pid
        uptimes += [one["uptime"], everyone["plugins"][plugin_id]["uptime"]]
        times += told
        assert uptimes[-1] <= time.monotonic() - began < DEADLINE_SECONDS
    assert times == sorted(set(times))
    for kind in (uptimes[1::2], uptimes[2::2]):
        assert kind == sorted(kind)
    shared.post(f"/plugin/{plugin_id}/stop")


def test_restarts_exits_and_flapping(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    crashing = add(CRASHING, runtime="auto_start = false\nsupervisor.startsecs = 0\nrestart.delay = 0", suffix="-c")
    failing = add("raise SystemExit(5)\n", runtime="auto_start = false\nsupervisor.startsecs = 3", suffix="-f")
    for plugin_id in (crashing, failing):
        shared.post(f"/plugin/{plugin_id}/start")
    trying = wait_for(lambda: (told := shared.status(failing))["state"] == "BACKOFF" and told)
    assert trying["status"] == "error"
    assert "try again" in trying["detail"]
    assert "pid" not in trying
    assert trying["last_exit"]["code"] == 5
    for moment in (trying["retry_at"], trying["last_exit"]["at"]):
        told = datetime.fromisoformat(moment)
        assert told.tzinfo is not None
        assert abs(told.timestamp() - time.time()) < 10
    flapping = wait_for(lambda: (told := shared.status(crashing)).get("flapping") and told.get("pid") and told)
    assert flapping["restarts"] >= 3
    assert flapping["last_exit"]["code"] == 3
    assert "keeps dying" in flapping["detail"]
    item = listed(get_list(shared))[crashing]
    assert item["restarts"] >= 3
    assert item["last_exit"]["code"] == 3
    assert item["flapping"] is True
    assert not {"pid", "uptime", "time"} & item.keys()
    for plugin_id in (crashing, failing):
        shared.post(f"/plugin/{plugin_id}/stop")
    assert "retry_at" not in shared.status(failing)


def test_a_write_is_visible_when_it_is_answered(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    noise = [add(runtime=QUICK, suffix=f"-{number}") for number in range(3)]
    is_over = False

    def make_noise(other: str) -> None:
        while not is_over:
            for verb in ("start", "stop"):
                assert shared.post(f"/plugin/{other}/{verb}").status_code == 200

    with ThreadPoolExecutor(3) as clients:
        work = [clients.submit(make_noise, other) for other in noise]
        try:
            for _ in range(50):
                pid = shared.post(f"/plugin/{plugin_id}/start").json()["pid"]
                told = shared.status(plugin_id)
                assert (told["state"], told["pid"]) == ("RUNNING", pid)
                assert listed(get_list(shared))[plugin_id]["state"] == "RUNNING"
                everyone = shared.http.get("/plugin/status").json()["plugins"][plugin_id]
                assert (everyone["state"], everyone["pid"]) == ("RUNNING", pid)
                assert shared.post(f"/plugin/{plugin_id}/stop").status_code == 200
                assert listed(get_list(shared))[plugin_id]["state"] == "STOPPED"
                assert shared.http.get("/plugin/status").json()["plugins"][plugin_id]["state"] == "STOPPED"
                assert shared.status(plugin_id)["state"] == "STOPPED"
        finally:
            is_over = True
        assert all(done.result() is None for done in work)


def test_a_refresh_is_visible_when_it_is_answered(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    for number in range(5):
        plugin_id = add(suffix=f"-{number}")
        assert plugin_id in listed(get_list(shared))
        assert shared.status(plugin_id)["state"] == "STOPPED"
        assert plugin_id in shared.http.get("/plugin/status").json()["plugins"]
        (shared.plugins_dir / plugin_id).rename(shared.root / plugin_id)
        assert plugin_id in shared.post("/plugins/refresh").json()["removed"]
        assert plugin_id not in listed(get_list(shared))
        assert plugin_id not in shared.http.get("/plugin/status").json()["plugins"]


@pytest.mark.parametrize("path", ["/plugins", "/plugin/status"])
def test_a_frozen_supervisord_is_no_good_news(shared: PlugvisorStack, add: Callable[..., str], path: str) -> None:
    plugin_id = add(runtime=QUICK, suffix="-x")
    pid = shared.start_running(plugin_id)
    tag = get_list(shared).headers["ETag"]
    os.kill(shared.supervisord_pid, signal.SIGSTOP)
    try:
        os.kill(pid, signal.SIGKILL)
        # what is known may be told for as long as the stream may be silent
        wait_for(lambda: shared.http.get(path, headers={"If-None-Match": tag}).status_code == 503, "no news")
    finally:
        os.kill(shared.supervisord_pid, signal.SIGCONT)
    wait_for(lambda: shared.http.get(path).status_code == 200, "news")
    shared.wait_for_status(plugin_id, "error")
    assert listed(get_list(shared))[plugin_id]["state"] == "EXITED"
