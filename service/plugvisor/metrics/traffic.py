"""Counts and times: the requests that are answered, and the calls to the engine.

Reads take 40 microseconds as a whole, so what is done for each is a few numbers added up in the event loop.
`GET /metrics` makes text of them when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left

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


RequestKey = tuple[str, str, int]
"""The route's template, the method and the status."""
NO_ROUTE = "none"


class Traffic:
    """Counters of requests, and of calls to the engine, since the service began."""

    def __init__(self) -> None:
        self.requests: dict[RequestKey, Durations] = {}
        """Until the answer is known: some are never sent to their end."""
        self.refused: dict[RequestKey, int] = {}
        """Requests that no handler has seen: an unknown path, a method that a path does not take."""
        self.calls: dict[str, Durations] = {}
        """Calls to the engine by method."""
        self.failed_calls: dict[str, int] = {}

    def count_request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request."""
        durations = self.requests.get((route, method, status))
        if durations is None:
            durations = self.requests[route, method, status] = Durations()
        durations.counts[bisect_left(BUCKETS_SECONDS, seconds)] += 1  # as `add`, without the call
        durations.total_seconds += seconds

    def count_refused(self, route: str, method: str, status: int) -> None:
        """Count a request that no handler has seen."""
        key = (route, method if method in METHODS else "other", status)
        self.refused[key] = self.refused.get(key, 0) + 1

    def count_call(self, method: str, seconds: float, is_answered: bool) -> None:
        """Count a call, as `SupervisorClient.on_call` reports it."""
        self.calls.setdefault(method, Durations()).add(seconds)
        self.failed_calls[method] = self.failed_calls.get(method, 0) + (not is_answered)
