"""The service's log: a line for each mutation, none for reads, nothing secret in it, and what a defect leaves."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.helpers.stack import ADMIN_CODE, PlugvisorStack
from tests.helpers.waiting import DEADLINE_SECONDS, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d INFO 127\.0\.0\.1 (POST \S+: .+), (\d+) ms, request [0-9a-f]{16}")
_marks = iter(range(1_000_000))


@pytest.fixture
def logged(shared: PlugvisorStack) -> Callable[[], list[str]]:
    """Returns the lines since the last time; all of them, for one that is ours ends them."""

    def read() -> list[str]:
        nonlocal before
        mark = f"/plugin/mark-{next(_marks)}/stop"
        assert shared.post(mark).status_code == 404
        wait_for(lambda: mark in shared.service_log[before:], "the end of the log")
        lines = shared.service_log[before:].splitlines()
        assert mark in lines[-1], "nothing comes after a request that was the last"
        before = len(shared.service_log)
        return lines[:-1]

    before = len(shared.service_log)
    return read


def outcomes(lines: list[str]) -> list[str]:
    """Each line without time, address and duration; a line of another form stays as it is."""
    return [match[1] if (match := LINE.fullmatch(line)) else line for line in lines]


def test_one_line_for_each_mutation(
    shared: PlugvisorStack, add: Callable[..., str], logged: Callable[[], list[str]]
) -> None:
    plugin_id = add()
    assert outcomes(logged()) == ["POST /plugins/refresh: 200"]
    path = f"/plugin/{plugin_id}"
    for verb, outcome in [
        ("start?wait=20", "200"),
        ("start", "409 already_running"),
        ("reload", "200"),
        ("stop", "200"),
        ("stop", "409 not_running"),
        ("stop?wait=soon", "422 invalid_request"),
    ]:
        response = shared.post(f"{path}/{verb}")
        assert response.status_code == int(outcome[:3]), response.text
        assert outcomes(logged()) == [f"POST {path}/{verb.partition('?')[0]}: {outcome}"]
    shared.post("/plugin/none/start")
    shared.post(f"{path}/start", code=None)
    assert outcomes(logged()) == [
        "POST /plugin/none/start: 404 plugin_not_found",
        f"POST {path}/start: 401 unauthorized",
    ]


def test_wrong_codes_have_one_line_in_a_minute(shared: PlugvisorStack, logged: Callable[[], list[str]]) -> None:
    transport = httpx.HTTPTransport(local_address="127.0.0.41")
    with httpx.Client(base_url=shared.url, transport=transport, trust_env=False) as http:
        for number in range(5):
            assert http.post("/plugins/refresh", headers={"Authorization": f"Bearer wrong{number}"}).status_code == 401
    [line] = logged()
    assert line.endswith("WARNING a wrong token or admin code came from 127.0.0.41")


def test_the_milliseconds_are_those_that_passed(
    shared: PlugvisorStack, add: Callable[..., str], logged: Callable[[], list[str]]
) -> None:
    plugin_id = add(
        'import signal\nsignal.signal(15, signal.SIG_IGN)\nprint("ready", flush=True)\nsignal.pause()',
        runtime="auto_start = false\n[plugin_runtime.supervisor]\nstopwaitsecs = 1",
    )
    shared.start_running(plugin_id)
    logged()
    response = shared.post(f"/plugin/{plugin_id}/stop?wait=0.3")
    [line] = logged()
    assert 250 < int(LINE.fullmatch(line)[2]) <= response.elapsed.total_seconds() * 1000 + 1  # type: ignore[index]


def test_no_line_for_reads(shared: PlugvisorStack, add: Callable[..., str], logged: Callable[[], list[str]]) -> None:
    plugin_id = add()
    logged()
    for path in ("/plugins", "/plugin/status", f"/plugin/status?plugin_id={plugin_id}", "/plugin/status?plugin_id=no"):
        shared.http.get(path, headers={"Authorization": f"Bearer {ADMIN_CODE}"})
    assert logged() == []


@pytest.mark.parametrize("code", [ADMIN_CODE, None], ids=["authorized", "unauthorized"])
@pytest.mark.parametrize("forgery", ["%0A", "%0D%0A", "%0D", "%0B", "%1B[2K%0D", "%C2%85", "%E2%80%A8", "%00", "%FF"])
def test_nobody_can_forge_a_line(
    shared: PlugvisorStack, logged: Callable[[], list[str]], forgery: str, code: str | None
) -> None:
    text = forgery + "2026-01-01%2000:00:00%20INFO%20127.0.0.1%20POST%20evil"
    assert shared.post(f"/plugin/x{text}/stop", code).status_code in (401, 404)
    [line] = logged()
    assert line.isprintable()
    assert LINE.fullmatch(line)
    [outcome] = outcomes([line])
    assert outcome.startswith("POST /plugin/x")
    assert not outcome.startswith("POST /plugin/x2026"), "nor is anything left out of it"


def send_raw(plugvisor: PlugvisorStack, target: bytes, *headers: bytes) -> bytes:
    """A request that no decent client would send; returns the whole answer."""
    lines = [b"POST " + target + b" HTTP/1.1", *headers, b"Authorization: Bearer " + ADMIN_CODE.encode()]
    with socket.create_connection(("127.0.0.1", plugvisor.port), timeout=DEADLINE_SECONDS) as connection:
        connection.sendall(b"\r\n".join([*lines, b"Content-Length: 0", b"Connection: close", b"", b""]))
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize(
    ("target", "host"),
    [
        (b"/plugin/none/stop?\xff", b"localhost"),
        (b"/plugin/none/stop?a=\xc3\xa9", b"localhost"),
        (b"/plugin/none/stop?wait=1#part", b"localhost"),
        (b"http://elsewhere/plugin/none/stop", b"localhost"),
        (b"/plugin/none/stop", b"x/plugin/other/start?"),
        (b"/plugin/none/stop", b"[::1"),
        (b"/plugin/none/stop", b"\xff"),
    ],
)
def test_odd_requests_are_logged_for_what_they_are(
    shared: PlugvisorStack, logged: Callable[[], list[str]], target: bytes, host: bytes
) -> None:
    status = int(send_raw(shared, target, b"Host: " + host).split(b" ", 2)[1])
    lines = outcomes(logged())
    if status == 400:  # the HTTP server itself has rejected it; anybody could fill the log with such lines
        assert lines == []
    else:
        assert (status, lines) == (404, ["POST /plugin/none/stop: 404 plugin_not_found"])


# -- a defect of ours

WITH_A_DEFECT = """
from plugvisor.manager.manager import Manager
async def start(*_, **_more):
    raise RuntimeError("the words of a defect")
