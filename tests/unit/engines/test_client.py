"""The XML-RPC client: calls that go together, and whatever an answer may be instead of one."""

from __future__ import annotations

import asyncio
import xmlrpc.client
from base64 import b64encode
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from plugvisor.engines.supervisord.client import CALL_TIMEOUT_SECONDS, MOST_TOGETHER, Identity, SupervisorClient
from plugvisor.errors import AlreadyRunning, NotRunning, SupervisorConfused, SupervisorUnavailable

from tests.helpers.fake_supervisor import FakeSupervisor, make_http, render_response, run_fake_supervisor
from tests.helpers.scenarios import let_tasks_run, run_scenario, wait_until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def run(scenario: Callable[[SupervisorClient, FakeSupervisor], Awaitable[Any]], timeout_seconds: float = 20.0) -> Any:
    """Run a scenario with a client of a fake supervisord."""

    async def connected() -> Any:
        async with run_fake_supervisor() as fake:
            client = SupervisorClient(fake.url, timeout_seconds)
            try:
                return await scenario(client, fake)
            finally:
                await client.close()

    return run_scenario(connected())


class Gate:
    """A method that answers when it is opened."""

    def __init__(self) -> None:
        self.arrivals = 0
        self._opened = asyncio.Event()

    def open(self) -> None:
        self._opened.set()

    async def __call__(self, *_: object) -> int:
        self.arrivals += 1
        await self._opened.wait()
        return self.arrivals


# -- calls together


def test_calls_made_while_one_is_under_way_go_together_in_order() -> None:
    async def scenario(client: SupervisorClient, fake: FakeSupervisor) -> None:
        gate = fake.methods["plugins.start"] = Gate()
        fake.methods["plugins.stop"] = int
        first = asyncio.create_task(client.call("plugins.start", "a"))
        await wait_until(lambda: gate.arrivals)
        others = [asyncio.create_task(client.call("plugins.stop", str(number))) for number in range(40)]
        await let_tasks_run()
        gate.open()
        assert await asyncio.gather(first, *others) == [1, *range(40)]
        assert [len(calls) for calls in fake.requests] == [1, MOST_TOGETHER, MOST_TOGETHER, 40 - 2 * MOST_TOGETHER]
        assert fake.calls == [("plugins.start", "a"), *[("plugins.stop", str(number)) for number in range(40)]]

    run(scenario)


def test_a_fault_among_calls_that_go_together_is_its_callers_alone() -> None:
    async def scenario(client: SupervisorClient, fake: FakeSupervisor) -> None:
        def start(name: str) -> int:
            if name == "b":
                raise xmlrpc.client.Fault(60, "ALREADY_STARTED: b")
            return 7

        fake.methods["plugins.start"] = start
        results = await asyncio.gather(*[client.call("plugins.start", name) for name in "abc"], return_exceptions=True)
        assert [type(result) for result in results] == [int, AlreadyRunning, int]
        assert len(fake.requests) == 1

    run(scenario)


def test_callers_of_a_failed_request_have_an_error_each() -> None:
    async def scenario(client: SupervisorClient, fake: FakeSupervisor) -> None:
        fake.raw_response = make_http(b"no XML")
        results = await asyncio.gather(*[client.call("plugins.sync") for _ in range(3)], return_exceptions=True)
        assert [type(result) for result in results] == [SupervisorConfused] * 3
        assert len({id(result) for result in results}) == 3, "each caller names its plugin in it"

    run(scenario)


def test_a_caller_that_goes_away_cancels_nothing_for_others() -> None:
    async def scenario(client: SupervisorClient, fake: FakeSupervisor) -> None:
        gate = fake.methods["plugins.start"] = Gate()
        tasks = [asyncio.create_task(client.call("plugins.start", "a"))]
        await wait_until(lambda: gate.arrivals)
        tasks += [asyncio.create_task(client.call("plugins.sync")) for _ in range(2)]
        await let_tasks_run()
        for gone in tasks[:2]:
            gone.cancel()
        await let_tasks_run()
        gate.open()
        assert await tasks[2] == 0
        assert [task.cancelled() for task in tasks] == [True, True, False]
        assert len(fake.calls) == 3, "an operation belongs to the server"

    run(scenario)


