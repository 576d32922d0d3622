"""The admin code: who passes, who is throttled, and that the code shows up nowhere."""

from __future__ import annotations

import asyncio
import itertools
import math
import re
import time
from typing import TYPE_CHECKING

import httpx
import pytest
from plugvisor.admin_code import SHORTEST_STRONG_CODE
from plugvisor.api.auth.gate import BURST, DELAY_SECONDS, MOST_DELAYED_PER_ADDRESS, REFILL_SECONDS, Gate
from plugvisor.errors import TooManyAttempts, Unauthorized
from starlette.requests import Request

from tests.helpers.plugin_code import OBEDIENT
from tests.helpers.stack import ADMIN_CODE, PlugvisorStack
from tests.helpers.stores import make_identities
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from plugvisor.models.stored.identity import Identity
    from starlette.types import Message

WEAK, STRONG = "ABCD", "A" * SHORTEST_STRONG_CODE


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Visitor:
    """Knocks at a gate whose clock stands still until it is moved; every wrong code is another one."""

    def __init__(self, code: str) -> None:
        self.clock = Clock()
        self.gate = Gate(make_identities(code), self.clock)
        self._numbers = itertools.count()

    async def _knock(self, credentials: str | None, host: str | None) -> str:
        headers = [] if credentials is None else [(b"authorization", credentials.encode("latin-1"))]
        client = None if host is None else (host, 40000)
        scope = {"type": "http", "method": "POST", "headers": headers, "client": client}

        async def hang_up() -> Message:
            return {"type": "http.disconnect"}  # so that no delay takes time

        try:
            await self.gate.check(Request(scope, hang_up))
        except Unauthorized:
            return "unauthorized"
        except TooManyAttempts as error:
            return f"wait {error.retry_after_seconds}"
        return "passes"

    def knock(self, credentials: str | None, host: str | None = "203.0.113.1") -> str:
        return asyncio.run(self._knock(credentials, host))

    def guess(self, host: str | None = "203.0.113.1") -> str:
        """Send another wrong code; "delayed" if it was not answered at once."""
        before = self.gate.failures["throttled"]
        answer = self.knock(f"Bearer wrong-{next(self._numbers)}", host)
        return "delayed" if self.gate.failures["throttled"] > before and answer == "unauthorized" else answer

    def exhaust(self, host: str | None = "203.0.113.1") -> None:
        for _ in range(BURST):
            assert self.guess(host) == "unauthorized"
        assert self.guess(host) == self.beyond

    @property
    def beyond(self) -> str:
        return f"wait {math.ceil(REFILL_SECONDS)}" if self.gate._identities.has_weak_code else "delayed"


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
    visitor = Visitor(WEAK)
    visitor.exhaust()
    for seconds, answer in [(0.5, "wait 10"), (4.5, "wait 5"), (4.9, "wait 1"), (0.1, "unauthorized"), (0, "wait 10")]:
        visitor.clock.now += seconds
        assert visitor.guess() == answer
    visitor.clock.now += 3 * REFILL_SECONDS
    answers = [visitor.guess() for _ in range(4)]
    assert answers == ["unauthorized"] * 3 + ["wait 10"]
    visitor.clock.now += 1000 * REFILL_SECONDS
    visitor.exhaust()  # no more than the burst, however long it was quiet


def test_being_throttled_does_not_lengthen_the_wait() -> None:
    visitor = Visitor(STRONG)
    visitor.exhaust()
    for _ in range(100):
        visitor.guess()
    visitor.clock.now += REFILL_SECONDS
    assert visitor.guess() == "unauthorized"


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


@pytest.mark.parametrize("code", [WEAK, STRONG])
def test_the_same_wrong_code_counts_once(code: str) -> None:
    """A forgotten tab that polls with an old code locks nobody out."""
    visitor = Visitor(code)
    for _ in range(20 * BURST):
        assert visitor.knock("Bearer old-code") == "unauthorized"
    assert visitor.knock(f"Bearer {code}") == "passes"
    for _ in range(BURST - 1):
        assert visitor.guess() == "unauthorized"
    assert visitor.guess() == visitor.beyond
    assert visitor.gate.failures["repeated"] == 20 * BURST - 1
    assert "old-code" not in repr(vars(visitor.gate)), "no code is kept in clear"


def test_the_right_code_does_not_refill_anything() -> None:
    visitor = Visitor(STRONG)
    for _ in range(BURST):
        assert visitor.guess() == "unauthorized"
        assert visitor.knock(f"Bearer {STRONG}") == "passes"
    assert visitor.guess() == "delayed"


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
    assert visitor.guess(other) == ("delayed" if are_one else "unauthorized")


def test_the_table_is_bounded_and_keeps_who_came_last() -> None:
    visitor = Visitor(STRONG)
    visitor.exhaust("198.51.100.1")

    async def knock_much() -> None:
        for a, b in itertools.product(range(40), range(250)):
            await visitor._knock("Bearer wrong", f"10.0.{a}.{b}")
            if b == 0:  # it is heard again and again
                await visitor._knock(f"Bearer {a}", "198.51.100.1")

    asyncio.run(knock_much())
    assert visitor.guess("198.51.100.1") == "delayed"
    assert len(visitor.gate._senders) <= 5000


def test_a_warning_for_the_first_wrong_code_of_an_address_and_minute(caplog: pytest.LogCaptureFixture) -> None:
    visitor = Visitor(STRONG)
    for host in ("203.0.113.1", "203.0.113.2"):
        for _ in range(BURST):
            visitor.guess(host)
    visitor.clock.now += 61
    for _ in range(3):
        visitor.guess()
    assert caplog.messages == [
        "a wrong token or admin code came from 203.0.113.1",
        "a wrong token or admin code came from 203.0.113.2",
        "a wrong token or admin code came from 203.0.113.1; 9 more came since the last such line",
    ]
    assert visitor.gate.failures == {"missing": 0, "wrong": 2 * BURST + 3, "repeated": 0, "throttled": 0}


