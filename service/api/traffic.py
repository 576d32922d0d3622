"""Counts and times: the requests that are answered, and the calls to supervisord.

Reads take 40 microseconds as a whole, so what is done for each is a few numbers added up in the event loop.
`prometheus.py` makes text of them when somebody asks.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

BUCKETS_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""A client may make up others without end: those count as one."""


class Durations:
    """How often something was done, and how long it took: a histogram."""

    __slots__ = ("counts", "total_seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_SECONDS) + 1)
        """For each bucket those that fall into it and into none before; the last one has no bound."""
        self.total_seconds = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(BUCKETS_SECONDS, seconds)] += 1
        self.total_seconds += seconds


RequestKey = tuple[object, str, int]
"""The endpoint or None, the method and the status."""


class Traffic:
    """What was counted since the service began."""

    def __init__(self) -> None:
        self.requests: dict[RequestKey, Durations] = {}
        """Until the first byte of the answer is sent: some answers never end."""
        self.calls: dict[str, Durations] = {}
        """Calls to supervisord by method."""
        self.failed_calls: dict[str, int] = {}

    def count_request(self, endpoint: object, method: str, status: int, seconds: float) -> None:
        """Count a request."""
        durations = self.requests.get((endpoint, method, status))
        if durations is None:
            key = (endpoint, method if method in METHODS else "other", status)
            durations = self.requests.setdefault(key, Durations())
        durations.add(seconds)

    def count_call(self, method: str, seconds: float, is_answered: bool) -> None:
        """Count a call, as `SupervisorClient.on_call` tells it."""
        self.calls.setdefault(method, Durations()).add(seconds)
        self.failed_calls[method] = self.failed_calls.get(method, 0) + (not is_answered)


class TrafficMiddleware:
    """Counts every request of an application."""

    def __init__(self, app: ASGIApp, traffic: Traffic) -> None:
        self._app = app
        self._traffic = traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        await self._app(scope, receive, _watch(send, self._traffic, scope, began))


def _watch(send: Send, traffic: Traffic, scope: Scope, began: float) -> Callable[[Message], Any]:
    def watch(message: Message) -> Any:  # no coroutine of its own: it hands on that of `send`
        if message["type"] == "http.response.start":
            seconds = time.perf_counter() - began
            traffic.count_request(scope.get("endpoint"), scope["method"], message["status"], seconds)
        return send(message)

    return watch
