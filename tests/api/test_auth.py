"""The admin code: who passes, who is throttled, and that the code shows up nowhere."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import httpx
import pytest
from plugvisor.admin_code import SHORTEST_STRONG_CODE, AdminCode
from plugvisor.api.auth import BURST, REFILL_SECONDS, Gate
from plugvisor.errors import TooManyAttempts, Unauthorized
from starlette.requests import Request

from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.stack import ADMIN_CODE, PlugvisorStack
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

WEAK, STRONG = "ABCD", "A" * SHORTEST_STRONG_CODE


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Visitor:
    """Knocks at a gate whose clock stands still until it is moved."""

    def __init__(self, code: str) -> None:
        self.clock = Clock()
        self.gate = Gate(AdminCode(code), self.clock)

    def knock(self, credentials: str | None, host: str | None = "203.0.113.1") -> str:
        headers = [] if credentials is None else [(b"authorization", credentials.encode("latin-1"))]
        client = None if host is None else (host, 40000)
        try:
            self.gate.check(Request({"type": "http", "headers": headers, "client": client}))
        except Unauthorized:
            return "unauthorized"
        except TooManyAttempts as error:
            return f"wait {error.retry_after_seconds}"
        return "passes"

    def exhaust(self, host: str | None = "203.0.113.1") -> None:
        for _ in range(BURST):
            assert self.knock("Bearer wrong", host) == "unauthorized"
        assert self.knock("Bearer wrong", host) == f"wait {math.ceil(REFILL_SECONDS)}"


@pytest.mark.parametrize("code", [WEAK, STRONG])
@pytest.mark.parametrize("form", ["Bearer {}", "bearer {}", "BEARER {}", "Bearer   {} "])
def test_the_right_code_passes(code: str, form: str) -> None:
    assert Visitor(code).knock(form.format(code)) == "passes"


@pytest.mark.parametrize("code", [WEAK, STRONG])
def test_everything_else_does_not(code: str) -> None:
    visitor = Visitor(code)
    wrong = ["x", code[:-1], code + "x", code.lower(), f'"{code}"', f"{code} {code}", f"{code},", "é", "\xff" * 20]
    assert [visitor.knock(f"Bearer {text}") for text in wrong] == ["unauthorized"] * len(wrong)
    for credentials in (None, "", "Bearer", "Bearer ", "Bearer   ", code, f"Basic {code}", f"Bearer{code}", f" {code}"):
        for _ in range(2 * BURST):  # who sends no code guesses nothing: it is not throttled
            assert visitor.knock(credentials, "203.0.113.2") == "unauthorized", credentials


def test_ten_at_once_then_one_in_ten_seconds() -> None:
    visitor = Visitor(STRONG)
    visitor.exhaust()
    for seconds, answer in [(0.5, "wait 10"), (4.5, "wait 5"), (4.9, "wait 1"), (0.1, "unauthorized"), (0, "wait 10")]:
        visitor.clock.now += seconds
        assert visitor.knock("Bearer wrong") == answer
    visitor.clock.now += 3 * REFILL_SECONDS
    answers = [visitor.knock("Bearer wrong") for _ in range(4)]
    assert answers == ["unauthorized"] * 3 + ["wait 10"]
    visitor.clock.now += 1000 * REFILL_SECONDS
    visitor.exhaust()  # no more than the burst, however long it was quiet


def test_being_throttled_does_not_lengthen_the_wait() -> None:
    visitor = Visitor(STRONG)
    visitor.exhaust()
    for _ in range(1000):
        visitor.knock("Bearer wrong")
    visitor.clock.now += REFILL_SECONDS
    assert visitor.knock("Bearer wrong") == "unauthorized"


def test_the_right_strong_code_passes_at_any_time() -> None:
    visitor = Visitor(STRONG)
    visitor.exhaust()
    assert visitor.knock(f"Bearer {STRONG}") == "passes"


def test_a_weak_code_is_not_looked_at_while_its_sender_is_throttled() -> None:
    visitor = Visitor(WEAK)
    visitor.exhaust()
    assert visitor.knock(f"Bearer {WEAK}") == "wait 10"
    visitor.clock.now += REFILL_SECONDS
    assert visitor.knock(f"Bearer {WEAK}") == "passes"


def test_the_right_code_does_not_refill_anything() -> None:
    visitor = Visitor(STRONG)
    for _ in range(BURST):
        assert visitor.knock("Bearer wrong") == "unauthorized"
        assert visitor.knock(f"Bearer {STRONG}") == "passes"
    assert visitor.knock("Bearer wrong") == "wait 10"


@pytest.mark.parametrize(
    ("one", "other", "are_one"),
    [
        ("203.0.113.1", "203.0.113.2", False),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("::ffff:203.0.113.1", "::ffff:203.0.113.2", False),
        (None, "203.0.113.1", False),  # a Unix socket has no address
    ],
)
def test_each_client_has_a_throttle_of_its_own(one: str | None, other: str, are_one: bool) -> None:
    visitor = Visitor(STRONG)
    visitor.exhaust(one)
    assert visitor.knock("Bearer wrong", other) == ("wait 10" if are_one else "unauthorized")


def test_the_table_is_bounded_and_keeps_who_came_last() -> None:
    visitor = Visitor(STRONG)
    visitor.exhaust("198.51.100.1")
    for a, b in itertools.product(range(40), range(250)):
        visitor.knock("Bearer wrong", f"10.0.{a}.{b}")
        if b == 0:  # it is heard again and again
            visitor.clock.now += REFILL_SECONDS
            assert visitor.knock("Bearer wrong", "198.51.100.1") == "unauthorized"
            assert visitor.knock("Bearer wrong", "198.51.100.1") == "wait 10"
    assert len(visitor.gate._full_at) <= 5000


# -- over HTTP


def client_at(plugvisor: PlugvisorStack, address: str) -> httpx.Client:
    """Each test has an address of its own, for the service counts wrong codes by address."""
    transport = httpx.HTTPTransport(local_address=address)
    return httpx.Client(base_url=plugvisor.url, transport=transport, timeout=30, trust_env=False)


@pytest.mark.parametrize("path", ["/plugin/x/start", "/plugin/x/stop", "/plugin/x/reload", "/plugins/refresh"])
def test_every_mutation_asks_for_the_code(shared: PlugvisorStack, path: str) -> None:
    with client_at(shared, "127.0.0.2") as http:
        for credentials in ({}, {"Authorization": f"Basic {ADMIN_CODE}"}, {"Authorization": "Bearer wrong"}):
            response = http.post(path, headers=credentials)
            assert response.status_code == 401
            assert response.headers["WWW-Authenticate"] == "Bearer"
            assert response.headers["Content-Type"] == "application/problem+json"
            assert response.json()["code"] == "unauthorized"


def test_nothing_but_the_header_counts(shared: PlugvisorStack) -> None:
    with client_at(shared, "127.0.0.3") as http:
        http.cookies.set("admin_code", ADMIN_CODE)
        for name in ("admin_code", "access_token", "code", "token"):
            sent = {name: ADMIN_CODE}
            assert http.post("/plugins/refresh", params=sent, json=sent, headers=sent).status_code == 401


def test_reads_need_no_code_and_mind_no_wrong_one(shared: PlugvisorStack) -> None:
    with client_at(shared, "127.0.0.4") as http:
        for path in ("/plugins", "/plugin/status"):
            for _ in range(2 * BURST):
                assert http.get(path, headers={"Authorization": "Bearer wrong"}).status_code == 200


def test_the_throttle_goes_by_the_real_address(shared: PlugvisorStack) -> None:
    with client_at(shared, "127.0.0.5") as http:
        statuses = []
        for number in range(BURST + 2):
            claims = dict.fromkeys(("X-Forwarded-For", "X-Real-IP", "Client-IP"), f"198.51.100.{number}")
            claims |= {"Forwarded": f"for=198.51.100.{number}", "Authorization": f"Bearer wrong-{number}"}
            response = http.post("/plugins/refresh", headers=claims)
            statuses.append(response.status_code)
        assert statuses[:BURST] == [401] * BURST
        assert statuses[-1] == 429
        assert response.json()["code"] == "too_many_attempts"
        assert 1 <= int(response.headers["Retry-After"]) <= REFILL_SECONDS
        assert "WWW-Authenticate" not in response.headers
        assert http.post("/plugins/refresh", headers={"Authorization": f"Bearer {ADMIN_CODE}"}).status_code == 200
    with client_at(shared, "127.0.0.6") as http:
        assert http.post("/plugins/refresh", headers={"Authorization": "Bearer wrong"}).status_code == 401


def test_no_code_right_or_wrong_is_ever_seen(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add("import os, json\nprint(json.dumps(dict(os.environ)))\n" + OBEDIENT)
    shared.start_running(plugin_id)
    paths = ("/plugins/refresh", f"/plugin/{plugin_id}/reload?wait=0", "/plugin/none/stop", "/none", "/plugins")
    codes = (ADMIN_CODE, "wrong-code-of-a-test")
    with client_at(shared, "127.0.0.7") as http:
        answers = [http.post(path, headers={"Authorization": f"Bearer {code}"}) for path in paths for code in codes]
    seen = [f"{answer.headers}{answer.text}" for answer in answers]
    wait_for(lambda: "POST /plugin/none/stop: 404" in shared.service_log, "the log of the service")
    kept = shared.run_dir / "admin_code"
    seen += [path.read_text() for path in shared.root.rglob("*") if path.is_file() and path != kept]
    assert any("POST /plugin/none/stop: 404" in text for text in seen), "the logs are among what was searched"
    for code in codes:
        assert not [text for text in seen if code in text]
    assert kept.stat().st_mode & 0o777 == 0o600


def test_a_plugin_is_told_nothing_of_ours(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add("import os\nprint(sorted(os.environ), os.environ, os.listdir('/proc/self/fd'))\n" + OBEDIENT)
    pid = shared.start_running(plugin_id)
    told = shared.read_log(plugin_id)
    assert "'PATH'" in told, "it did tell its environment"
    for ours in (ADMIN_CODE, "SUPERVISOR_", "PLUGVISOR_"):
        assert ours not in told.replace("'PLUGVISOR_PLUGIN'", ""), "the mark by which its family is found is no secret"
    # nor has any process the code where others of this user look first
    service_pid = shared.rpc("getProcessInfo", "plugvisor")["pid"]
    for process in (pid, service_pid, shared.supervisord_pid):
        for what in ("environ", "cmdline"):
            with open(f"/proc/{process}/{what}", "rb") as file:
                assert ADMIN_CODE.encode() not in file.read()
