"""Calls to a Docker Engine that manages the swarm: any of several, whichever answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from plugvisor.swarm_settings import SwarmSettings

CALL_SECONDS = 2.0
"""How long a call may take: without a quorum the first hangs for 20 s and more."""


class DockerError(Exception):
    """The Engine refuses a call. Its message may name files and addresses: it is for the log.

    Attributes:
        status: of the HTTP answer.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class DockerClient:
    """Made once; connects when it is first used. Every call may raise `SupervisorUnavailable` and `DockerError`."""

    def __init__(self, settings: SwarmSettings) -> None:
        self.on_call: list[Callable[[str, float, bool], object]] = []
        self._settings = settings

    async def close(self) -> None:
        """Close every connection."""
        raise NotImplementedError

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: object = None,
        content: AsyncIterator[bytes] | bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = CALL_SECONDS,
    ) -> Any:
        """Make a call; returns the answer's JSON, or None if it has no body.

        Args:
            path: such as `/services/create`; the API's version is put before it.
            query: a value that is a dict is sent as JSON, as `filters` are.
            body: sent as JSON.
        """
        raise NotImplementedError

    def stream(
        self, method: str, path: str, *, query: Mapping[str, Any] | None = None, silence_seconds: float | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Make a call whose answer is read as it arrives."""
        raise NotImplementedError
