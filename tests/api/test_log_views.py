"""`GET /plugin/{plugin_id}/logs` and `/logs/files` over a real service, whose logs supervisord writes."""

from __future__ import annotations

import json
import os
import signal
import statistics
import threading
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.helpers.printer_plugin import PRINTER, print_text
from tests.helpers.stack import ADMIN_CODE, PlugvisorStack
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

HEADERS = {"Authorization": f"Bearer {ADMIN_CODE}"}


def ask(plugvisor: PlugvisorStack, path: str, **query: Any) -> httpx.Response:
    return plugvisor.http.get(f"/plugin/{path}", params=query, headers=HEADERS)


def show(plugvisor: PlugvisorStack, plugin_id: str, **query: Any) -> dict[str, Any]:
    response = ask(plugvisor, f"{plugin_id}/logs", **query)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    assert answer.keys() == {"plugin_id", "logs", "total_lines", "returned_lines", "log_file"}
    assert answer["returned_lines"] == len(answer["logs"])
    assert all(entry.keys() == {"timestamp", "level", "file", "line", "message"} for entry in answer["logs"])
    return answer


def messages(answer: dict[str, Any]) -> list[str]:
    return [entry["message"] for entry in answer["logs"]]


def test_what_a_plugin_prints(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(PRINTER)
    empty = {"plugin_id": plugin_id, "logs": [], "total_lines": 0, "returned_lines": 0, "log_file": f"{plugin_id}.log"}
    assert show(shared, plugin_id) == empty
    shared.start_running(plugin_id)
    print_text(shared, plugin_id, b"2026-11-22 10:11:12.123+01:00 | ERROR    | main:run:7 - it failed\nTraceback\n")
    answer = show(shared, plugin_id)
    assert answer["logs"][-2:] == [
        {
            "timestamp": "2026-11-22T10:11:12.123000+01:00",
            "level": "ERROR",
            "file": "main:run",
            "line": 7,
            "message": "it failed",
        },
        {"timestamp": None, "level": None, "file": None, "line": None, "message": "Traceback"},
    ]
    assert messages(answer)[0] == "ready"
    assert answer["total_lines"] == 3
    assert messages(show(shared, plugin_id, lines=1)) == ["Traceback"]
    assert messages(show(shared, plugin_id, level="error")) == ["it failed"]
    assert messages(show(shared, plugin_id, search="TRACE")) == ["Traceback"]
    period = {"start_time": "2026-11-22T09:11:12+00:00", "end_time": "2026-11-22T09:11:13Z"}
    assert messages(show(shared, plugin_id, **period)) == ["it failed", "Traceback"]
    assert messages(show(shared, plugin_id, start_time="2026-11-22T09:11:13+00:00")) == []
    assert messages(show(shared, plugin_id, level="", search="", start_time="", end_time="", lines="")) != []


def test_the_answers_headers(shared: PlugvisorStack) -> None:
    for path in ("_server/logs", "_server/logs/files"):
        response = ask(shared, path)
        assert response.headers["Content-Type"] == "application/json"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Cache-Control"] == "no-store"
        assert shared.http.head(f"/plugin/{path}", headers=HEADERS).status_code == 200
        assert shared.post(f"/plugin/{path}").status_code == 405


def test_the_services_own_log(shared: PlugvisorStack) -> None:
    shared.post("/plugin/nobody/stop")
    # what the service says comes into its log by way of supervisord
    wait_for(lambda: any("POST /plugin/nobody/stop" in message for message in messages(show(shared, "_server"))))
    answer = show(shared, "_server")
    assert answer["log_file"] == "_server.log"
    assert {entry["level"] for entry in answer["logs"]} >= {"INFO"}
    assert all(entry["timestamp"] for entry in answer["logs"] if entry["level"])


def test_any_bytes(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add(PRINTER)
    shared.start_running(plugin_id)
    everything = bytes(range(256)).replace(b"\n", b"")
    markup = '<script>alert(1)</script> "\\u0000" </pre> \u2028 &amp; 你好'.encode()
    print_text(shared, plugin_id, everything + b"\n" + markup + b"\n\x1b[31mred\x1b[0m\r\n")
    response = ask(shared, f"{plugin_id}/logs", lines=3)
    assert not {byte for byte in response.content if byte < 0x20}, "control characters are escaped"
    found = [entry["message"] for entry in json.loads(response.content)["logs"]]
    assert found == [everything.decode("utf-8", "replace"), markup.decode(), "\x1b[31mred\x1b[0m"]


def test_a_line_of_50_megabytes(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add()
    (shared.log_dir / f"{plugin_id}.log").write_bytes(b"before\n" + b"x" * 50_000_000 + b"\nafter\n")
    response = ask(shared, f"{plugin_id}/logs")
    before, long, after = messages(response.json())
    assert (before, after) == ("before", "after")
    assert long.startswith("xxx")
    assert long.endswith("more bytes]")
    assert len(response.content) < 20_000


def test_ten_thousand_lines_across_rotated_files(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add()
    lines = [f"2026-11-22 10:11:12 INFO line {number}" for number in range(12_000)]
    for number, suffix in enumerate([".2", ".1", ""]):
        part = lines[number * 4000 : (number + 1) * 4000]
        (shared.log_dir / f"{plugin_id}.log{suffix}").write_text("\n".join(part) + "\n")
    answer = show(shared, plugin_id, lines=10_000)
    assert messages(answer) == [f"line {number}" for number in range(2000, 12_000)]
    assert answer["total_lines"] == 4000
    files = ask(shared, f"{plugin_id}/logs/files").json()
    assert files["plugin_id"] == plugin_id
    assert files["count"] == 3
    assert "time" in files
    assert [file["filename"] for file in files["log_files"]] == [
        f"{plugin_id}.log{suffix}" for suffix in ("", ".1", ".2")
    ]
    assert [file["size"] for file in files["log_files"]] == [
        (shared.log_dir / file["filename"]).stat().st_size for file in files["log_files"]
    ]
    assert all(file["modified"] <= files["time"] for file in files["log_files"])
    for file in files["log_files"]:
        seconds = (shared.log_dir / file["filename"]).stat().st_mtime
        assert file["modified_seconds"] == pytest.approx(seconds, abs=1e-5)
        assert datetime.fromisoformat(file["modified"]).timestamp() == pytest.approx(seconds, abs=1e-5)


@pytest.mark.parametrize(
    "query",
    [
        *({"lines": text} for text in ("0", "10001", "-1", "1.5", "ten", "1e3", " 5", "٥", "9" * 5000)),
        *({"level": text} for text in ("LOUD", "INFO,ERROR", "*")),
        {"search": "x" * 201},
        *(
            {"start_time": text}
            for text in ("now", "2026-13-01", "1700000000000", "0001-01-01T00:00:00", "2026-11-22T10:11:12 00:00")
        ),
        {"end_time": "yesterday"},
        {"start_time": "2026-11-22", "end_time": "2026-11-21"},
    ],
    ids=str,
)
def test_invalid_parameters(shared: PlugvisorStack, query: dict[str, str]) -> None:
    response = ask(shared, "_server/logs", **query)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
    if "lines" in query:
        assert ask(shared, "_server/logs/stream", **query).status_code == 422


def test_only_with_the_code(shared: PlugvisorStack) -> None:
    for path in ("_server/logs", "_server/logs/files", "_server/logs/stream", "nobody/logs"):
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            assert shared.http.get(f"/plugin/{path}", headers=headers).status_code in (401, 429)


@pytest.mark.parametrize("plugin_id", ["nobody", "_supervisord", "..", "%2e%2e", "_server.log", "a%00b", "x" * 5000])
@pytest.mark.parametrize("path", ["logs", "logs/files", "logs/stream"])
def test_no_such_plugin(shared: PlugvisorStack, plugin_id: str, path: str) -> None:
    response = ask(shared, f"{plugin_id}/{path}")
    assert response.status_code == 404
    assert str(shared.root) not in response.text


def test_a_plugin_that_was_removed(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add()
    shared.start_running(plugin_id)
    assert messages(show(shared, plugin_id)) == ["ready"]
    (shared.plugins_dir / plugin_id).rename(shared.root / plugin_id)
    assert plugin_id in shared.post("/plugins/refresh").json()["removed"]
    assert ask(shared, f"{plugin_id}/logs").json()["code"] == "plugin_not_found"


def test_a_plugin_whose_manifest_is_broken_still_has_its_log(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add()
    shared.start_running(plugin_id)
    (shared.plugins_dir / plugin_id / "plugin.toml").write_text("broken")
    shared.post("/plugins/refresh")
    assert messages(show(shared, plugin_id)) == ["ready"]


def test_nothing_of_it_needs_supervisord(shared: PlugvisorStack) -> None:
    os.kill(shared.supervisord_pid, signal.SIGSTOP)
    try:
        assert show(shared, "_server")["logs"]
    finally:
        os.kill(shared.supervisord_pid, signal.SIGCONT)


def test_a_search_through_everything_keeps_nobody_waiting(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add()
    line = b"2026-11-22 10:11:12,123 - my.module - INFO - something of the usual length was done\n"
    (shared.log_dir / f"{plugin_id}.log").write_bytes(line * 300_000)
    with httpx.Client(base_url=shared.url, trust_env=False, timeout=30) as http:
        done = threading.Event()

        def search() -> None:
            query = {"start_time": "2030-01-01", "level": "ERROR"}
            assert http.get(f"/plugin/{plugin_id}/logs", params=query, headers=HEADERS).json()["logs"] == []
            done.set()

        thread = threading.Thread(target=search)
        thread.start()
        waited = []
        while not done.is_set():
            began = time.monotonic()
            assert shared.http.get("/plugins").status_code == 200
            waited.append(time.monotonic() - began)
        thread.join()
    assert len(waited) > 10
    assert statistics.median(waited) < 0.1
