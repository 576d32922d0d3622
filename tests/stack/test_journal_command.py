"""`plugvisor journal` against a running service."""

from __future__ import annotations

import json
import os
import re
import signal
from typing import TYPE_CHECKING, Any

from tests.helpers.running_command import RunningCommand, run_command, run_unread
from tests.helpers.stack import ADMIN_CODE, QUICK, PlugvisorStack
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable
    from pathlib import Path

    import pytest

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  (\S+) +(\w+) +(.*)")


def show(plugvisor: PlugvisorStack, *arguments: str, **environ: str) -> list[str]:
    """The lines of `plugvisor journal …`."""
    done = plugvisor.command("journal", *arguments, **environ)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def read_entries(plugvisor: PlugvisorStack, *arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in show(plugvisor, "--json", *arguments)]


def follow(
    plugvisor: PlugvisorStack, folder: Path, *arguments: str, **environ: str
) -> contextlib.AbstractContextManager[RunningCommand]:
    """Run `plugvisor journal --follow …` until the end of the block."""
    return run_command(plugvisor, folder, "journal", "--follow", *arguments, **environ)


def test_what_has_happened(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(runtime=QUICK)
    for verb in ("start", "stop"):
        shared.post(f"/plugin/{plugin_id}/{verb}")
    shared.post(f"/plugin/{plugin_id}/stop")

    def find() -> list[tuple[str, str]]:
        found = [LINE.fullmatch(line) for line in show(shared, "--plugin", plugin_id, "--kind", "operation")]
        return [(match[1], match[3]) for match in found if match]

    operations = wait_for(lambda: (found := find()) and len(found) == 3 and found, "three operations")
    assert {name for name, _ in operations} == {plugin_id}
    patterns = [
        rf"{words}, \d+ ms, by admin from 127\.0\.0\.1" for words in ("start, ok", "stop, ok", "stop, not_running")
    ]
    for (_, words), pattern in zip(operations, patterns, strict=True):
        assert re.fullmatch(pattern, words)
    states = [entry["state"] for entry in read_entries(shared, "--plugin", plugin_id, "--kind", "state")]
    assert states[-1] == "STOPPED"
    kinds = {entry["kind"] for entry in read_entries(shared, "--kind", "operation", "--kind", "service")}
    assert kinds == {"operation", "service"}


def test_which_entries_are_shown(shared: PlugvisorStack) -> None:
    for _ in range(3):
        last = shared.post("/plugins/refresh").headers["X-Request-Id"]
    only = ("--kind", "operation")  # no other test's plugin adds one meanwhile
    everything = wait_for(lambda: last in str(found := read_entries(shared, *only)) and found, "the last entry")
    ids = [entry["id"] for entry in everything]
    assert len(ids) >= 3
    assert [entry["at"] for entry in everything] == sorted(entry["at"] for entry in everything), "oldest first"
    assert [entry["id"] for entry in read_entries(shared, *only, "-n", "2")] == ids[-2:], "the newest of them"
    assert read_entries(shared, "--limit", "0") == []
    assert read_entries(shared, "--since", "0s") == []
    assert [entry["id"] for entry in read_entries(shared, *only, "--since", "1h")] == ids
    assert read_entries(shared, "--plugin", "never-heard-of") == []
    done = shared.command("journal", "--kind", "gossip")
    assert (done.returncode, done.stdout) == (1, "")
    assert "operation" in done.stderr, "it names those that there are"


def test_more_entries_than_one_request_gets(shared: PlugvisorStack, monkeypatch: pytest.MonkeyPatch) -> None:
    from plugvisor.cli.client import Client  # noqa: PLC0415
    from plugvisor.cli.streams import journal  # noqa: PLC0415

    for _ in range(5):
        last = shared.post("/plugins/refresh").headers["X-Request-Id"]
    client = Client.from_env(shared.environ)
    expected = wait_for(
        lambda: last in str(found := journal.read_entries(client, {}, 100)) and found, "the entry of the last request"
    )
    monkeypatch.setattr(journal, "MOST_PER_REQUEST", 2)
    assert journal.read_entries(client, {}, 100) == expected
    assert journal.read_entries(client, {}, 5) == expected[-5:]


def test_several_plugins(shared: PlugvisorStack, add: Callable[..., str], tmp_path: Path) -> None:
    ids = [add(runtime=QUICK, suffix=suffix) for suffix in ("-x1", "-x2", "-y")]
    for plugin_id in ids:
        shared.post(f"/plugin/{plugin_id}/start")
    patterns = ("--plugin", f"{ids[0][:-1]}*", "--plugin", ids[2])

    def find(*arguments: str) -> list[str]:
        return [entry["plugin_id"] for entry in read_entries(shared, "--kind", "operation", *arguments)]

    wait_for(lambda: find(*patterns) == ids, "the entries of all three")
    assert find(*patterns[:2]) == ids[:2]
    assert find(*patterns, "-n", "2") == ids[1:], "the newest"
    with follow(shared, tmp_path, *patterns[:2], "--json", "--kind", "operation", "-n", "1") as follower:
        wait_for(lambda: len(follower.lines) == 1, "what has happened before")
        for plugin_id in reversed(ids):
            shared.post(f"/plugin/{plugin_id}/stop")
        wait_for(lambda: len(follower.lines) == 3, "what has happened now")
        assert [json.loads(line)["plugin_id"] for line in follower.lines] == [ids[1], ids[1], ids[0]]


def test_following_across_a_restart_of_the_service(plugvisor: PlugvisorStack, tmp_path: Path) -> None:
    plugvisor.write_plugin("own", runtime=QUICK)
    plugvisor.up()
    plugvisor.post("/plugin/own/start")
    wait_for(lambda: show(plugvisor, "--kind", "operation"), "the first operation")
    with follow(plugvisor, tmp_path, "--json", "--kind", "operation") as follower:
        wait_for(lambda: follower.lines, "what has happened before")
        plugvisor.post("/plugin/own/reload")
        wait_for(lambda: len(follower.lines) == 2, "what has happened now")
        os.kill(plugvisor.service_pid, signal.SIGKILL)
        wait_for(plugvisor.is_ready, "the service")
        plugvisor.post("/plugin/own/stop")
        wait_for(lambda: len(follower.lines) == 3, "what has happened while it was connecting again")
        follower.process.send_signal(signal.SIGINT)
        assert follower.process.wait(DEADLINE_SECONDS) == 128 + signal.SIGINT
        assert "Traceback" not in follower.words
        entries = [json.loads(line) for line in follower.lines]
        assert [entry["verb"] for entry in entries] == ["start", "reload", "stop"]


def test_following_ends_with_the_identity(shared: PlugvisorStack, tmp_path: Path) -> None:
    added = shared.post("/identities", json={"name": "follower", "role": "viewer"}).json()
    with follow(shared, tmp_path, "--limit", "0", PLUGVISOR_TOKEN=added["token"]) as follower:

        def hears_of_it() -> bool:
            shared.post("/plugins/refresh")
            return bool(follower.lines)

        wait_for(hears_of_it, "an entry")
        shared.http.delete("/identities/follower", headers={"Authorization": f"Bearer {ADMIN_CODE}"})
        assert follower.process.wait(DEADLINE_SECONDS) == 1
        assert "it came from PLUGVISOR_TOKEN" in follower.words
        assert added["token"] not in follower.words


def test_output_that_nobody_reads(shared: PlugvisorStack) -> None:
    done = run_unread(shared, "journal")
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")