def test_close_fails_what_is_not_answered() -> None:
    async def scenario(client: SupervisorClient, fake: FakeSupervisor) -> None:
        gate = fake.methods["plugins.start"] = Gate()
        tasks = [asyncio.create_task(client.call("plugins.start", "a"))]
        await wait_until(lambda: gate.arrivals)
        tasks += [asyncio.create_task(client.call("plugins.sync")) for _ in range(2)]
        await let_tasks_run()
        await client.close()
        for task in tasks:
            with pytest.raises(SupervisorUnavailable, match="the service is ending"):
                await task

    run(scenario)


def test_every_request_is_reported() -> None:
    reported: list[tuple[str, bool]] = []

    def stop(_name: str) -> None:
        raise xmlrpc.client.Fault(70, "NOT_RUNNING: a")

    async def scenario(client: SupervisorClient, fake: FakeSupervisor) -> None:
        client.on_call.append(lambda method, seconds, answered: reported.append((method, answered and seconds >= 0)))
        fake.methods["plugins.stop"] = stop
        await asyncio.gather(*[client.call("plugins.sync") for _ in range(2)])
        with pytest.raises(NotRunning):
            await client.call("plugins.stop", "a")
        fake.raw_response, fake.keeps_alive = b"", False
        with pytest.raises(SupervisorUnavailable):
            await client.call("plugins.sync")

    run(scenario)
    assert reported == [("system.multicall", True), ("plugins.stop", True), ("plugins.sync", False)]


def test_identity() -> None:
    async def scenario(client: SupervisorClient, fake: FakeSupervisor) -> Identity:
        fake.methods["supervisor.getSupervisorVersion"] = lambda: "4.3.0"
        fake.methods["supervisor.getPID"] = lambda: 17
        fake.methods["supervisor.getState"] = lambda: {"statename": "RUNNING", "statecode": 1}
        identity = await client.identify()
        assert len(fake.requests) == 1
        fake.methods["supervisor.getPID"] = lambda: "x"
        with pytest.raises(SupervisorConfused, match="what it is"):
            await client.identify()
        return identity

    assert run(scenario) == Identity("4.3.0", 17, "RUNNING")


# -- no answer


def test_a_silent_supervisord_takes_a_bounded_time_however_many_wait() -> None:
    async def scenario(client: SupervisorClient, fake: FakeSupervisor) -> None:
        gate = fake.methods["plugins.sync"] = Gate()
        tasks = [asyncio.create_task(client.call("plugins.sync")) for _ in range(10 * MOST_TOGETHER)]
        for task in tasks:
            with pytest.raises(SupervisorUnavailable, match=r"within 0\.3 seconds"):
                await task
        assert len(fake.requests) <= 1, "what was collected is not tried as well"
        gate.open()
        fake.methods["plugins.sync"] = lambda: 7
        assert await client.call("plugins.sync") == 7

    run(scenario, timeout_seconds=0.3)


def test_the_time_limit_leaves_time_to_answer_a_request_within_five_seconds() -> None:
    assert CALL_TIMEOUT_SECONDS < 5


def test_an_answer_that_drips_takes_a_bounded_time() -> None:
    async def drip(_head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"<")  # every single read succeeds in time
            await asyncio.sleep(0.02)

    async def scenario(client: SupervisorClient, fake: FakeSupervisor) -> None:
        fake.respond = drip
        with pytest.raises(SupervisorUnavailable, match=r"within 0\.3 seconds"):
            await client.call("plugins.sync")

    run(scenario, timeout_seconds=0.3)


def test_a_connection_that_was_closed_meanwhile_is_replaced() -> None:
    async def scenario(client: SupervisorClient, fake: FakeSupervisor) -> None:
        fake.keeps_alive = False  # as a supervisord that begins anew
        for _ in range(3):
            assert await client.call("plugins.sync") == 0
            await wait_until(lambda: not fake.connections)

    run(scenario)


