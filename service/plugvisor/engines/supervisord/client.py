"""supervisord's XML-RPC, asynchronous (http://supervisord.org/api.html)."""

from __future__ import annotations

import asyncio
import contextlib
import time
import xmlrpc.client
from collections import deque
from copy import copy
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.parsers.expat import ExpatError

from plugvisor.engines.supervisord.faults import translate_fault
from plugvisor.engines.supervisord.http_connection import HttpConnection
from plugvisor.errors import SupervisorConfused, SupervisorUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

CALL_TIMEOUT_SECONDS = 4.0
"""Longer than supervisord's longest pause, short enough to answer a request within 5 s."""
MOST_TOGETHER = 16
"""How many calls supervisord makes in one go: between two of these it serves others."""


@dataclass(frozen=True)
class Identity:
    """Which supervisord answers, and its own state: RUNNING, RESTARTING, SHUTDOWN or FATAL."""

    version: str
    pid: int
    state: str


class _Call(NamedTuple):
    method: str
    params: tuple[Any, ...]
    answer: asyncio.Future[Any]


class SupervisorClient:
    """Talks to one supervisord over one connection.

    While an answer is waited for, the calls that come meanwhile are collected, and are made together after it: a
    thousand starts are some sixty requests. A request is answered within `timeout_seconds`, or it and all that was
    collected behind it fail.

    Raises:
        SupervisorUnavailable: supervisord cannot be reached, does not answer in time or shuts down.
        SupervisorConfused: it answered, but not as supervisord does.
    """

    def __init__(self, url: str, timeout_seconds: float = CALL_TIMEOUT_SECONDS) -> None:
        """Args: `url` is `unix:///path` or `http://[user:password@]host:port`."""
        self._http = HttpConnection(url)
        self._timeout_seconds = timeout_seconds
        self._collected: deque[_Call] = deque()  # those under way come first
        self._sender: asyncio.Task[None] | None = None
        self.on_call: list[Callable[[str, float, bool], object]] = []
        """Called after every request with its method, the seconds it took, and whether it was answered."""

    async def close(self) -> None:
        """Close the connection; calls that are not answered fail."""
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)
        self._answer([SupervisorUnavailable("the service is ending") for _ in self._collected])
        self._http.close()

    async def identify(self) -> Identity:
        """supervisord's version, process id and state."""
        methods = ("supervisor.getSupervisorVersion", "supervisor.getPID", "supervisor.getState")
        version, pid, state = await asyncio.gather(*map(self.call, methods))
        with _expect_sense("what it is"):
            return Identity(str(version), int(pid), str(state["statename"]))

    async def call(self, method: str, *params: Any) -> Any:
        """Call a method; raises also what its faults mean (`faults.py`)."""
        answer = asyncio.get_running_loop().create_future()
        self._collected.append(_Call(method, params, answer))
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_collected())
        return await answer

    async def _send_collected(self) -> None:
        while self._collected:
            calls = list(islice(self._collected, MOST_TOGETHER))
            try:
                results = await self._send(calls)
            except Exception as error:  # noqa: BLE001 - each caller raises it
                is_silent = isinstance(error, SupervisorUnavailable) and not isinstance(error, SupervisorConfused)
                # each batch behind this one would wait as long, and fail too
                failed = self._collected if is_silent else calls
                results = [copy(error) for _ in failed]  # each caller names its own plugin in it
            self._answer(results)

    def _answer(self, results: Sequence[Any]) -> None:
        """Give the first of the collected calls their results, which may be exceptions."""
        for result in results:
            answer = self._collected.popleft().answer
            if answer.done():
                continue  # its caller has gone
            if isinstance(result, Exception):
                answer.set_exception(result)
            else:
                answer.set_result(result)

    async def _send(self, calls: Sequence[_Call]) -> list[Any]:
        """Make calls with nothing between them; returns each one's value, or the exception that it means."""
        if len(calls) == 1:
            return [await self._measure(calls[0].method, *calls[0].params)]
        structs = [{"methodName": call.method, "params": list(call.params)} for call in calls]
        results = await self._measure("system.multicall", structs)
        with _expect_sense("the results of several calls"):
            return [
                translate_fault(call.method, result["faultCode"], result["faultString"])
                if isinstance(result, dict) and "faultCode" in result
                else result
                for call, result in zip(calls, results, strict=True)
            ]

    async def _measure(self, method: str, *params: Any) -> Any:
        began = time.perf_counter()
        is_answered = True
        try:
            return await self._request(method, *params)
        except SupervisorUnavailable:
            is_answered = False
            raise
        finally:
            for callback in self.on_call:
                callback(method, time.perf_counter() - began, is_answered)

    async def _request(self, method: str, *params: Any) -> Any:
        body = xmlrpc.client.dumps(params, method).encode()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                response = await self._http.post("/RPC2", body, {"Content-Type": "text/xml"})
        except TimeoutError as error:
            raise SupervisorUnavailable(
                f"supervisord did not answer within {self._timeout_seconds:g} seconds: it is stopped or very busy"
            ) from error
        except OSError as error:
            raise SupervisorUnavailable("supervisord cannot be reached: is it running?") from error
        if response.status == 401:
            raise SupervisorUnavailable("supervisord refuses the user and password of PLUGVISOR_SUPERVISOR_URL")
        if response.status != 200:  # an internal error is HTTP 500 with an HTML page
            raise SupervisorConfused(f"supervisord answered {method} with HTTP {response.status}; see its log")
        with _expect_sense(f"something to {method} that is no XML-RPC"):
            try:
                [value], _ = xmlrpc.client.loads(bytes(response.content))
            except xmlrpc.client.Fault as fault:
                raise translate_fault(method, fault.faultCode, fault.faultString) from fault
            return value


@contextlib.contextmanager
def _expect_sense(what: str) -> Iterator[None]:
    """Raise `SupervisorConfused` if an answer has another form than supervisord's."""
    try:
        yield
    except (xmlrpc.client.Error, ExpatError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise SupervisorConfused(f"supervisord answered {what}, in an unknown form") from error