Manager.start = start
from plugvisor.cli.main import main
main(["serve"])
"""


@contextlib.contextmanager
def serve_with_a_defect(plugvisor: PlugvisorStack) -> Iterator[None]:
    with plugvisor.output_path.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", WITH_A_DEFECT], env=plugvisor.environ, stdout=output, stderr=subprocess.STDOUT
        )

    def answers() -> bool:
        with contextlib.suppress(httpx.TransportError):
            return plugvisor.http.get("/nothing").status_code == 404
        return False

    try:
        wait_for(answers, "the service")
        yield
        process.terminate()
        assert process.wait(DEADLINE_SECONDS) in (0, -signal.SIGTERM)  # uvicorn sends itself the signal at its end
    finally:
        process.kill()
        process.wait()


def test_a_defect_is_told_to_the_log_and_to_nobody_else(plugvisor: PlugvisorStack) -> None:
    plugvisor.environ["PLUGVISOR_CORS_ORIGINS"] = "http://localhost:5173"
    with serve_with_a_defect(plugvisor):
        headers = {"Authorization": f"Bearer {ADMIN_CODE}", "Origin": "http://localhost:5173"}
        response = plugvisor.http.post("/plugin/x/start", headers=headers)
        assert response.status_code == 500
        assert response.headers["Content-Type"] == "application/problem+json"
        assert response.headers["Connection"] == "close", "no other request is sent into its end"
        problem = response.json()
        assert problem.keys() == {"type", "title", "status", "detail", "code"}
        assert (problem["status"], problem["code"]) == (500, "internal_error")
        for inside in ("words", "RuntimeError", "Traceback", ".py", str(plugvisor.root), ADMIN_CODE):
            assert inside not in response.text
        # a browser would show it as a network failure without this
        assert response.headers["Access-Control-Allow-Origin"] == "http://localhost:5173"

        wait_for(lambda: "RuntimeError: the words of a defect" in plugvisor.output_path.read_text(), "the traceback")
        log = plugvisor.output_path.read_text()
        assert log.count("Traceback (most recent call last)") == 1
        assert log.count("RuntimeError: the words of a defect") == 1
        assert re.search(
            r"^\S+ \S+ INFO 127\.0\.0\.1 POST /plugin/x/start: 500 internal_error, \d+ ms, request [0-9a-f]{16}$",
            log,
            re.MULTILINE,
        )
        assert ADMIN_CODE not in log
        assert plugvisor.post("/plugin/none/stop").status_code == 404, "it goes on"
