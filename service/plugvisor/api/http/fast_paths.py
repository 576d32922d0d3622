"""Paths without parameters, found in a dictionary and not by trying one pattern after another."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send


class FastPaths:
    """Middleware that hands a request to its endpoint, past the router and its exception handling.

    Args:
        endpoints: each handles its errors itself; by method and path.
    """

    def __init__(self, app: ASGIApp, endpoints: Mapping[tuple[str, str], ASGIApp]) -> None:
        self._app = app
        self._endpoints = endpoints

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one request."""
        key = (scope.get("method", ""), scope.get("path", ""))
        return self._endpoints.get(key, self._app)(scope, receive, send)