@pytest.mark.parametrize("response", [b"", make_http(b"x" * 100)[:-50]], ids=["closed", "cut short"])
def test_a_broken_connection(response: bytes) -> None:
    async def scenario(client: SupervisorClient, fake: FakeSupervisor) -> None:
        fake.raw_response, fake.keeps_alive = response, False
        with pytest.raises(SupervisorUnavailable, match="cannot be reached"):
            await client.call("plugins.sync")

    run(scenario)


def test_nobody_listens() -> None:
    async def scenario() -> None:
        for url in ("unix:///nonexistent/socket", "http://127.0.0.1:1"):
            client = SupervisorClient(url)
            with pytest.raises(SupervisorUnavailable, match="cannot be reached"):
                await client.call("plugins.sync")
            await client.close()

    run_scenario(scenario())


# -- nonsense

STATE = {"statename": "RUNNING", "statecode": 1}
NONSENSE = {
    "HTTP 500 with HTML": make_http(b"<html><body>500 Internal Server Error</body></html>", "500 Error"),
    "HTTP 404": make_http(b"not here", "404 Not Found"),
    "a redirect": make_http(b"", "302 Found", "Location: /"),
    "HTML": make_http(b"<html><body>hello</body></html>"),
    "no XML": make_http(b"\x00\xff garbage"),
    "an empty body": make_http(b""),
    "XML cut short": make_http(xmlrpc.client.dumps((STATE,), methodresponse=True).encode()[:-30]),
    "an answer without a value": make_http(b"<methodResponse><params></params></methodResponse>"),
    "an unknown encoding": make_http(b"<?xml version='1.0' encoding='nosuch'?><methodResponse/>"),
    "a fault that is no struct": make_http(
        b"<methodResponse><fault><value><int>3</int></value></fault></methodResponse>"
    ),
    "a compressed body that is not": make_http(b"garbage", "200 OK", "Content-Encoding: gzip"),
}


@pytest.mark.parametrize("what", NONSENSE)
def test_nonsense_is_named_as_such(what: str) -> None:
    async def scenario(client: SupervisorClient, fake: FakeSupervisor) -> None:
        fake.raw_response = NONSENSE[what]
        with pytest.raises(SupervisorConfused):
            await client.call("plugins.sync")

    run(scenario)


@pytest.mark.parametrize("value", [5, [], [1], [1, 2, 3], [{"faultCode": 10}, 1], "x"], ids=repr)
def test_results_of_several_calls_in_an_unknown_form(value: Any) -> None:
    async def scenario(client: SupervisorClient, fake: FakeSupervisor) -> None:
        fake.raw_response = render_response(value)
        results = await asyncio.gather(*[client.call("plugins.sync")] * 1, client.call("x"), return_exceptions=True)
        assert [type(result) for result in results] == [SupervisorConfused] * 2

    run(scenario)


# -- credentials


@pytest.mark.parametrize(("user", "password"), [("user", "secret-password"), ("us@er", "p@ss:w/rd?100%中")])
def test_the_password_in_the_url_is_sent_and_in_no_error(user: str, password: str) -> None:
    credentials = f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"

    async def respond(head: bytes, writer: asyncio.StreamWriter) -> None:
        is_right = f"authorization: {credentials}\r\n".casefold() in head.decode().casefold()
        writer.write(render_response(7) if is_right else make_http(b"", "401 Unauthorized"))

    async def ask(url: str) -> Any:
        client = SupervisorClient(url)
        try:
            return await client.call("plugins.sync")
        finally:
            await client.close()

    async def scenario() -> None:
        async with run_fake_supervisor() as fake:
            fake.respond = respond
            address = f"127.0.0.1:{await fake.listen_on_tcp()}"
            login = f"{quote(user)}:{quote(password, safe='')}"
            assert await ask(f"http://{login}@{address}") == 7
            for wrong in (f"{login}-wrong@", ""):
                with pytest.raises(SupervisorUnavailable, match="refuses the user and password") as raised:
                    await ask(f"http://{wrong}{address}")
                assert password not in repr(raised.value)
                assert quote(password, safe="") not in repr(raised.value)

    run_scenario(scenario())
