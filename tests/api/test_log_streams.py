"""A log as it grows, as server-sent events: every line once, across whatever happens to the files."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from tests.helpers.log_clients import (
    HEADERS,
    following,
    messages_of,
    open_websocket,
    receive,
    receive_lines,
    wait_for_lines,
)
from tests.helpers.printer_plugin import PRINTER, print_text
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.stack import PlugvisorStack


def test_the_answers_headers(shared: PlugvisorStack) -> None:
    with following(shared, "_server") as listener:
        headers = listener.response.headers
        assert listener.response.status == 200
        assert headers["Content-Type"].partition(";")[0] == "text/event-stream"
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Accel-Buffering"] == "no"
        assert headers["X-Content-Type-Options"] == "nosniff"
    assert shared.http.head("/plugin/_server/logs/stream", headers=HEADERS).status_code == 200


def test_the_tail_and_then_each_new_line(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(PRINTER)
    with following(shared, plugin_id) as listener:
        assert listener.wait("initial").data == {"logs": [], "log_file": f"{plugin_id}.log", "total_lines": 0}
        shared.start_running(plugin_id)
        wait_for_lines(listener, "ready")
        print_text(shared, plugin_id, b"a\nb\nhalf")
        wait_for_lines(listener, "ready", "a", "b")
        print_text(shared, plugin_id, " \x1b[31m你好\x1b[0m <b>\xff\n".encode())
        wait_for_lines(listener, "b", "half \x1b[31m你好\x1b[0m <b>ÿ")
        assert listener.kinds[0] == "initial"
        assert set(listener.kinds[1:]) == {"append"}
        assert all(event.data.keys() == {"logs"} for event in listener.events[1:])
    with following(shared, plugin_id, lines="2") as other:
        initial = other.wait("initial").data
        assert [entry["message"] for entry in initial["logs"]] == ["b", "half \x1b[31m你好\x1b[0m <b>ÿ"]
        assert initial["total_lines"] == 4


def test_a_reconnect_goes_on_at_the_byte(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(PRINTER)
    shared.start_running(plugin_id)
    with following(shared, plugin_id) as listener:
        wait_for_lines(listener, "ready")
        for number in range(5):
            print_text(shared, plugin_id, b"line %d\n" % number)
            wait_for_lines(listener, f"line {number}")
        events = list(listener.events)
    print_text(shared, plugin_id, b"while nobody listened\n")
    for number, event in enumerate(events):
        with following(shared, plugin_id, event.id) as again:
            lines = [entry["message"] for later in events[number + 1 :] for entry in later.data["logs"]]
            wait_for_lines(again, "while nobody listened")
            assert messages_of(again) == [*lines, "while nobody listened"]
            assert set(again.kinds) == {"append"}


@pytest.mark.parametrize("bad", ["x", "0-0-0", "1-2-00000000", "9" * 5000, "99999999999999999999-0-00000000"])
def test_an_id_that_is_not_ours_begins_anew(shared: PlugvisorStack, bad: str) -> None:
    with following(shared, "_server", bad) as listener:
        assert listener.wait("initial").data["logs"]


def shrink_log(plugvisor: PlugvisorStack, plugin_id: str, size: int) -> None:
    """Have supervisord rotate a plugin's log at so many bytes, and start the plugin."""
    path = plugvisor.run_dir / "conf.d" / f"{plugin_id}.conf"
    text, count = re.subn(r"stdout_logfile_maxbytes=\d+", f"stdout_logfile_maxbytes={size}", path.read_text())
    assert count == 1
    path.write_text(text)
    plugvisor.ctl("update", plugin_id)
    plugvisor.ctl("start", plugin_id)
    plugvisor.wait_for_status(plugin_id, "running")
    wait_for(lambda: "ready" in plugvisor.read_log(plugin_id))


def test_supervisord_rotates(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    """It does so in the middle of lines, and more than once between two looks."""
    plugin_id = add(PRINTER)
    shrink_log(shared, plugin_id, 20_000)
    lines = [f"line {number} {'x' * (number % 90)}" for number in range(4000)]
    with following(shared, plugin_id) as listener, open_websocket(shared, plugin_id) as websocket:
        wait_for_lines(listener, "ready")
        assert receive(websocket)["type"] == "initial"
        received: list[str] = []
        for start in range(0, len(lines), 200):  # 12 kB at a time
            print_text(shared, plugin_id, "".join(f"{line}\n" for line in lines[start : start + 200]).encode())
            wait_for_lines(listener, lines[start + 199])
            received += receive_lines(websocket, 200)
        assert (shared.log_dir / f"{plugin_id}.log.3").exists(), "it has rotated"
        assert messages_of(listener) == ["ready", *lines]
        assert received == lines
        assert "initial" not in listener.kinds[1:]
        recent = listener.events[-2]
        with following(shared, plugin_id, recent.id) as again:  # of a file that was rotated, perhaps
            wait_for_lines(again, lines[-1])
            assert set(again.kinds) == {"append"}
            count = len(messages_of(again))
            assert messages_of(again) == lines[-count:]


def test_supervisorctl_clears_the_log(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(PRINTER)
    shared.start_running(plugin_id)
    with following(shared, plugin_id) as listener:
        wait_for_lines(listener, "ready")
        print_text(shared, plugin_id, b"before\n")
        wait_for_lines(listener, "before")
        shared.ctl("clear", plugin_id)
        print_text(shared, plugin_id, b"after\n")
        wait_for_lines(listener, "ready", "before", "after")


def test_a_log_that_is_truncated(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(PRINTER)
    shared.start_running(plugin_id)
    with following(shared, plugin_id) as listener:
        wait_for_lines(listener, "ready")
        os.truncate(shared.log_dir / f"{plugin_id}.log", 0)
        print_text(shared, plugin_id, b"after\n")
        wait_for_lines(listener, "ready", "after")
