"""What endpoints have in common: the state they find, the gate and the log line of those that change something."""

from __future__ import annotations

import logging
import math
import time
from datetime import datetime
from functools import wraps
from typing import TYPE_CHECKING, Protocol, TypedDict
from urllib.parse import quote

from plugvisor.api.http.body_limit import has_body
from plugvisor.api.problems import describe
from plugvisor.errors import InvalidRequest, PluginNotFound, PlugvisorError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from plugvisor.api.auth import Gate
    from plugvisor.api.resources.events import EventHub
    from plugvisor.api.resources.log_streams import LogStreams
    from plugvisor.api.resources.logs import LogViews
    from plugvisor.api.traffic import Traffic
    from plugvisor.api.views import Views
    from plugvisor.engines.engine import Engine
    from plugvisor.manager.manager import Manager
    from plugvisor.metrics.sampler import Sampler
    from plugvisor.plugins.catalog import Plugin
    from plugvisor.settings import Settings

    Handler = Callable[[Request["State"]], Awaitable[Response]]

logger = logging.getLogger(__name__)

LONGEST_WAIT_SECONDS = 300
_MOST_LOGGED = 200
"""Characters of a path."""


class State(TypedDict):
    """What every request finds in `request.state`; made by the lifespan."""

    settings: Settings
    engine: Engine
    manager: Manager
    views: Views
    events: EventHub
    logs: LogViews
    log_streams: LogStreams
    sampler: Sampler
    traffic: Traffic
    gate: Gate
    endless: Sequence[Endless]
    """What must be ended before the service can shut down."""


class Endless(Protocol):
    """Has answers that never end by themselves."""

    def close(self) -> None:
        """End them all, and every later one."""


def private(handler: Handler) -> Handler:
    """An endpoint that needs the admin code, and changes nothing."""

    @wraps(handler)
    async def endpoint(request: Request[State]) -> Response:
        request.state["gate"].check(request)
        return await handler(request)

    return endpoint


def mutation(handler: Handler) -> Handler:
    """An endpoint that needs the admin code and leaves one line in the log: who, what, outcome, how long."""

    @wraps(handler)
    async def endpoint(request: Request[State]) -> Response:
        began = time.perf_counter()
        outcome = "500 internal_error"
        try:
            request.state["gate"].check(request)
            if has_body(request.scope):
                await request.body()  # nothing is done for a request that does not arrive whole
            response = await handler(request)
            outcome = str(response.status_code)
            return response
        except PlugvisorError as error:
            status, code = describe(error)
            outcome = f"{status} {code}"
            raise
        finally:
            who = request.client.host if request.client else "-"
            milliseconds = (time.perf_counter() - began) * 1000
            # quoted: a path may hold anything, line breaks included
            logger.info(
                "%s %s %s: %s, %.0f ms",
                who,
                request.method,
                quote(request.scope["path"][:_MOST_LOGGED]),
                outcome,
                milliseconds,
            )

    return endpoint


def get_plugin(request: Request[State]) -> Plugin:
    """The plugin that the path names; raises `PluginNotFound`."""
    plugin_id: str = request.path_params["plugin_id"]
    plugin = request.state["manager"].catalog.get(plugin_id)
    if plugin is None:
        raise PluginNotFound(plugin_id)
    return plugin


def read_wait(request: Request[State]) -> float | None:
    """`?wait=` in seconds; raises `InvalidRequest`."""
    text = request.query_params.get("wait")
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= LONGEST_WAIT_SECONDS:  # nor is a NaN
        raise InvalidRequest(f"`wait` must be a number of seconds from 0 to {LONGEST_WAIT_SECONDS}")
    return seconds


def read_period(parameters: Mapping[str, str]) -> tuple[float, float]:
    """`?start_time=&end_time=` in seconds since 1970, infinite where they are not given.

    A time without an offset is the server's local time.

    Raises:
        InvalidRequest
    """
    start = _read_time("start_time", parameters.get("start_time"), -math.inf)
    end = _read_time("end_time", parameters.get("end_time"), math.inf)
    if start > end:
        raise InvalidRequest("`start_time` must not be after `end_time`")
    return start, end


def _read_time(name: str, text: str | None, default: float) -> float:
    if not text:
        return default
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):  # the latter two: a year that the clock does not know
        raise InvalidRequest(
            f"`{name}` must be a time like 2026-11-22T15:02:57+00:00, and in a URL + is written %2B"
        ) from None