def test_guesses_wait_and_those_beyond_a_number_do_not() -> None:
    visitor = Visitor(STRONG)
    visitor.exhaust()

    async def run() -> None:
        gone = asyncio.Event()

        async def receive() -> Message:
            await gone.wait()
            return {"type": "http.disconnect"}

        def send(code: str) -> asyncio.Task[Identity]:
            headers = [(b"authorization", f"Bearer {code}".encode())]
            scope = {"type": "http", "method": "POST", "headers": headers, "client": ("203.0.113.1", 40000)}
            return asyncio.create_task(visitor.gate.check(Request(scope, receive)))

        delayed = [send(f"guess-{number}") for number in range(MOST_DELAYED_PER_ADDRESS)]
        await asyncio.sleep(0)
        with pytest.raises(TooManyAttempts):
            await send("one-more")
        await send(STRONG)
        assert not any(task.done() for task in delayed)
        gone.set()
        for task in delayed:
            with pytest.raises(Unauthorized):
                await task
        assert visitor.gate._delayed == 0

    asyncio.run(run())


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

        def guess(number: int) -> int:
            claims = dict.fromkeys(("X-Forwarded-For", "X-Real-IP", "Client-IP"), f"198.51.100.{number}")
            claims |= {"Forwarded": f"for=198.51.100.{number}", "Authorization": f"Bearer wrong-{number}"}
            return http.post("/plugins/refresh", headers=claims).status_code

        assert [guess(number) for number in range(BURST)] == [401] * BURST
        began = time.monotonic()
        assert guess(BURST) == guess(BURST + 1) == 401
        assert time.monotonic() - began >= DELAY_SECONDS
        assert http.post("/plugins/refresh", headers={"Authorization": f"Bearer {ADMIN_CODE}"}).status_code == 200
    with client_at(shared, "127.0.0.6") as http:
        assert http.post("/plugins/refresh", headers={"Authorization": "Bearer wrong"}).status_code == 401


def test_a_throttled_weak_code_is_429(plugvisor: PlugvisorStack) -> None:
    plugvisor.environ["PLUGVISOR_ADMIN_CODE"] = "ABCD"
    plugvisor.up()
    for number in range(BURST):
        assert plugvisor.post("/plugins/refresh", f"WXY{number}").status_code == 401
    response = plugvisor.post("/plugins/refresh", "ABCD")
    assert (response.status_code, response.json()["code"]) == (429, "too_many_attempts")
    assert 1 <= int(response.headers["Retry-After"]) <= REFILL_SECONDS
    assert "WWW-Authenticate" not in response.headers


def test_wrong_codes_are_counted(shared: PlugvisorStack) -> None:
    code = {"Authorization": f"Bearer {ADMIN_CODE}"}
    with client_at(shared, "127.0.0.8") as http:

        def count(reason: str) -> float:
            text = http.get("/metrics", headers=code).text
            match = re.search(rf'^plugvisor_auth_failures_total{{reason="{reason}"}} (.+)$', text, re.MULTILINE)
            assert match, text
            return float(match[1])

        before = {reason: count(reason) for reason in ("missing", "wrong", "repeated")}
        for wrong in ("one", "two", "two", ""):
            http.post("/plugins/refresh", headers={"Authorization": f"Bearer {wrong}"} if wrong else {})
        changes = {reason: count(reason) - number for reason, number in before.items()}
        assert changes == {"missing": 1, "wrong": 2, "repeated": 1}


def test_no_code_right_or_wrong_is_ever_seen(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add("import os, json\nprint(json.dumps(dict(os.environ)))\n" + OBEDIENT)
    shared.start_running(plugin_id)
    paths = ("/plugins/refresh", f"/plugin/{plugin_id}/reload?wait=0", "/plugin/none/stop", "/none", "/plugins")
    codes = (ADMIN_CODE, "wrong-code-of-a-test")
    with client_at(shared, "127.0.0.7") as http:
        answers = [http.post(path, headers={"Authorization": f"Bearer {code}"}) for path in paths for code in codes]
    seen = [f"{answer.headers}{answer.text}".encode() for answer in answers]
    wait_for(lambda: "POST /plugin/none/stop: 404" in shared.service_log, "the log of the service")
    kept = shared.run_dir / "admin_code"
    seen += [path.read_bytes() for path in shared.root.rglob("*") if path.is_file() and path != kept]
    assert any(b"POST /plugin/none/stop: 404" in text for text in seen), "the logs are among what was searched"
    for code in codes:
        assert not [text for text in seen if code.encode() in text]
    assert kept.stat().st_mode & 0o777 == 0o600


def test_a_plugin_is_told_nothing_of_ours(shared: PlugvisorStack, add: Callable[..., str]) -> None:
    plugin_id = add("import os\nprint(sorted(os.environ), os.environ, os.listdir('/proc/self/fd'))\n" + OBEDIENT)
    pid = shared.start_running(plugin_id)
    told = shared.read_log(plugin_id)
    assert "'PATH'" in told, "it did tell its environment"
    for ours in (ADMIN_CODE, "SUPERVISOR_", "PLUGVISOR_"):
        assert ours not in told.replace("'PLUGVISOR_PLUGIN'", ""), "the mark by which its family is found is no secret"
    # nor has any process the code where others of this user look first
    service_pid = shared.service_pid
    for process in (pid, service_pid, shared.supervisord_pid):
        for what in ("environ", "cmdline"):
            with open(f"/proc/{process}/{what}", "rb") as file:
                assert ADMIN_CODE.encode() not in file.read()
